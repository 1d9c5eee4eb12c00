/*
 * pg.c: a pipelined libpq connection on an event loop.
 *
 * Every query is a segment of the pipeline that ends in a sync: [prepare] [set_config] statement
 * sync. The server runs a segment as one transaction, so the tenant set for it ends with it, and an
 * error spoils this segment only. A query is answered when its sync comes back: not before its
 * transaction is done. What was sent and what waits for the first connection stand in one queue in
 * the order of their deadlines, as all have the same patience.
 *
 * The first connect lets queries wait; once an attempt has failed they are refused until one
 * succeeds, so a server that hangs costs each caller one deadline, once. Callers are answered from
 * the loop's events only, never from inside pg_query: what is refused there goes to a list that a
 * timer empties.
 *
 * The descriptor is watched through a duplicate (net/watch), made again after every PQconnectPoll:
 * with several hosts libpq closes its descriptor and gets the same number back.
 *
 * Rejected: BEGIN and COMMIT around the statement. When it fails, COMMIT is skipped with the rest
 * of the segment and the next query would find itself in a failed transaction.
 */
#include "store/pg.h"

#include "base/log.h"
#include "store/conninfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX      1024
#define STATEMENTS_MAX 64
#define VALUES_MAX     32
#define RETRY_MIN_MS   50
#define RETRY_MAX_MS   1000
#define SET_TENANT     "SELECT set_config('maas.tenant', $1, true)"

enum pg_state { PG_DOWN, PG_CONNECTING, PG_UP };

struct query {
    struct query *next;
    const char *sql;
    pg_done done;
    void *arg;
    uint64_t due_ns;
    PGresult *result; /* the last good one of its segment */
    maas_status status;
    bool prepares; /* its segment begins with a prepare that has not come back */
    bool has_tenant;
    char tenant[UUID_TEXT_MAX];
    size_t count;
    const char *values[]; /* C strings behind the array, or NULL */
};

struct queue {
    struct query *head, *tail;
};

struct pg {
    struct loop *loop;
    struct conninfo *info;
    uint32_t call_timeout_ms;
    enum pg_state state;
    PGconn *conn;
    struct watch *watch;
    bool hopeful; /* was up, or never tried: queries may wait for the connection */
    bool broken;  /* found while sending: dealt with in a turn of its own */
    bool in_callback;
    uint32_t retry_ms;
    struct queue queue;   /* UP: all were sent; CONNECTING: none was */
    struct queue refused; /* to be told so */
    size_t queued;
    struct timer retry, deadline, soon;
    const char *statements[STATEMENTS_MAX]; /* named by their index; NULL: free */
    bool prepared[STATEMENTS_MAX];          /* on this connection, or about to be */
};

static struct pg *pg_of(struct timer *timer, size_t offset)
{
    return (struct pg *)(void *)((char *)timer - offset);
}

static void set_state(struct pg *pg, enum pg_state next)
{
    CHECK((pg->state == PG_DOWN && next == PG_CONNECTING) ||
          (pg->state == PG_CONNECTING && next == PG_UP) || next == PG_DOWN);
    pg->state = next;
}

/* ---- queries */

static void push(struct queue *queue, struct query *query)
{
    query->next = NULL;
    if (queue->tail)
        queue->tail->next = query;
    else
        queue->head = query;
    queue->tail = query;
}

static struct query *pop(struct queue *queue)
{
    struct query *query = queue->head;
    queue->head = query->next;
    if (!queue->head)
        queue->tail = NULL;
    return query;
}

static struct query *query_new(const struct uuid *tenant, const char *sql, const struct str *values,
                               size_t count, pg_done done, void *arg)
{
    size_t size = sizeof(struct query) + count * sizeof(char *);
    for (size_t i = 0; i < count; i++)
        size += values[i].len + 1;
    struct query *query = calloc(1, size);
    CHECK(query);
    *query = (struct query){ .sql = sql, .done = done, .arg = arg, .count = count };
    if (tenant) {
        query->has_tenant = true;
        uuid_format(tenant, query->tenant);
    }
    char *text = (char *)(query->values + count);
    for (size_t i = 0; i < count; i++) {
        if (!values[i].data)
            continue;
        query->values[i] = memcpy(text, values[i].data, values[i].len);
        text += values[i].len + 1; /* calloc left the NUL */
    }
    return query;
}

static void answer(struct pg *pg, struct query *query, maas_status status)
{
    struct pg_result result = { 0 };
    if (status == MAAS_OK) {
        result.rows = PQntuples(query->result);
        result.columns = PQnfields(query->result);
        result.impl = query->result;
    }
    pg->in_callback = true;
    query->done(query->arg, status, status == MAAS_OK ? &result : NULL);
    pg->in_callback = false;
    PQclear(query->result);
    free(query);
}

/* Tells all of a queue; the callbacks may submit anew, which goes elsewhere. */
static void answer_all(struct pg *pg, struct queue *queue, maas_status status)
{
    struct queue told = *queue;
    *queue = (struct queue){ 0 };
    if (queue == &pg->queue)
        pg->queued = 0;
    while (told.head) {
        struct query *query = pop(&told);
        answer(pg, query, query->status != MAAS_OK ? query->status : status);
    }
}

/* ---- sending */

/* The statement's number, which is its name; -1 when too many different ones were used. */
static int statement_of(struct pg *pg, const char *sql)
{
    for (int i = 0; i < STATEMENTS_MAX; i++) {
        if (!pg->statements[i])
            pg->statements[i] = sql;
        if (pg->statements[i] == sql)
            return i;
    }
    return -1;
}

static bool send_tenant(struct pg *pg, const struct query *query)
{
    const char *value = query->tenant;
    return !query->has_tenant ||
           PQsendQueryParams(pg->conn, SET_TENANT, 1, NULL, &value, NULL, NULL, 0);
}

static bool send_segment(struct pg *pg, struct query *query)
{
    int index = statement_of(pg, query->sql);
    CHECK(index >= 0);
    char name[16];
    snprintf(name, sizeof name, "s%d", index);
    if (!pg->prepared[index]) {
        if (!PQsendPrepare(pg->conn, name, query->sql, 0, NULL))
            return false;
        pg->prepared[index] = query->prepares = true;
    }
    return send_tenant(pg, query) &&
           PQsendQueryPrepared(pg->conn, name, (int)query->count, query->values, NULL, NULL, 0) &&
           PQpipelineSync(pg->conn);
}

/* Hands to the kernel what it takes; the rest goes when the socket is writable. False: broken. */
static bool flush(struct pg *pg)
{
    int left = PQflush(pg->conn);
    if (left > 0)
        watch_want_write(pg->watch, true);
    return left >= 0;
}

static void arm_deadline(struct pg *pg)
{
    if (!pg->queue.head)
        return;
    uint64_t now = loop_now_ns(pg->loop), due = pg->queue.head->due_ns;
    timer_start(pg->loop, &pg->deadline, due > now ? (due - now + 999999) / 1000000 : 0);
}

/* ---- the connection's life */

static void disconnect(struct pg *pg)
{
    watch_free(pg->watch);
    PQfinish(pg->conn);
    pg->watch = NULL;
    pg->conn = NULL;
    pg->broken = false;
    memset(pg->prepared, 0, sizeof pg->prepared);
    timer_stop(&pg->deadline);
    set_state(pg, PG_DOWN);
}

static uint64_t jittered(uint32_t ms)
{
    uint16_t random;
    random_bytes(&random, sizeof random);
    return ms - ms / 4 + (uint64_t)ms / 2 * random / UINT16_MAX;
}

/* The connection is given up: tells all who waited for it and tries again after a pause. */
static void lose(struct pg *pg, const char *why)
{
    const char *text = pg->conn ? PQerrorMessage(pg->conn) : "";
    LOG(LOG_WARN, "pg.lost", F_STR("why", why),
        F_STRN("text", ((struct str){ text, strcspn(text, "\n") })));
    pg->hopeful = false;
    disconnect(pg);
    timer_start(pg->loop, &pg->retry, jittered(pg->retry_ms));
    pg->retry_ms = pg->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pg->retry_ms * 2;
    answer_all(pg, &pg->queue, MAAS_E_UNAVAILABLE);
}

static void on_up(struct pg *pg);
static void on_socket(void *arg);

static bool watch_again(struct pg *pg, bool read, bool write)
{
    static const struct watch_ops ops = { .on_readable = on_socket, .on_writable = on_socket };
    watch_free(pg->watch);
    pg->watch = NULL;
    if (watch_new(pg->loop, PQsocket(pg->conn), &ops, pg, &pg->watch, NULL) != MAAS_OK)
        return false;
    watch_want_read(pg->watch, read);
    if (write)
        watch_want_write(pg->watch, true);
    return true;
}

static void connect_step(struct pg *pg)
{
    PostgresPollingStatusType want = PQconnectPoll(pg->conn);
    if (want == PGRES_POLLING_FAILED)
        lose(pg, "connect");
    else if (!watch_again(pg, want != PGRES_POLLING_WRITING, want == PGRES_POLLING_WRITING))
        lose(pg, "watch");
    else if (want == PGRES_POLLING_OK)
        on_up(pg);
}

static void on_notice(void *arg, const char *message)
{
    (void)arg;
    LOG(LOG_DEBUG, "pg.notice", F_STRN("text", ((struct str){ message, strcspn(message, "\n") })));
}

static void connect_start(struct timer *timer)
{
    struct pg *pg = pg_of(timer, offsetof(struct pg, retry));
    set_state(pg, PG_CONNECTING);
    timer_start(pg->loop, &pg->deadline, pg->call_timeout_ms);
    pg->conn = conninfo_start(pg->info);
    if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD) {
        lose(pg, "connect");
        return;
    }
    PQsetNoticeProcessor(pg->conn, on_notice, NULL);
    if (!watch_again(pg, false, true))
        lose(pg, "watch");
}

static void on_up(struct pg *pg)
{
    if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn)) {
        lose(pg, "pipeline");
        return;
    }
    set_state(pg, PG_UP);
    timer_stop(&pg->deadline);
    pg->hopeful = true;
    pg->retry_ms = RETRY_MIN_MS;
    LOG(LOG_INFO, "pg.up", F_INT("backend", PQbackendPID(pg->conn)));
    bool good = true;
    for (struct query *query = pg->queue.head; query && good; query = query->next)
        good = send_segment(pg, query);
    if (!good || !flush(pg))
        lose(pg, "send");
    else
        arm_deadline(pg);
}

/* ---- results */

static void take_error(struct pg *pg, struct query *query, const PGresult *result)
{
    if (query->status != MAAS_OK)
        return;
    maas_status status = sqlstate_status(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    const char *text = PQresultErrorMessage(result);
    LOG(LOG_ERROR, "pg.error", F_STRN("text", ((struct str){ text, strcspn(text, "\n") })),
        F_STR("sql", query->sql));
    bool passes = status == MAAS_E_UNAVAILABLE || status == MAAS_E_DEADLINE;
    query->status = passes ? status : MAAS_E_INTERNAL;
    if (query->prepares)
        pg->prepared[statement_of(pg, query->sql)] = false;
}

/* One result of the head's segment; true when it was the sync that ends it. Takes the result. */
static bool take(struct pg *pg, struct query *query, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        return true;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        query->prepares = false;
        PQclear(query->result);
        query->result = result;
        return false;
    case PGRES_PIPELINE_ABORTED: /* the rest of a segment that failed */
        break;
    default:
        take_error(pg, query, result);
    }
    PQclear(result);
    return false;
}

/* Answers every query whose sync has come. PQgetResult gives a NULL after each command: two in a
 * row mean that there is nothing more. */
static void collect(struct pg *pg)
{
    int nulls = 0;
    while (pg->queue.head && nulls < 2 && !PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);
        nulls = result ? 0 : nulls + 1;
        if (!result || !take(pg, pg->queue.head, result))
            continue;
        struct query *query = pop(&pg->queue);
        pg->queued--;
        /* A server that goes down or turned into a standby: look for another. */
        pg->broken = pg->broken || query->status == MAAS_E_UNAVAILABLE;
        answer(pg, query, query->status);
    }
}

static void on_socket(void *arg)
{
    struct pg *pg = arg;
    if (pg->state == PG_CONNECTING) {
        connect_step(pg);
        return;
    }
    bool good = PQconsumeInput(pg->conn) && flush(pg);
    collect(pg); /* also what came before the end */
    if (!good || pg->broken)
        lose(pg, "connection");
}

/* ---- timers */

static void on_deadline(struct timer *timer)
{
    struct pg *pg = pg_of(timer, offsetof(struct pg, deadline));
    if (pg->state == PG_CONNECTING) {
        lose(pg, "no answer to a connect");
        return;
    }
    uint64_t now = loop_now_ns(pg->loop);
    if (!pg->queue.head || pg->queue.head->due_ns > now) {
        arm_deadline(pg);
        return;
    }
    for (struct query *late = pg->queue.head; late && late->due_ns <= now; late = late->next)
        late->status = MAAS_E_DEADLINE;
    lose(pg, "a query was late");
}

static void on_soon(struct timer *timer)
{
    struct pg *pg = pg_of(timer, offsetof(struct pg, soon));
    if (pg->broken)
        lose(pg, "send");
    answer_all(pg, &pg->refused, MAAS_E_UNAVAILABLE);
}

/* ---- the public side */

maas_status pg_new(struct loop *loop, const char *conninfo, uint32_t call_timeout_ms,
                   struct pg **out, maas_error *error)
{
    struct pg *pg = calloc(1, sizeof *pg);
    if (!pg)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a database connection");
    maas_status status = conninfo_new(conninfo, call_timeout_ms, &pg->info, error);
    if (status != MAAS_OK) {
        free(pg);
        return status;
    }
    pg->loop = loop;
    pg->call_timeout_ms = call_timeout_ms;
    pg->hopeful = true;
    pg->retry_ms = RETRY_MIN_MS;
    pg->retry.fire = connect_start;
    pg->deadline.fire = on_deadline;
    pg->soon.fire = on_soon;
    timer_start(loop, &pg->retry, 0);
    *out = pg;
    return MAAS_OK;
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    CHECK(!pg->in_callback);
    pg->hopeful = false;
    disconnect(pg);
    while (pg->queue.head || pg->refused.head) { /* a callback may submit once more */
        answer_all(pg, &pg->queue, MAAS_E_UNAVAILABLE);
        answer_all(pg, &pg->refused, MAAS_E_UNAVAILABLE);
    }
    timer_stop(&pg->retry);
    timer_stop(&pg->soon);
    conninfo_free(pg->info);
    free(pg);
}

bool pg_is_up(const struct pg *pg)
{
    return pg->state == PG_UP && !pg->broken;
}

static void refuse(struct pg *pg, struct query *query, maas_status status)
{
    query->status = status;
    push(&pg->refused, query);
    timer_start(pg->loop, &pg->soon, 0);
}

void pg_query(struct pg *pg, const struct uuid *tenant, const char *sql, const struct str *values,
              size_t count, pg_done done, void *arg)
{
    CHECK(count <= VALUES_MAX);
    struct query *query = query_new(tenant, sql, values, count, done, arg);
    if (!pg->hopeful || pg->broken) {
        refuse(pg, query, MAAS_E_UNAVAILABLE);
        return;
    }
    if (pg->queued >= QUEUE_MAX) {
        refuse(pg, query, MAAS_E_EXHAUSTED);
        return;
    }
    query->due_ns = loop_now_ns(pg->loop) + (uint64_t)pg->call_timeout_ms * 1000000;
    bool first = !pg->queue.head;
    push(&pg->queue, query);
    pg->queued++;
    if (pg->state != PG_UP)
        return;
    if (!send_segment(pg, query) || !flush(pg)) {
        pg->broken = true;
        timer_start(pg->loop, &pg->soon, 0);
    }
    if (first)
        arm_deadline(pg);
}

struct str pg_cell(const struct pg_result *result, int row, int column)
{
    return (struct str){ PQgetvalue(result->impl, row, column),
                         (size_t)PQgetlength(result->impl, row, column) };
}

bool pg_is_null(const struct pg_result *result, int row, int column)
{
    return PQgetisnull(result->impl, row, column);
}
