/*
 * admin.c: the admin listener. The loop finds the route, checks the token's form and queues the
 * call; the control thread authenticates it against admin_tokens, parses the body, runs the handler
 * in a transaction and commits when it said 2xx; the loop sends the answer.
 *
 * The queue is bounded (QUEUE_MAX): an operator's script that floods it gets 503, and memory stays.
 */
#include "admin/admin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/metrics.h"
#include "admin/once.h"
#include "base/log.h"

#define QUEUE_MAX 64
#define OUT_MAX   ((size_t)16 << 20)
#define DRAIN_MS  1000 /* for the last answers to leave */

struct admin {
    struct app *app;
    struct loop *loop;
    struct server *server;
    struct sql *sql;
    pthread_t loop_thread, work_thread;
    bool loop_runs, work_runs;
    struct loop_post drain;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct admin_call *head, *tail;
    uint32_t waiting;
    bool stopping;
};

/* ---- the loop's side */

static void call_free(struct admin_call *call)
{
    if (call->body) {
        explicit_bzero(call->body, call->body_len);
        free(call->body);
    }
    if (call->once && call->out.data)
        explicit_bzero(call->out.data, call->out.len);
    admin_once_free(call->once);
    buf_release(&call->out);
    free(call);
}

static void send_out(struct admin_call *call)
{
    if (call->ex) {
        struct str type = call->status >= 300
                              ? STR("application/problem+json")
                              : str_of(call->type ? call->type : "application/json");
        char *id = exchange_alloc(call->ex, UUID_TEXT_MAX);
        memcpy(id, call->request_id, UUID_TEXT_MAX);
        exchange_header(call->ex, STR("x-request-id"), (struct str){ id, UUID_TEXT_MAX - 1 });
        if (call->replayed)
            exchange_header(call->ex, STR("idempotency-replayed"), STR("true"));
        exchange_send(call->ex, call->status, type, buf_view(&call->out));
    }
    call_free(call);
}

static void on_done(struct loop_post *post)
{
    send_out((struct admin_call *)(void *)post);
}

static void on_gone(void *user)
{
    ((struct admin_call *)user)->ex = NULL;
}

static bool queue(struct admin *admin, struct admin_call *call)
{
    pthread_mutex_lock(&admin->lock);
    bool room = admin->waiting < QUEUE_MAX && !admin->stopping;
    if (room) {
        *(admin->tail ? &admin->tail->next : &admin->head) = call;
        admin->tail = call;
        admin->waiting++;
        pthread_cond_signal(&admin->wake);
    }
    pthread_mutex_unlock(&admin->lock);
    return room;
}

/* "/admin/v1/tenants/{}/keys" against a path; the parameters go to the two names. */
static bool path_fits(struct str path, const char *pattern, char *const out_names[2])
{
    size_t at = 0, name = 0;
    out_names[0][0] = out_names[1][0] = '\0';
    for (const char *p = pattern; *p;) {
        if (strncmp(p, "{}", 2) == 0) {
            size_t from = at;
            while (at < path.len && path.data[at] != '/')
                at++;
            if (at == from || at - from >= ADMIN_NAME_MAX)
                return false;
            memcpy(out_names[name], path.data + from, at - from);
            out_names[name++][at - from] = '\0';
            p += 2;
        } else if (at >= path.len || path.data[at++] != *p++) {
            return false;
        }
    }
    return at == path.len;
}

static const struct admin_route *find_route(struct str method, struct str path,
                                            char *const out_names[2], const char **out_allow)
{
    *out_allow = NULL;
    for (size_t i = 0; i < admin_route_count; i++) {
        if (!path_fits(path, admin_routes[i].path, out_names))
            continue;
        if (str_eq(method, str_of(admin_routes[i].method)))
            return &admin_routes[i];
        *out_allow = admin_routes[i].method;
    }
    return NULL;
}

static bool take_token(struct str authorization, uint8_t out_hash[TOKEN_HASH_LEN])
{
    return token_hash(bearer_of(authorization), out_hash);
}

/* A body has business here on a route and with a token of the right form, as prepare() sees it;
 * whether that token is one of ours only the database knows. */
static enum gate_verdict gate(const struct http_head *head, void *arg)
{
    char names[2][ADMIN_NAME_MAX];
    uint8_t hash[TOKEN_HASH_LEN];
    const char *allow;
    (void)arg;
    return find_route(head->method, head->path, (char *const[]){ names[0], names[1] }, &allow) &&
                   take_token(head_find(head, STR("authorization")), hash)
               ? GATE_OPEN
               : GATE_SHUT;
}

static bool take_body(struct admin_call *call, const struct http_request *r)
{
    if (r->body.len > call->route->body_max) {
        admin_problem(call, 413, NULL, "the body has %zu bytes; %u are allowed here", r->body.len,
                      call->route->body_max);
        return false;
    }
    call->body = malloc(r->body.len + 1);
    if (!call->body) {
        admin_problem(call, 503, NULL, "no memory for the body");
        return false;
    }
    if (r->body.len)
        memcpy(call->body, r->body.data, r->body.len);
    call->body_len = r->body.len;
    return true;
}

static bool prepare(struct admin_call *call, const struct http_request *r)
{
    const char *allow;
    if (r->condemned.http_status) {
        admin_problem(call, r->condemned.http_status, NULL, "%s", r->condemned.text);
        return false;
    }
    char *const names[] = { call->name, call->second };
    call->route = find_route(r->method, r->path, names, &allow);
    if (!call->route) {
        if (allow)
            exchange_header(call->ex, STR("allow"), str_of(allow));
        admin_problem(call, allow ? 405 : 404, NULL,
                      allow ? "another method is expected here" : "there is nothing here");
        return false;
    }
    if (!take_token(exchange_known(call->ex, HDR_AUTHORIZATION), call->token)) {
        exchange_header(call->ex, STR("www-authenticate"), STR("Bearer realm=\"maas-admin\""));
        admin_problem(call, 401, NULL,
                      "an admin token is needed: 'Authorization: Bearer maas_admin_...'");
        return false;
    }
    snprintf(call->query, sizeof(call->query), "%.*s",
             (int)(r->query.len < 1023 ? r->query.len : 1023), r->query.data ? r->query.data : "");
    return admin_once_take(call) && take_body(call, r);
}

static void on_request(struct exchange *ex, void *arg)
{
    struct admin *admin = arg;
    if (metrics_serve(ex, admin->app))
        return;
    struct admin_call *call = calloc(1, sizeof(*call));
    struct uuid id;
    if (!call) {
        exchange_send(ex, 503, (struct str){ "", 0 }, (struct str){ "", 0 });
        return;
    }
    call->admin = admin;
    call->app = admin->app;
    call->ex = ex;
    call->post.run = on_done;
    buf_init(&call->out, OUT_MAX);
    uuid_random(&id);
    uuid_format(&id, call->request_id);
    if (!prepare(call, exchange_request(ex))) {
        send_out(call);
        return;
    }
    exchange_bind(ex, call, on_gone);
    if (!queue(admin, call)) {
        admin_problem(call, 503, NULL, "too many admin requests are waiting");
        send_out(call);
    }
}

/* ---- the control thread's side */

static bool authenticate(struct admin_call *call)
{
    static const char sql[] =
        "SELECT role, name FROM maas.admin_tokens WHERE hash = $1::bytea AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > now())";
    char hex[2 + 2 * TOKEN_HASH_LEN + 1] = "\\x";
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    hex_encode(call->token, TOKEN_HASH_LEN, hex + 2);
    maas_status status =
        sql_exec(call->sql, sql, &(struct str){ hex, sizeof(hex) - 1 }, 1, &result, &error);
    if (status) {
        admin_sql_problem(call, status, &error, NULL);
        return false;
    }
    enum admin_role role = sql_rows(result) == 1 ? role_parse(sql_cell(result, 0, 0)) : ROLE_NONE;
    if (role != ROLE_NONE)
        snprintf(call->actor, sizeof(call->actor), "token:%.*s", (int)sql_cell(result, 0, 1).len,
                 sql_cell(result, 0, 1).data);
    sql_result_free(result);
    if (role == ROLE_NONE)
        admin_problem(call, 401, NULL, "this admin token is not valid");
    else if (role < call->route->least || role == ROLE_TENANT_ADMIN)
        admin_problem(call, 403, NULL, "the role '%s' may not do this", role_name(role));
    else
        return true;
    return false;
}

static bool parse_body(struct admin_call *call)
{
    json_error_t error;
    if (call->route->body_max == 0 || call->route->body_max > 65536)
        return true; /* none, or bytes */
    call->json = json_loadb(call->body, call->body_len, JSON_REJECT_DUPLICATES, &error);
    if (call->json && json_is_object(call->json))
        return true;
    if (call->json)
        admin_problem(call, 400, NULL, "the body must be a JSON object");
    else
        admin_problem(call, 400, NULL, "malformed JSON at line %d column %d: %s", error.line,
                      error.column, error.text);
    return false;
}

static void work(struct admin_call *call)
{
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_begin(call->sql, NULL, &error);
    if (status) {
        admin_sql_problem(call, status, &error, NULL);
        return;
    }
    if (authenticate(call) && admin_once_begin(call) && parse_body(call)) {
        call->route->run(call);
        admin_once_finish(call);
    }
    json_decref(call->json);
    if (call->status < 200 || call->status > 299) {
        sql_rollback(call->sql);
        return;
    }
    if (sql_commit(call->sql, &error))
        admin_problem(call, 503, NULL,
                      call->once ? "the database is away; send the request again "
                                   "to learn whether the change was made"
                                 : "the database is away; nothing was changed");
    else if (call->committed)
        call->committed(call);
}

static struct admin_call *take(struct admin *admin)
{
    pthread_mutex_lock(&admin->lock);
    while (!admin->head && !admin->stopping)
        pthread_cond_wait(&admin->wake, &admin->lock);
    struct admin_call *call = admin->head;
    if (call) {
        admin->head = call->next;
        admin->tail = admin->head ? admin->tail : NULL;
        admin->waiting--;
    }
    pthread_mutex_unlock(&admin->lock);
    return call;
}

static void *work_thread(void *arg)
{
    struct admin *admin = arg;
    struct admin_call *call;
    thread_name("admin-work");
    while ((call = take(admin))) {
        call->sql = admin->sql;
        work(call);
        LOG(LOG_INFO, "admin", F_STR("route", call->route->path),
            F_STR("method", call->route->method), F_INT("status", call->status),
            F_STR("actor", call->actor), F_STR("request_id", call->request_id));
        loop_post(admin->loop, &call->post);
    }
    return NULL;
}

static void *loop_thread(void *arg)
{
    thread_name("admin-loop");
    loop_run(((struct admin *)arg)->loop);
    return NULL;
}

static void on_drained(void *arg)
{
    loop_stop(((struct admin *)arg)->loop);
}

/* Connections can be freed on the loop's thread only, and a server only when it has none left. */
static void drain(struct loop_post *post)
{
    struct admin *admin = (struct admin *)(void *)((char *)post - offsetof(struct admin, drain));
    server_drain(admin->server, DRAIN_MS, on_drained, admin);
}

/* ---- life */

static struct server_limits limits_of(const struct config *c)
{
    return (struct server_limits){ .body_max = (uint64_t)256 << 20,
                                   .body_in_flight_conn_max = (uint64_t)512 << 20,
                                   .body_in_flight_max = (uint64_t)1 << 30,
                                   .answers_in_flight_conn_max = (uint64_t)64 << 20,
                                   .headers_max = (uint32_t)c->headers_max,
                                   .header_bytes_max = (uint32_t)c->header_bytes_max,
                                   .connections_max = 256,
                                   .header_timeout_ms = (uint32_t)c->header_timeout_ms,
                                   .body_timeout_ms = 300000,
                                   .idle_timeout_ms = (uint32_t)c->idle_timeout_ms,
                                   .write_stall_ms = (uint32_t)c->write_stall_ms,
                                   .body_min_rate = (uint32_t)c->body_min_rate,
                                   .connection_age_ms = (uint32_t)c->connection_age_ms,
                                   .cancel_max = (uint32_t)c->cancel_max,
                                   .control_max = (uint32_t)c->control_max };
}

maas_status admin_start(struct app *app, int listen_fd, struct tls *tls, struct admin **out,
                        maas_error *error)
{
    struct server_limits limits = limits_of(app->config);
    struct admin *admin = calloc(1, sizeof(*admin));
    if (!admin)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the admin listener");
    admin->app = app;
    pthread_mutex_init(&admin->lock, NULL);
    pthread_cond_init(&admin->wake, NULL);
    maas_status status =
        sql_open(app->config->pg_admin, (uint32_t)app->config->sql_timeout_ms, &admin->sql, error);
    if (!status)
        status = loop_new(app->loop_count, &admin->loop, error);
    if (!status)
        status = server_start(admin->loop, listen_fd, tls, &limits, on_request, admin,
                              &admin->server, error);
    if (!status) {
        server_set_gate(admin->server, gate);
        admin->work_runs = pthread_create(&admin->work_thread, NULL, work_thread, admin) == 0;
        admin->loop_runs =
            admin->work_runs && pthread_create(&admin->loop_thread, NULL, loop_thread, admin) == 0;
        if (!admin->loop_runs)
            status = fail(error, MAAS_E_EXHAUSTED, "no thread for the admin listener");
    }
    if (status) {
        admin_stop(admin);
        return status;
    }
    *out = admin;
    return MAAS_OK;
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    pthread_mutex_lock(&admin->lock);
    admin->stopping = true;
    pthread_cond_broadcast(&admin->wake);
    pthread_mutex_unlock(&admin->lock);
    if (admin->work_runs)
        pthread_join(admin->work_thread, NULL);
    if (admin->loop_runs) {
        admin->drain.run = drain;
        loop_post(admin->loop, &admin->drain);
        pthread_join(admin->loop_thread, NULL);
    }
    if (admin->server)
        server_free(admin->server);
    if (admin->loop)
        loop_free(admin->loop);
    sql_close(admin->sql);
    pthread_mutex_destroy(&admin->lock);
    pthread_cond_destroy(&admin->wake);
    free(admin);
}

/* ---- the first token */

maas_status admin_token_create(const char *conninfo, const char *name, const char *role,
                               char out_text[64], maas_error *error)
{
    struct token_new token;
    struct sql *sql;
    char hex[2 + 2 * TOKEN_HASH_LEN + 1] = "\\x";
    if (role_parse(str_of(role)) == ROLE_NONE || role_parse(str_of(role)) == ROLE_TENANT_ADMIN)
        return fail(error, MAAS_E_INVALID, "the role must be viewer, operator or owner, not '%s'",
                    role);
    maas_status status = sql_open(conninfo, 5000, &sql, error);
    if (status)
        return status;
    token_make(&token);
    hex_encode(token.hash, TOKEN_HASH_LEN, hex + 2);
    const struct str v[] = { str_of(hex), str_of(name), str_of(role) };
    status = sql_begin(sql, NULL, error);
    if (!status)
        status = sql_exec(
            sql, "INSERT INTO maas.admin_tokens (hash, name, role) VALUES ($1::bytea, $2, $3)", v,
            3, NULL, error);
    if (!status)
        status =
            sql_exec(sql,
                     "SELECT maas.audit_append('console', 'admin_token.create', $1, NULL::jsonb,"
                     " jsonb_build_object('name', $1::text, 'role', $2::text), NULL)",
                     v + 1, 2, NULL, error);
    if (!status)
        status = sql_commit(sql, error);
    if (!status)
        snprintf(out_text, 64, "%s", token.text);
    explicit_bzero(&token, sizeof(token));
    sql_close(sql);
    return status;
}
