/*
 * gateway.h: a gateway as its main program handles it.
 */
#ifndef MAAS_API_GATEWAY_H
#define MAAS_API_GATEWAY_H

#include "api/app.h"

/* Makes all parts; nothing runs yet but the control threads. listen_fd: bound and listening. On
 * failure call app_end. */
maas_status MUST_USE app_start(struct app *app, const struct config *config, int listen_fd,
                               struct tls *tls, const char *worker_binary, maas_error *error);
/* After the loops have stopped. */
void app_end(struct app *app);

#endif
