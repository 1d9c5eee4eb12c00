/*
 * listen.h: binds a listening TCP socket from "host:port" ("[::1]:8443" too). [control]
 */
#ifndef MAAS_SUPERVISOR_LISTEN_H
#define MAAS_SUPERVISOR_LISTEN_H

#include "base/base.h"

/* Non-blocking, close-on-exec, SO_REUSEADDR, backlog 1024. */
maas_status MUST_USE listen_on(const char *address, int *out_fd, maas_error *error);

#endif
