/*
 * gate.c: whose bodies are let in before the handler runs.
 *
 * The library calls the handler when a whole body is in memory, so without a gate anybody may have
 * it hold one. guard_h1.c and guard_h2.c ask here once a body gets longer than BODY_UNASKED. What
 * is answered LATER stops the reading of its connection: the peer's TCP waits, and what was read
 * already is one turn's worth. A timer asks again; over HTTP/2 for each exchange that waits, over
 * HTTP/1 by showing the library its input once more, whose header guard_h1.c called incomplete.
 *
 * Rejected: an answer by callback (each waiting request would need memory that outlives it, for a
 * wait of a millisecond once in the life of a key), and no flow control credit in place of no
 * reading (a client that means harm does not wait for credit, and the library does not insist).
 */
#include "net/guard.h"

#include <string.h>
#include <strings.h>

enum {
    AGAIN_MS = 2,
    LATER_MAX_MS = 1000, /* then the gate is shut */
    MS_NS = 1000000,
};

struct http_head head_make(uint32_t http_version, struct str method, struct str target,
                           const void *fields, size_t field_count)
{
    const char *mark = target.len != 0 ? memchr(target.data, '?', target.len) : NULL;
    return (struct http_head){
        .method = method,
        .path = { target.data, mark != NULL ? (size_t)(mark - target.data) : target.len },
        .fields = fields,
        .field_count = field_count,
        .http_version = http_version,
    };
}

struct http_head head_of_request(const h2o_req_t *req)
{
    const h2o_iovec_t method = req->input.method, target = req->input.path;
    return head_make(0x200, (struct str){ method.base, method.len },
                     (struct str){ target.base, target.len }, req->headers.entries,
                     req->headers.size);
}

struct str head_find(const struct http_head *head, struct str name)
{
    const h2o_header_t *h2 = head->fields;
    const struct phr_header *h1 = head->fields;
    for (size_t i = 0; i < head->field_count; i++) {
        if (head->http_version >= 0x200) {
            if (str_eq(name, (struct str){ h2[i].name->base, h2[i].name->len }))
                return (struct str){ h2[i].value.base, h2[i].value.len };
        } else if (h1[i].name_len == name.len &&
                   strncasecmp(h1[i].name, name.data, name.len) == 0) {
            return (struct str){ h1[i].value, h1[i].value_len };
        }
    }
    return (struct str){ 0 };
}

enum gate_verdict gate_ask(struct conn *conn, const struct http_head *head)
{
    const struct server *server = conn->server;
    if (server->gate == NULL)
        return GATE_OPEN;
    const enum gate_verdict verdict = server->gate(head, server->arg);
    if (verdict == GATE_OPEN)
        conn_widen(conn);
    if (verdict != GATE_LATER)
        return verdict;
    if (conn->gate_since_ns != 0 &&
        loop_now_ns(server->loop) - conn->gate_since_ns > LATER_MAX_MS * (uint64_t)MS_NS)
        return GATE_SHUT;
    conn->gate_waits = true;
    return GATE_LATER;
}

static bool waits(const struct exchange *ex)
{
    return ex->state == EXCHANGE_READING && ex->gate == GATE_LATER;
}

static void resume(struct conn *conn)
{
    conn->gate_since_ns = 0;
    h2o_socket_read_start(conn->sock, conn->read_cb);
}

static void ask_again_h2(struct conn *conn)
{
    conn->gate_waits = false;
    for (struct exchange *ex = conn->exchanges; ex != NULL; ex = ex->next) {
        if (!waits(ex))
            continue;
        const struct http_head head = head_of_request(ex->req);
        ex->gate = gate_ask(conn, &head); /* SHUT: its next DATA frame is told */
    }
    if (conn->gate_waits)
        timer_start(conn->server->loop, &conn->gate_again, AGAIN_MS);
    else
        resume(conn);
}

static void ask_again_h1(struct conn *conn)
{
    conn->gate_waits = false;
    h2o_socket_read_start(conn->sock, conn->read_cb);
    guard_enter(conn);
    conn->read_cb(conn->sock, NULL);
    if (guard_current() == conn && !conn->gate_waits)
        conn->gate_since_ns = 0;
    guard_settle(conn);
}

static void on_again(struct timer *timer)
{
    struct conn *conn = H2O_STRUCT_FROM_MEMBER(struct conn, gate_again, timer);
    if (conn->phase != CONN_OPEN)
        return;
    if (conn->killed)
        resume(conn); /* so that the library sees its end */
    else if (conn->protocol == PROTOCOL_HTTP2)
        ask_again_h2(conn);
    else
        ask_again_h1(conn);
}

static bool anything_waits(const struct conn *conn)
{
    if (conn->protocol == PROTOCOL_HTTP1)
        return true;
    for (const struct exchange *ex = conn->exchanges; ex != NULL; ex = ex->next)
        if (waits(ex))
            return true;
    return false;
}

bool gate_pauses(const struct conn *conn)
{
    return conn->gate_again.due_ns != 0;
}

void gate_settle(struct conn *conn)
{
    if (gate_pauses(conn))
        return;
    if (!anything_waits(conn)) { /* the body was complete in the same turn: the handler has it */
        conn->gate_waits = false;
        return;
    }
    if (conn->gate_since_ns == 0)
        conn->gate_since_ns = loop_now_ns(conn->server->loop);
    guard_real.read_stop(conn->sock);
    conn->gate_again.fire = on_again;
    timer_start(conn->server->loop, &conn->gate_again, AGAIN_MS);
}
