/*
 * check.h: whether a configuration could serve: `maas-gateway --check`.
 */
#ifndef MAAS_API_CHECK_H
#define MAAS_API_CHECK_H

#include "base/config.h"

/*
 * Tries every part that the gateway needs (the guard, the bounds, the keys, the certificate,
 * PostgreSQL with both roles, Redis, the spool, the worker program with each plugin) and prints a
 * line for each: "ok" or "FAIL" with the reason. Changes nothing and listens nowhere. Returns how
 * many failed. [main thread, before any other]
 */
unsigned gateway_check(const struct config *config, const char *worker_binary);

#endif
