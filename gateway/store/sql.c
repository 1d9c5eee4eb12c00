/*
 * sql.c: a blocking connection that never blocks longer than its call timeout.
 *
 * libpq is used in its non-blocking mode and every wait is a poll() of ours against the deadline of
 * the call, connecting included; PQexec would wait for ever on a server that was stopped. A call
 * that runs out of time gives up its connection: an answer that comes late must not be taken for
 * the next call's.
 *
 * A connection that broke while idle is replaced before the statement is sent, so the caller does
 * not see it. Once a statement was sent nothing is repeated: it may have been done. Inside a
 * transaction nothing is reconnected until the caller ended it, or the rest of the transaction
 * would run on its own.
 */
#include "store/sql.h"

#include "base/log.h"
#include "store/conninfo.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 32

struct sql {
    struct conninfo *info;
    PGconn *conn; /* NULL: not connected */
    uint32_t call_timeout_ms;
    uint64_t connects;
    bool in_transaction; /* between sql_begin and its end, whatever became of the connection */
};

static const PGresult *pg_of(const struct sql_result *result)
{
    return (const PGresult *)result;
}

static uint64_t deadline_of(const struct sql *sql)
{
    return clock_mono_ns() + (uint64_t)sql->call_timeout_ms * 1000000;
}

/* ---- waiting */

/* Polls until something is ready or the deadline; poll's answer, without EINTR. */
static int poll_until(struct pollfd *fds, nfds_t count, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = clock_mono_ns();
        uint64_t left_ms = now >= deadline_ns ? 0 : (deadline_ns - now + 999999) / 1000000;
        int n = poll(fds, count, left_ms > 3600000 ? 3600000 : (int)left_ms);
        if (n > 0 || (n < 0 && errno != EINTR))
            return n;
        if (clock_mono_ns() >= deadline_ns)
            return 0;
    }
}

static bool wait_socket(const struct sql *sql, short events, uint64_t deadline_ns)
{
    struct pollfd fd = { .fd = PQsocket(sql->conn), .events = events };
    return fd.fd >= 0 && poll_until(&fd, 1, deadline_ns) > 0;
}

/* ---- connecting */

static void drop(struct sql *sql)
{
    PQfinish(sql->conn);
    sql->conn = NULL;
}

static maas_status away(struct sql *sql, const char *what, maas_error *error)
{
    const char *text = sql->conn ? PQerrorMessage(sql->conn) : "";
    size_t len = strcspn(text, "\n");
    maas_status status = fail(error, MAAS_E_UNAVAILABLE, "database: %s%s%.*s", what,
                              len ? ": " : "", (int)len, text);
    drop(sql);
    return status;
}

static void on_notice(void *arg, const char *message)
{
    (void)arg;
    LOG(LOG_DEBUG, "postgres.notice",
        F_STRN("text", ((struct str){ message, strcspn(message, "\n") })));
}

static maas_status connect_until(struct sql *sql, uint64_t deadline_ns, maas_error *error)
{
    sql->conn = conninfo_start(sql->info);
    if (!sql->conn)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a database connection");
    if (PQstatus(sql->conn) == CONNECTION_BAD)
        return away(sql, "cannot connect", error);
    PQsetNoticeProcessor(sql->conn, on_notice, NULL);
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    while (want != PGRES_POLLING_OK) {
        if (want == PGRES_POLLING_FAILED)
            return away(sql, "cannot connect", error);
        short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!wait_socket(sql, events, deadline_ns))
            return away(sql, "no answer to a connect in time", error);
        want = PQconnectPoll(sql->conn);
    }
    if (PQsetnonblocking(sql->conn, 1) != 0)
        return away(sql, "cannot connect", error);
    sql->connects++;
    return MAAS_OK;
}

/* True when the idle connection still stands: what arrived meanwhile is taken in. Several reads: a
 * server that ends a connection says so first, and only the read after that finds the end. */
static bool still_there(struct sql *sql)
{
    for (int reads = 0; reads < 16; reads++) {
        struct pollfd fd = { .fd = PQsocket(sql->conn), .events = POLLIN };
        if (fd.fd < 0 || PQstatus(sql->conn) != CONNECTION_OK)
            return false;
        if (poll(&fd, 1, 0) <= 0)
            return true;
        if (!PQconsumeInput(sql->conn))
            return false;
    }
    return true;
}

static maas_status make_ready(struct sql *sql, uint64_t deadline_ns, maas_error *error)
{
    if (sql->conn && !sql->in_transaction && !still_there(sql))
        drop(sql);
    if (sql->conn)
        return MAAS_OK;
    if (sql->in_transaction)
        return fail(error, MAAS_E_UNAVAILABLE, "database: the transaction was lost");
    return connect_until(sql, deadline_ns, error);
}

maas_status sql_open(const char *conninfo, uint32_t call_timeout_ms, struct sql **out,
                     maas_error *error)
{
    struct sql *sql = calloc(1, sizeof *sql);
    if (!sql)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a database connection");
    maas_status status = conninfo_new(conninfo, call_timeout_ms, &sql->info, error);
    if (status != MAAS_OK) {
        free(sql);
        return status;
    }
    sql->call_timeout_ms = call_timeout_ms;
    *out = sql;
    return MAAS_OK;
}

void sql_close(struct sql *sql)
{
    if (!sql)
        return;
    drop(sql);
    conninfo_free(sql->info);
    free(sql);
}

bool sql_is_up(const struct sql *sql)
{
    return sql->conn && PQstatus(sql->conn) == CONNECTION_OK;
}

uint64_t sql_connects(const struct sql *sql)
{
    return sql->connects;
}

/* ---- one exchange: send, flush, collect */

static maas_status flush_until(struct sql *sql, uint64_t deadline_ns, maas_error *error)
{
    for (int left = PQflush(sql->conn); left != 0; left = PQflush(sql->conn)) {
        if (left < 0)
            return away(sql, "connection lost", error);
        /* Read too: a server that waits for us to read would not read us. */
        if (!wait_socket(sql, POLLIN | POLLOUT, deadline_ns))
            return away(sql, "no answer in time", error);
        if (!PQconsumeInput(sql->conn))
            return away(sql, "connection lost", error);
    }
    return MAAS_OK;
}

static maas_status next_result(struct sql *sql, uint64_t deadline_ns, PGresult **out,
                               maas_error *error)
{
    while (PQisBusy(sql->conn)) {
        if (!wait_socket(sql, POLLIN, deadline_ns))
            return away(sql, "no answer in time", error);
        if (!PQconsumeInput(sql->conn))
            return away(sql, "connection lost", error);
    }
    *out = PQgetResult(sql->conn);
    return MAAS_OK;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK || kind == PGRES_EMPTY_QUERY;
}

/* The server's words; of a script also the line they are about. */
static maas_status server_error(const PGresult *result, const char *script, maas_error *error)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    maas_status status = sqlstate_status(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    if (!text)
        text = "connection lost";
    if (!script || !position)
        return fail(error, status, "%s", text);
    unsigned line = 1;
    long at = strtol(position, NULL, 10);
    for (const char *c = script; *c && at > 1; c++) {
        at -= ((unsigned char)*c & 0xC0) != 0x80; /* positions count characters */
        line += *c == '\n';
    }
    return fail(error, status, "line %u: %s", line, text);
}

/* All results up to the end; keeps the last good one, or the first error. */
static maas_status collect(struct sql *sql, const char *script, uint64_t deadline_ns,
                           PGresult **out, maas_error *error)
{
    PGresult *kept = NULL, *result = NULL;
    maas_status status = MAAS_OK;
    for (;;) {
        maas_status step = next_result(sql, deadline_ns, &result, status == MAAS_OK ? error : NULL);
        if (step != MAAS_OK) {
            PQclear(kept);
            return status == MAAS_OK ? step : status;
        }
        if (!result)
            break;
        if (PQresultStatus(result) >= PGRES_COPY_OUT && PQresultStatus(result) <= PGRES_COPY_IN) {
            PQclear(result);
            PQclear(kept);
            drop(sql);
            return fail(error, MAAS_E_UNIMPLEMENTED, "COPY is not supported here");
        }
        if (status == MAAS_OK && !is_good(result))
            status = server_error(result, script, error);
        PQclear(kept);
        kept = result;
    }
    if (PQstatus(sql->conn) != CONNECTION_OK)
        drop(sql);
    /* A standby, or a server that goes down: look for another at the next call. */
    if (status == MAAS_E_UNAVAILABLE && !sql->in_transaction)
        drop(sql);
    if (status != MAAS_OK || !out) {
        PQclear(kept);
        return status;
    }
    *out = kept;
    return MAAS_OK;
}

/* Text parameters as C strings, in one block; the caller frees it. */
static maas_status as_text(const struct sql_param *params, size_t count, const char **values,
                           int *lengths, int *formats, Oid *types, char **out_block,
                           maas_error *error)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        if (!params[i].binary)
            size += params[i].value.len + 1;
    char *block = malloc(size), *at = block;
    if (!block)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for parameters");
    for (size_t i = 0; i < count; i++) {
        struct str v = params[i].value;
        types[i] = params[i].type_oid;
        formats[i] = params[i].binary;
        lengths[i] = (int)v.len;
        values[i] = v.data;
        if (!v.data || params[i].binary)
            continue;
        if (memchr(v.data, 0, v.len)) {
            free(block);
            return fail(error, MAAS_E_INVALID, "text with a zero byte");
        }
        values[i] = memcpy(at, v.data, v.len);
        at[v.len] = '\0';
        at += v.len + 1;
    }
    *out_block = block;
    return MAAS_OK;
}

static maas_status send_params(struct sql *sql, const char *statement,
                               const struct sql_param *params, size_t count, maas_error *error)
{
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    Oid types[PARAMS_MAX];
    char *block = NULL;
    CHECK(count <= PARAMS_MAX);
    maas_status status = as_text(params, count, values, lengths, formats, types, &block, error);
    if (status != MAAS_OK)
        return status;
    int sent =
        PQsendQueryParams(sql->conn, statement, (int)count, types, values, lengths, formats, 0);
    free(block);
    return sent ? MAAS_OK : away(sql, "cannot send", error);
}

maas_status sql_exec_params(struct sql *sql, const char *statement, const struct sql_param *params,
                            size_t count, struct sql_result **out, maas_error *error)
{
    uint64_t deadline_ns = deadline_of(sql);
    PGresult *result = NULL;
    maas_status status = make_ready(sql, deadline_ns, error);
    if (status == MAAS_OK)
        status = send_params(sql, statement, params, count, error);
    if (status == MAAS_OK)
        status = flush_until(sql, deadline_ns, error);
    if (status == MAAS_OK)
        status = collect(sql, NULL, deadline_ns, out ? &result : NULL, error);
    if (status == MAAS_OK && out)
        *out = (struct sql_result *)result;
    return status;
}

maas_status sql_exec(struct sql *sql, const char *statement, const struct str *values, size_t count,
                     struct sql_result **out, maas_error *error)
{
    struct sql_param params[PARAMS_MAX];
    CHECK(count <= PARAMS_MAX);
    for (size_t i = 0; i < count; i++)
        params[i] = (struct sql_param){ .value = values[i] };
    return sql_exec_params(sql, statement, params, count, out, error);
}

maas_status sql_script(struct sql *sql, const char *text, maas_error *error)
{
    uint64_t deadline_ns = deadline_of(sql);
    maas_status status = make_ready(sql, deadline_ns, error);
    if (status != MAAS_OK)
        return status;
    if (!PQsendQuery(sql->conn, text))
        return away(sql, "cannot send", error);
    status = flush_until(sql, deadline_ns, error);
    return status == MAAS_OK ? collect(sql, text, deadline_ns, NULL, error) : status;
}

/* ---- transactions */

maas_status sql_begin(struct sql *sql, const struct uuid *tenant, maas_error *error)
{
    CHECK(!sql->in_transaction);
    maas_status status = sql_exec(sql, "BEGIN", NULL, 0, NULL, error);
    if (status != MAAS_OK)
        return status;
    sql->in_transaction = true;
    if (!tenant)
        return MAAS_OK;
    char text[UUID_TEXT_MAX];
    uuid_format(tenant, text);
    struct str value = str_of(text);
    status = sql_exec(sql, "SELECT set_config('maas.tenant', $1, true)", &value, 1, NULL, error);
    if (status != MAAS_OK)
        sql_rollback(sql);
    return status;
}

maas_status sql_commit(struct sql *sql, maas_error *error)
{
    CHECK(sql->in_transaction);
    if (sql->conn && PQtransactionStatus(sql->conn) == PQTRANS_INERROR) {
        sql_rollback(sql);
        return fail(error, MAAS_E_ABORTED, "database: a statement of the transaction had failed");
    }
    maas_status status = sql_exec(sql, "COMMIT", NULL, 0, NULL, error);
    if (status != MAAS_OK)
        sql_rollback(sql); /* a deferred constraint failed, or the connection did */
    sql->in_transaction = false;
    return status;
}

void sql_rollback(struct sql *sql)
{
    if (sql->conn && PQtransactionStatus(sql->conn) != PQTRANS_IDLE &&
        sql_exec(sql, "ROLLBACK", NULL, 0, NULL, NULL) != MAAS_OK)
        drop(sql);
    sql->in_transaction = false;
}

/* ---- notifications */

static bool drain(struct sql *sql)
{
    bool any = false;
    for (PGnotify *n; (n = PQnotifies(sql->conn)); any = true)
        PQfreemem(n);
    return any;
}

int sql_wait_notify(struct sql *sql, int wake_fd, uint32_t timeout_ms)
{
    uint64_t deadline_ns = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    while (sql->conn) {
        if (drain(sql))
            return 1;
        struct pollfd fds[2] = { { .fd = PQsocket(sql->conn), .events = POLLIN },
                                 { .fd = wake_fd, .events = POLLIN } };
        int n = poll_until(fds, 2, deadline_ns);
        if (n <= 0 || fds[1].revents)
            return 0;
        if (!PQconsumeInput(sql->conn))
            drop(sql);
    }
    return -1;
}

/* ---- results */

void sql_result_free(struct sql_result *result)
{
    PQclear((PGresult *)result);
}

int sql_rows(const struct sql_result *result)
{
    return PQntuples(pg_of(result));
}

struct str sql_cell(const struct sql_result *result, int row, int column)
{
    return (struct str){ PQgetvalue(pg_of(result), row, column),
                         (size_t)PQgetlength(pg_of(result), row, column) };
}

bool sql_is_null(const struct sql_result *result, int row, int column)
{
    return PQgetisnull(pg_of(result), row, column);
}

maas_status sql_cell_bytes(const struct sql_result *result, int row, int column, uint8_t **out,
                           size_t *out_len)
{
    struct str hex = sql_cell(result, row, column);
    if (!str_prefix(hex, STR("\\x")))
        return MAAS_E_INVALID;
    hex = (struct str){ hex.data + 2, hex.len - 2 };
    uint8_t *bytes = malloc(hex.len / 2 + 1);
    if (!bytes)
        return MAAS_E_EXHAUSTED;
    if (!hex_decode(hex, bytes, hex.len / 2)) {
        free(bytes);
        return MAAS_E_INVALID;
    }
    *out = bytes;
    *out_len = hex.len / 2;
    return MAAS_OK;
}
