/*
 * workers.h: the admin routes that look at the fleet. Private to admin/. [control thread]
 */
#ifndef MAAS_ADMIN_WORKERS_H
#define MAAS_ADMIN_WORKERS_H

#include "admin/call.h"

void list_deployments(struct admin_call *call);
void list_workers(struct admin_call *call);
/* New workers for a deployment: its plugin's file is read again, what failed is tried again. 202:
 * what becomes of it is seen in the list of deployments. */
void restart_deployment(struct admin_call *call);

#endif
