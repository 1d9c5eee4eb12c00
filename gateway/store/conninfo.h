/*
 * conninfo.h: a libpq address, parsed once, started many times. Private to store: the one header
 * here that names libpq's types. [any, one owner]
 *
 * libpq walks a list of hosts by itself when one refuses, but not, when asked not to block, when
 * one hangs. So every start begins one host further: a host that hangs costs one attempt.
 */
#ifndef MAAS_STORE_CONNINFO_H
#define MAAS_STORE_CONNINFO_H

#include "base/base.h"

#include <libpq-fe.h>

struct conninfo;

/* Accepts whatever libpq accepts. call_timeout_ms becomes TCP's patience and the server's
 * statement_timeout. MAAS_E_INVALID with libpq's reason otherwise. */
maas_status MUST_USE conninfo_new(const char *text, uint32_t call_timeout_ms, struct conninfo **out,
                                  maas_error *error);
void conninfo_free(struct conninfo *info);

/* PQconnectStartParams; NULL only without memory. Names are resolved here, which may block: give
 * hostaddr or a socket where that matters. */
PGconn *conninfo_start(struct conninfo *info);

/* The status that stands for a SQLSTATE (five characters, or NULL when there is none: the server is
 * away). */
maas_status sqlstate_status(const char *sqlstate);

#endif
