/*
 * sql.h: a blocking PostgreSQL connection for control threads (registry, shipper, admin,
 * migrations). [control] one owner.
 *
 * Reconnects when asked to work on a broken connection; connect and statement deadlines are set at
 * birth, so nothing hangs.
 */
#ifndef MAAS_STORE_SQL_H
#define MAAS_STORE_SQL_H

#include "base/base.h"

struct sql;
struct sql_result; /* libpq's, text format */

/* Checks the address and returns; the first call connects. call_timeout_ms bounds every call below,
 * connecting included, and is the server's statement_timeout. */
maas_status MUST_USE sql_open(const char *conninfo, uint32_t call_timeout_ms, struct sql **out,
                              maas_error *error);
void sql_close(struct sql *sql);
/* False after a connection error, until the next call has reconnected. */
bool sql_is_up(const struct sql *sql);
/* How often it connected: when it changed, LISTEN and other settings of the session are lost. */
uint64_t sql_connects(const struct sql *sql);

/*
 * One statement with text parameters (data NULL is SQL NULL). Status: MAAS_E_UNAVAILABLE when the
 * server is away (the whole transaction is gone), MAAS_E_EXISTS for a unique violation,
 * MAAS_E_PRECONDITION for another constraint, MAAS_E_ABORTED for a serialization failure or
 * deadlock, MAAS_E_DENIED for missing rights, MAAS_E_INVALID for a value that is not of its type,
 * MAAS_E_DEADLINE when the server cut the statement off at its timeout (the connection stands),
 * MAAS_E_INTERNAL else; error text is the server's. At most 32 values.
 *
 * A server that does not answer in time is away too: MAAS_E_UNAVAILABLE, and whether the statement
 * was done is unknown. Inside a transaction everything answers so until sql_rollback or sql_commit.
 */
maas_status MUST_USE sql_exec(struct sql *sql, const char *statement, const struct str *values,
                              size_t count, struct sql_result **out /* may be NULL */,
                              maas_error *error);
void sql_result_free(struct sql_result *result);
int sql_rows(const struct sql_result *result);
struct str sql_cell(const struct sql_result *result, int row, int column);
bool sql_is_null(const struct sql_result *result, int row, int column);

/* As sql_exec with parameters in PostgreSQL's binary format and given type oids; for arrays and
 * bytea. */
struct sql_param {
    uint32_t type_oid;
    bool binary;
    struct str value;
};
maas_status MUST_USE sql_exec_params(struct sql *sql, const char *statement,
                                     const struct sql_param *params, size_t count,
                                     struct sql_result **out, maas_error *error);

/* Several statements without parameters (a migration file). */
maas_status MUST_USE sql_script(struct sql *sql, const char *text, maas_error *error);

/* After MAAS_OK of sql_begin the caller ends the transaction by sql_commit (also when that fails)
 * or sql_rollback. Commit is MAAS_E_ABORTED when a statement in it had failed, MAAS_E_UNAVAILABLE
 * when the server went away: then it may or may not have been done. */
maas_status MUST_USE sql_begin(struct sql *sql, const struct uuid *tenant /* NULL: none */,
                               maas_error *error);
maas_status MUST_USE sql_commit(struct sql *sql, maas_error *error);
void sql_rollback(struct sql *sql);

/* Waits at most timeout_ms for a notification (LISTEN was sent by sql_exec). 1: one came (all
 * pending are drained), 0: time is up, -1: the connection is gone. wake_fd (or -1) ends the wait
 * early with 0 when it becomes readable. */
int sql_wait_notify(struct sql *sql, int wake_fd, uint32_t timeout_ms);

/* A bytea cell decoded from its hex text form; malloc'ed. */
maas_status MUST_USE sql_cell_bytes(const struct sql_result *result, int row, int column,
                                    uint8_t **out, size_t *out_len);

#endif
