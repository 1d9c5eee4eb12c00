/*
 * http.c: one request and its answer on top of h2o_req_t.
 *
 * The exchange lives in the request's pool as its (pass-through) prefilter: that is the library's
 * own per-request hook, so request and exchange find each other without a table and without an
 * allocation of their own. The wrapped h2o_dispose_request says when it dies.
 *
 * Names of response headers are static storage, so the library's token for a name is looked up once
 * a thread and found again by the name's address.
 *
 * Rejected: h2o_mem_alloc_shared with a dispose (a malloc and a free a request) and an ostream with
 * `stop` (not called once the answer is sent, so nobody would tell when it has left).
 */
#include "net/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* ---- life */

static void pass_through(h2o_req_prefilter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    h2o_setup_next_prefilter(self, req, slot);
}

struct exchange *exchange_of(h2o_req_t *req)
{
    h2o_req_prefilter_t *first = req->prefilters;
    if (first == NULL || first->on_setup_ostream != pass_through)
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct exchange, prefilter, first);
}

struct exchange *exchange_new(struct conn *conn, h2o_req_t *req)
{
    const size_t head = sizeof(h2o_req_prefilter_t);
    h2o_req_prefilter_t *prefilter = h2o_add_prefilter(req, sizeof(struct exchange));
    struct exchange *ex = H2O_STRUCT_FROM_MEMBER(struct exchange, prefilter, prefilter);
    prefilter->on_setup_ostream = pass_through;
    memset((char *)ex + head, 0, sizeof(*ex) - head);
    ex->req = req;
    ex->conn = conn;
    ex->born_ns = loop_now_ns(conn->server->loop);
    ex->next = conn->exchanges;
    ex->link = &conn->exchanges;
    if (ex->next != NULL)
        ex->next->link = &ex->next;
    conn->exchanges = ex;
    return ex;
}

static void close_for_handler(struct exchange *ex)
{
    server_bump(&ex->conn->server->cell.requests_open, -1);
}

void exchange_dispose(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    *ex->link = ex->next;
    if (ex->next != NULL)
        ex->next->link = ex->link;
    struct exchange **slot = &conn->by_stream[ex->stream_id / 2 % STREAM_SLOTS];
    if (*slot == ex)
        *slot = NULL;
    if (conn->protocol == PROTOCOL_HTTP1) {
        conn->body_bytes = 0;
    } else {
        conn->body_bytes -= ex->body_bytes;
        conn->answer_bytes -= ex->answer_bytes;
    }
    (void)conn_charge(conn);
    ex->req->prefilters = NULL;
    if (ex->state == EXCHANGE_ANSWERED)
        conn->answers += ex->req->bytes_sent + 1;
    if (ex->state != EXCHANGE_OPEN)
        return;
    close_for_handler(ex);
    if (ex->on_gone != NULL)
        ex->on_gone(ex->user);
}

void exchange_condemn(struct exchange *ex, const struct condemned *condemned)
{
    ex->view.condemned = *condemned;
    ex->condemned_turn = loop_turns(ex->conn->server->loop);
}

void exchange_withhold(struct exchange *ex)
{
    ex->view.body_withheld = true;
    ex->condemned_turn = loop_turns(ex->conn->server->loop);
}

bool exchange_is_refused(const struct exchange *ex)
{
    return ex->view.condemned.http_status != 0 || ex->view.body_withheld;
}

/* ---- the request */

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){ v.base, v.len };
}

static void fill_view(struct exchange *ex)
{
    const h2o_req_t *req = ex->req;
    const struct str target = str_of_iovec(req->input.path);
    const char *mark = target.len != 0 ? memchr(target.data, '?', target.len) : NULL;
    struct http_request *view = &ex->view;
    view->method = str_of_iovec(req->input.method);
    view->path = target;
    view->query = (struct str){ 0 };
    if (mark != NULL) {
        view->path.len = (size_t)(mark - target.data);
        view->query = (struct str){ mark + 1, target.len - view->path.len - 1 };
    }
    view->authority = str_of_iovec(req->input.authority);
    if (!exchange_is_refused(ex))
        view->body = str_of_iovec(req->entity);
    view->http_version = (uint32_t)req->version;
}

int exchange_start(struct server *server, h2o_req_t *req)
{
    struct conn *conn = conn_of_request(req);
    struct exchange *ex = exchange_of(req);
    if (ex == NULL) { /* HTTP/1: born here, HTTP/2: with its header */
        ex = exchange_new(conn, req);
        if (conn->h1_condemned.http_status != 0)
            exchange_condemn(ex, &conn->h1_condemned);
        else if (conn->h1_withheld)
            exchange_withhold(ex);
        conn->h1_condemned = (struct condemned){ 0 };
        conn->h1_withheld = false;
        conn->body_ns = 0;
    }
    if (req->version < 0x200 && (exchange_is_refused(ex) || conn->leaving))
        req->http1_is_persistent = 0;
    fill_view(ex);
    ex->state = EXCHANGE_OPEN;
    server_bump(&server->cell.requests_open, 1);
    server_bump(&server->cell.requests_total, 1);
    server->handler(ex, server->arg);
    return 0;
}

const struct http_request *exchange_request(struct exchange *ex)
{
    return &ex->view;
}

/* Header tokens to places in known[]; the first of several fields of a name counts. */
static void fill_known(struct exchange *ex)
{
    const struct {
        const h2o_token_t *token;
        enum http_known_header which;
    } map[] = {
        { H2O_TOKEN_AUTHORIZATION, HDR_AUTHORIZATION },
        { H2O_TOKEN_CONTENT_TYPE, HDR_CONTENT_TYPE },
        { H2O_TOKEN_CONTENT_ENCODING, HDR_CONTENT_ENCODING },
        { H2O_TOKEN_ACCEPT, HDR_ACCEPT },
        { H2O_TOKEN_ACCEPT_ENCODING, HDR_ACCEPT_ENCODING },
        { H2O_TOKEN_USER_AGENT, HDR_USER_AGENT },
    };
    for (size_t i = ex->req->headers.size; i-- > 0;) {
        const h2o_header_t *field = &ex->req->headers.entries[i];
        for (size_t k = 0; k < COUNT_OF(map); k++)
            if (field->name == &map[k].token->buf)
                ex->known[map[k].which] = str_of_iovec(field->value);
    }
    ex->known_filled = true;
}

struct str exchange_known(struct exchange *ex, enum http_known_header which)
{
    if (!ex->known_filled)
        fill_known(ex);
    return ex->known[which];
}

struct str exchange_find(struct exchange *ex, struct str name)
{
    if (str_eq(name, STR("host"))) /* the library keeps it apart */
        return ex->view.authority;
    const h2o_headers_t *headers = &ex->req->headers;
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_header_t *field = &headers->entries[i];
        if (str_eq(name, str_of_iovec(*field->name)))
            return str_of_iovec(field->value);
    }
    return (struct str){ 0 };
}

struct loop *exchange_loop(struct exchange *ex)
{
    return ex->conn->server->loop;
}

void *exchange_alloc(struct exchange *ex, size_t size)
{
    return memset(h2o_mem_alloc_pool(&ex->req->pool, size), 0, size);
}

void exchange_bind(struct exchange *ex, void *user, void (*on_gone)(void *user))
{
    CHECK(ex->on_gone == NULL);
    ex->user = user;
    ex->on_gone = on_gone;
}

void *exchange_user(struct exchange *ex)
{
    return ex->user;
}

static void format_peer(struct conn *conn)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof(address));
    const socklen_t len = h2o_socket_getpeername(conn->sock, (struct sockaddr *)&address);
    const void *bytes = NULL;
    if (len != 0 && address.ss_family == AF_INET)
        bytes = &((struct sockaddr_in *)&address)->sin_addr;
    else if (len != 0 && address.ss_family == AF_INET6)
        bytes = &((struct sockaddr_in6 *)&address)->sin6_addr;
    if (bytes == NULL ||
        inet_ntop(address.ss_family, bytes, conn->peer, sizeof(conn->peer)) == NULL)
        snprintf(conn->peer, sizeof(conn->peer), "-");
}

void exchange_peer(struct exchange *ex, char *out, size_t size)
{
    struct conn *conn = ex->conn;
    if (conn->peer[0] == '\0')
        format_peer(conn);
    snprintf(out, size, "%s", conn->peer);
}

/* ---- the answer */

struct name_token {
    const char *name; /* compared by address */
    size_t len;
    const h2o_token_t *token; /* NULL: the library has none */
};

static const h2o_token_t *token_of(struct str name)
{
    static __thread struct name_token cache[64];
    struct name_token *entry = &cache[((uintptr_t)name.data >> 3) % COUNT_OF(cache)];
    if (entry->name != name.data || entry->len != name.len)
        *entry = (struct name_token){ name.data, name.len, h2o_lookup_token(name.data, name.len) };
    return entry->token;
}

void exchange_header(struct exchange *ex, struct str name, struct str value)
{
    h2o_req_t *req = ex->req;
    const h2o_token_t *token = token_of(name);
    if (token != NULL)
        h2o_add_header(&req->pool, &req->res.headers, token, NULL, value.data, value.len);
    else
        h2o_add_header_by_str(&req->pool, &req->res.headers, name.data, name.len, 0, NULL,
                              value.data, value.len);
}

/* HTTP/1's reason phrase: nobody reads it, RFC 9112 wants one. */
static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return status < 400 ? "Done" : status < 500 ? "Client Error" : "Server Error";
    }
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* The body has served, the answer waits until it is read. Too much of that ends the connection. */
static void hold_answer(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    exchange_drop_body(ex);
    conn->answer_bytes += ex->answer_bytes;
    (void)conn_charge(conn);
    if (conn->answer_bytes > conn->server->limits.answers_in_flight_conn_max)
        conn_doom(conn, GUARD_STALL, "answers are not being read");
}

void exchange_send(struct exchange *ex, int http_status, struct str content_type, struct str body)
{
    static h2o_generator_t generator = { NULL, NULL };
    struct conn *conn = ex->conn;
    h2o_req_t *req = ex->req;
    CHECK(ex->state == EXCHANGE_OPEN);
    close_for_handler(ex);
    ex->state = EXCHANGE_ANSWERED;
    ex->answered_ns = loop_now_ns(conn->server->loop);
    if (req->version < 0x200 && conn->leaving)
        req->http1_is_persistent = 0;
    req->res.status = http_status;
    req->res.reason = reason_of(http_status);
    if (content_type.len != 0)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       content_type.data, content_type.len);
    if (has_no_body(http_status))
        body.len = 0;
    else
        req->res.content_length = body.len;
    if (str_eq(ex->view.method, STR("HEAD")))
        body.len = 0;
    ex->answer_bytes = body.len;
    h2o_iovec_t copy = h2o_iovec_init(NULL, 0);
    if (body.len != 0) {
        copy = h2o_iovec_init(h2o_mem_alloc_pool(&req->pool, body.len), body.len);
        memcpy(copy.base, body.data, body.len);
    }
    const bool h2 = conn->protocol == PROTOCOL_HTTP2;
    if (h2)
        hold_answer(ex);
    h2o_start_response(req, &generator);
    h2o_send(req, &copy, body.len != 0, H2O_SEND_STATE_FINAL);
    if (h2 && conn->doomed != GUARD_NONE && guard_current() != conn)
        conn_end(conn, H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM, conn->doom_text); /* nobody else will */
}

void exchange_cut(struct exchange *ex)
{
    if (ex->state != EXCHANGE_OPEN)
        return;
    void (*on_gone)(void *user) = ex->on_gone;
    ex->req->http1_is_persistent = 0;
    ex->on_gone = NULL;
    if (on_gone != NULL)
        on_gone(ex->user);
    exchange_send(ex, 503, (struct str){ 0 }, (struct str){ 0 });
}
