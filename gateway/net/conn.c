/*
 * conn.c: the life of a connection and its deadlines.
 *
 * One timer a connection looks at everything that may take too long (handshake, header, body,
 * write, idleness, age), at an eighth of the shortest limit, at least twenty milliseconds and at
 * most a second apart: a request itself starts no timer here. Progress of a write is what the
 * peer's TCP has acknowledged; progress of answers under HTTP/2's flow control is what left of
 * them.
 *
 * Nothing of the library is freed here. A connection ends by GOAWAY and the library's own way of
 * closing where the library can still write, else by shutting the socket down: the library sees an
 * error at its next event and cleans up.
 */
#include "net/conn.h"

#include "net/guard.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SECOND_NS = 1000000000,
    MS_NS = 1000000,
    GOODBYE_MS = 1000,         /* for a close_notify to leave */
    LEAVE_GRACE_MS = 200,      /* between the two GOAWAYs: a round trip for requests under way */
    RATE_AFTER_MS = 5000,      /* when the least rate of a body begins to count */
    CHARGE_STEP = 64 * 1024,   /* bodies are counted in the process in these steps */
    NARROW_BUFFER = 64 * 1024, /* bytes; the kernel takes twice that with its overhead */
    WIDE_BUFFER = 256 * 1024,
};

static void on_tick(struct timer *timer);

/* ---- life */

static void on_close(void *data)
{
    struct conn *conn = data;
    struct server *server = conn->server;
    guard_forget(conn);
    timer_stop(&conn->tick);
    timer_stop(&conn->gate_again);
    conn->body_bytes = 0;
    conn->answer_bytes = 0;
    (void)conn_charge(conn);
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    SSL_CTX_free(conn->ssl);
    free(conn);
    server_conn_gone(server);
}

static uint64_t jittered(uint64_t ns) /* +- 10 percent, so that clients do not return together */
{
    uint32_t dice;
    random_bytes(&dice, sizeof(dice));
    return ns / 10 * 9 + ns / 5 * (dice % 1024) / 1024;
}

/* One read of the library takes all that the kernel holds: for a stranger that must be little. */
static void set_receive_buffer(h2o_socket_t *sock, int bytes)
{
    setsockopt(h2o_socket_get_fd(sock), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void conn_widen(struct conn *conn)
{
    if (!conn->wide)
        set_receive_buffer(conn->sock, WIDE_BUFFER);
    conn->wide = true;
}

struct conn *conn_new(struct server *server, h2o_socket_t *sock)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    CHECK(conn != NULL);
    conn->server = server;
    conn->sock = sock;
    conn->born_ns = conn->phase_ns = conn->io_ns = loop_now_ns(server->loop);
    conn->budget.start_ns = conn->born_ns;
    conn->age_ns = jittered(server->limits.connection_age_ms * (uint64_t)MS_NS);
    set_receive_buffer(sock, NARROW_BUFFER);
    sock->on_close.cb = on_close;
    sock->on_close.data = conn;
    conn->next = server->conns;
    conn->link = &server->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    server->conns = conn;
    conn->tick.fire = on_tick;
    timer_start(server->loop, &conn->tick, server->tick_ms);
    server_bump(&server->cell.connections_open, 1);
    server_bump(&server->cell.connections_total, 1);
    return conn;
}

void conn_open(struct conn *conn, enum conn_protocol protocol)
{
    h2o_accept_ctx_t *accept = &conn->server->accept;
    const struct timeval now = *h2o_get_timestamp(accept->ctx, NULL, NULL);
    conn->phase = CONN_OPEN;
    conn->phase_ns = loop_now_ns(conn->server->loop);
    conn->protocol = protocol;
    guard_enter(conn);
    if (protocol == PROTOCOL_HTTP2)
        h2o_http2_accept(accept, conn->sock, now);
    else
        h2o_http1_accept(accept, conn->sock, now);
    guard_settle(conn);
}

struct conn *conn_of_socket(h2o_socket_t *sock)
{
    return sock->on_close.cb == on_close ? sock->on_close.data : NULL;
}

struct conn *conn_of_request(h2o_req_t *req)
{
    return conn_of_socket(req->conn->callbacks->get_socket(req->conn));
}

h2o_http2_conn_t *conn_h2(struct conn *conn)
{
    return conn->sock->data;
}

bool conn_charge(struct conn *conn)
{
    _Atomic uint64_t *total = server_body_total();
    const size_t held = conn->body_bytes * BODY_FACTOR + conn->answer_bytes;
    const size_t steps = held / CHARGE_STEP * CHARGE_STEP;
    if (steps != conn->charged) {
        atomic_fetch_add_explicit(total, steps - conn->charged, memory_order_relaxed);
        conn->charged = steps;
    }
    return steps == 0 || atomic_load_explicit(total, memory_order_relaxed) <=
                             conn->server->limits.body_in_flight_max;
}

/* ---- ends */

void conn_doom(struct conn *conn, enum guard_reason reason, const char *text)
{
    if (conn->doomed != GUARD_NONE)
        return;
    conn->doomed = reason;
    conn->doom_text = text;
    server_bump(&conn->server->cell.closed[reason], 1);
}

void conn_kill(struct conn *conn)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    const int fd = h2o_socket_get_fd(conn->sock);
    conn->killed = true;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    shutdown(fd, SHUT_RDWR);
}

static void send_goaway(h2o_http2_conn_t *h2, uint32_t last_stream, int error, const char *text)
{
    h2o_http2_encode_goaway_frame(&h2->_write.buf, last_stream, error,
                                  h2o_iovec_init(text, strlen(text)));
    h2o_http2_conn_request_write(h2);
}

void conn_end(struct conn *conn, int h2_error, const char *text)
{
    if (conn->killed)
        return;
    if (conn->phase == CONN_OPEN && conn->protocol == PROTOCOL_HTTP2) {
        h2o_http2_conn_t *h2 = conn_h2(conn);
        if (h2->state < H2O_HTTP2_CONN_STATE_IS_CLOSING && h2->_write.buf_in_flight == NULL &&
            !h2o_socket_is_writing(conn->sock)) {
            send_goaway(h2, h2->pull_stream_ids.max_open, h2_error, text);
            h2->state = H2O_HTTP2_CONN_STATE_IS_CLOSING; /* the write's end closes */
            return;
        }
    }
    conn_kill(conn);
}

static bool is_idle(const struct conn *conn)
{
    return conn->exchanges == NULL && conn->header_ns == 0 && conn->body_ns == 0 &&
           conn->write_ns == 0 && !conn->gate_waits;
}

void conn_leave(struct conn *conn)
{
    if (conn->leaving)
        return;
    conn->leaving = true;
    conn->leaving_ns = loop_now_ns(conn->server->loop);
    if (conn->phase == CONN_OPEN && conn->protocol == PROTOCOL_HTTP1 && is_idle(conn)) {
        shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
    } else if (conn->phase == CONN_OPEN && conn->protocol == PROTOCOL_HTTP2) {
        h2o_http2_conn_t *h2 = conn_h2(conn);
        if (h2->state == H2O_HTTP2_CONN_STATE_OPEN)
            send_goaway(h2, INT32_MAX, 0, "leaving");
    }
}

static bool is_receiving(const struct conn *conn)
{
    for (const struct exchange *ex = conn->exchanges; ex != NULL; ex = ex->next)
        if (ex->state == EXCHANGE_READING)
            return true;
    return conn->header_ns != 0;
}

/*
 * The second GOAWAY, once no request is half read: the library forgets those in this state. It
 * closes by itself when the last answer is out.
 */
static void finish_leaving(struct conn *conn, uint64_t now)
{
    if (conn->protocol == PROTOCOL_HTTP1) {
        if (is_idle(conn))
            shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
        return;
    }
    h2o_http2_conn_t *h2 = conn_h2(conn);
    if (h2->state != H2O_HTTP2_CONN_STATE_OPEN || is_receiving(conn) ||
        now - conn->leaving_ns < LEAVE_GRACE_MS * (uint64_t)MS_NS)
        return;
    send_goaway(h2, h2->pull_stream_ids.max_open, 0, "leaving");
    h2->state = H2O_HTTP2_CONN_STATE_HALF_CLOSED;
}

void conn_cut(struct conn *conn)
{
    struct exchange *ex = conn->exchanges;
    if (conn->phase == CONN_OPEN && conn->protocol == PROTOCOL_HTTP1 && ex != NULL &&
        ex->state == EXCHANGE_OPEN)
        exchange_cut(ex); /* its write ends the connection; a shutdown would go unnoticed */
    else
        conn_kill(conn);
}

/* ---- deadlines */

static bool past(uint64_t now, uint64_t since, uint32_t limit_ms)
{
    return since != 0 && now > since && now - since > limit_ms * (uint64_t)MS_NS;
}

static bool body_late(const struct server_limits *limits, uint64_t now, uint64_t since,
                      size_t bytes)
{
    if (past(now, since, limits->body_timeout_ms))
        return true;
    return past(now, since, RATE_AFTER_MS) &&
           bytes < limits->body_min_rate * ((now - since) / SECOND_NS);
}

static const char *late_reading(const struct conn *conn, uint64_t now)
{
    const struct server_limits *limits = &conn->server->limits;
    if (!conn->greeted && past(now, conn->phase_ns, limits->header_timeout_ms))
        return "no request in time";
    if (past(now, conn->header_ns, limits->header_timeout_ms) ||
        past(now, conn->partial_ns, limits->header_timeout_ms))
        return "header not complete in time";
    if (conn->body_ns != 0 &&
        body_late(limits, now, conn->body_ns, conn->sock->input->size - conn->h1_header_bytes))
        return "body not complete in time";
    for (const struct exchange *ex = conn->exchanges; ex != NULL; ex = ex->next)
        if (ex->state == EXCHANGE_READING && body_late(limits, now, ex->born_ns, ex->body_bytes))
            return "body not complete in time";
    return NULL;
}

/* What the peer's TCP has acknowledged; 0 where the socket cannot tell. */
static uint64_t acked_bytes(const struct conn *conn)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(h2o_socket_get_fd(conn->sock), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

static bool write_stalled(struct conn *conn, uint64_t now)
{
    if (conn->write_ns == 0)
        return false;
    const uint64_t acked = acked_bytes(conn);
    if (acked != conn->acked) {
        conn->acked = acked;
        conn->write_ns = now;
    }
    return past(now, conn->write_ns, conn->server->limits.write_stall_ms);
}

/* Answers that wait for the peer's flow control, or are taken slower than the least rate. */
static bool answers_stalled(struct conn *conn, uint64_t now)
{
    const struct server_limits *limits = &conn->server->limits;
    const uint64_t rate = limits->body_min_rate != 0 ? limits->body_min_rate : 1;
    uint64_t flowed = conn->answers;
    bool waiting = false;
    for (const struct exchange *ex = conn->exchanges; ex != NULL; ex = ex->next) {
        if (ex->state != EXCHANGE_ANSWERED)
            continue;
        waiting = true;
        flowed += ex->req->bytes_sent;
        if (past(now, ex->answered_ns,
                 limits->write_stall_ms + (uint32_t)(ex->answer_bytes * 1000 / rate)))
            return true;
    }
    if (!waiting)
        conn->flow_ns = 0;
    else if (conn->flow_ns == 0 || flowed != conn->flowed)
        conn->flow_ns = now;
    conn->flowed = flowed;
    return conn->protocol == PROTOCOL_HTTP2 && past(now, conn->flow_ns, limits->write_stall_ms);
}

static void check_open(struct conn *conn, uint64_t now)
{
    const struct server_limits *limits = &conn->server->limits;
    const char *late = late_reading(conn, now);
    if (late == NULL && (write_stalled(conn, now) || answers_stalled(conn, now)))
        late = "answers are not being read";
    if (late != NULL) {
        conn_doom(conn, GUARD_STALL, late);
        conn_end(conn, H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM, late);
        return;
    }
    if (is_idle(conn) && past(now, conn->io_ns, limits->idle_timeout_ms)) {
        conn_end(conn, 0, "idle");
        return;
    }
    if (now - conn->born_ns > conn->age_ns)
        conn_leave(conn);
    if (conn->leaving)
        finish_leaving(conn, now);
}

static void check(struct conn *conn, uint64_t now)
{
    switch (conn->phase) {
    case CONN_HANDSHAKE:
        if (past(now, conn->born_ns, conn->server->limits.header_timeout_ms)) {
            conn_doom(conn, GUARD_STALL, "handshake not complete in time");
            conn_kill(conn);
        }
        break;
    case CONN_OPEN:
        if (conn->protocol == PROTOCOL_HTTP2 &&
            conn_h2(conn)->state == H2O_HTTP2_CONN_STATE_IS_CLOSING)
            conn_kill(conn); /* had a whole tick to write its GOAWAY */
        else
            check_open(conn, now);
        break;
    case CONN_CLOSING:
        if (past(now, conn->phase_ns, GOODBYE_MS))
            conn_kill(conn);
        break;
    }
}

static void on_tick(struct timer *timer)
{
    struct conn *conn = H2O_STRUCT_FROM_MEMBER(struct conn, tick, timer);
    const struct server *server = conn->server;
    timer_start(server->loop, timer, server->draining ? 50 : server->tick_ms);
    if (!conn->killed)
        check(conn, loop_now_ns(server->loop));
}
