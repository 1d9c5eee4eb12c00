/*
 * metrics.h: /healthz, /readyz and /metrics, answered on the admin loop from atomics alone. Private
 * to admin/.
 */
#ifndef MAAS_ADMIN_METRICS_H
#define MAAS_ADMIN_METRICS_H

#include "api/app.h"

/* True when the path was one of the three and was answered. [loop] */
bool metrics_serve(struct exchange *ex, struct app *app);

#endif
