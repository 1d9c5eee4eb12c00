/*
 * admin.h: the operators' listener: /admin/v1 (JSON in and out, RFC 9457 errors), /healthz, /readyz
 * and /metrics.
 *
 * One event loop of its own takes the requests; one control thread with one SQL connection does the
 * work, one request at a time, so a slow database never stops the loop that answers /healthz. Every
 * change writes its audit row in its own transaction: no audit, no change.
 */
#ifndef MAAS_ADMIN_H
#define MAAS_ADMIN_H

#include "api/app.h"

struct admin;

maas_status MUST_USE admin_start(struct app *app, int listen_fd, struct tls *tls,
                                 struct admin **out, maas_error *error);
void admin_stop(struct admin *admin); /* ends the loop and the thread, then frees */

/* Makes a token with this role and stores its hash; out_text is shown once. For `maas-gateway
 * --create-admin-token`. */
maas_status MUST_USE admin_token_create(const char *conninfo, const char *name, const char *role,
                                        char out_text[64], maas_error *error);

#endif
