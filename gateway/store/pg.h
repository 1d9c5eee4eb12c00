/*
 * pg.h: PostgreSQL on an event loop: a pipelined libpq connection with prepared statements, for
 * what the way of a request may have to ask (a key not in the cache, a tenant's usage). [loop]
 *
 * Reconnects for ever with backoff; each query has a deadline (a late one is answered
 * MAAS_E_DEADLINE and its connection is reset). libpq-fe.h appears behind store/ only. Text format
 * in and out.
 */
#ifndef MAAS_STORE_PG_H
#define MAAS_STORE_PG_H

#include "base/base.h"
#include "net/loop.h"

struct pg;

struct pg_result { /* borrowed during the callback */
    int rows, columns;
    void *impl;
};
/* Cell as text; empty string for NULL (see pg_is_null). */
struct str pg_cell(const struct pg_result *result, int row, int column);
bool pg_is_null(const struct pg_result *result, int row, int column);

/* status MAAS_OK: result is there. Otherwise result is NULL: MAAS_E_UNAVAILABLE (away),
 * MAAS_E_DEADLINE, MAAS_E_EXHAUSTED (more than 1,024 waiting), or the server's error as
 * MAAS_E_INTERNAL, its text logged, never shown. */
typedef void (*pg_done)(void *arg, maas_status status, const struct pg_result *result);

/* Returns at once; the connection comes in its time. Host names are resolved on the loop and would
 * block it: give a socket or hostaddr. */
maas_status MUST_USE pg_new(struct loop *loop, const char *conninfo, uint32_t call_timeout_ms,
                            struct pg **out, maas_error *error);
/* Those who wait are told MAAS_E_UNAVAILABLE first. Not from a callback of its own. */
void pg_free(struct pg *pg);
bool pg_is_up(const struct pg *pg);

/*
 * Runs one statement (prepared on first use, per connection; `sql` must be static storage: its
 * address is its name, at most 64 of them) as a transaction of its own. With `tenant` it runs under
 * row-level security of that tenant: set_config('maas.tenant') goes before it in the same
 * transaction. Values are copied, must hold no NUL byte and are at most 32; a value with data NULL
 * is SQL NULL. `done` is called once, in a later turn, never from inside this call; it may submit
 * queries.
 */
void pg_query(struct pg *pg, const struct uuid *tenant, const char *sql, const struct str *values,
              size_t count, pg_done done, void *arg);

#endif
