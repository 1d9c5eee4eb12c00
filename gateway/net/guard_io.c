/*
 * guard_io.c: the guard's place at the sockets.
 *
 * h2o_socket_read_start and h2o_socket_write are wrapped so that every callback into the library
 * names its connection first (frames and bytes do not) and is followed by a look at the damage: a
 * doomed connection ends here, where the library's stack has unwound. The wrapped write also says
 * how long a write has been waiting, the wrapped close that the library's connection is gone, and
 * the wrapped h2o_dispose_request that a request is.
 *
 * HTTP/1 stops reading for the time of a request. With an answer from another process that is two
 * epoll_ctl a request, a tenth of its cost; so the descriptor stays in epoll, deaf (DONT_READ), and
 * is taken out only when the client sends or closes before it was answered.
 *
 * After an error the library may keep an HTTP/2 connection that waits for a write, reading on into
 * a buffer without end. guard_settle ends that too.
 */
#include "net/guard.h"

#include <dlfcn.h>

struct guard_real guard_real;
static __thread struct conn *current;

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    CHECK(symbol != NULL);
    return symbol;
}

/* Function pointers from dlsym go through memory: ISO C has no cast for them. */
#define FIND(member, name)                                                                         \
    do {                                                                                           \
        void *symbol = next_symbol(name);                                                          \
        __builtin_memcpy(&guard_real.member, &symbol, sizeof(symbol));                             \
    } while (0)

__attribute__((constructor)) static void find_originals(void)
{
    FIND(read_start, "h2o_socket_read_start");
    FIND(read_stop, "h2o_socket_read_stop");
    FIND(write, "h2o_socket_write");
    FIND(close, "h2o_socket_close");
    FIND(dispose_request, "h2o_dispose_request");
    FIND(decode_frame, "h2o_http2_decode_frame");
    FIND(decode_data, "h2o_http2_decode_data_payload");
    FIND(parse_headers, "h2o_hpack_parse_headers");
    FIND(stream_reset, "h2o_http2_stream_reset");
    FIND(flatten_response, "h2o_hpack_flatten_response");
    FIND(parse_request, "phr_parse_request");
}

struct conn *guard_current(void)
{
    return current;
}

void guard_enter(struct conn *conn)
{
    current = conn;
}

void guard_forget(struct conn *conn)
{
    if (current == conn)
        current = NULL;
}

/* An HTTP/2 frame that does not get complete has a deadline, like a header. */
static void note_partial_frame(struct conn *conn)
{
    if (conn->sock->input->size == 0) {
        conn->partial_ns = 0;
    } else if (conn->partial_ns == 0 || conn->frames != conn->frames_at_partial) {
        conn->partial_ns = loop_now_ns(conn->server->loop);
        conn->frames_at_partial = conn->frames;
    }
}

static void note_h1_body(struct conn *conn)
{
    if (conn->body_ns == 0)
        return;
    conn->body_bytes = conn->sock->input->size;
    if (!conn_charge(conn))
        conn_doom(conn, GUARD_BODY, "too many request bodies in flight");
}

void guard_settle(struct conn *conn)
{
    if (current != conn) /* freed meanwhile */
        return;
    current = NULL;
    if (conn->phase != CONN_OPEN || conn->killed)
        return;
    if (conn->protocol == PROTOCOL_HTTP2) {
        if (conn_h2(conn)->state == H2O_HTTP2_CONN_STATE_IS_CLOSING) {
            conn_kill(conn);
            return;
        }
        note_partial_frame(conn);
    } else {
        note_h1_body(conn);
    }
    if (conn->doomed != GUARD_NONE)
        conn_end(conn, H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM, conn->doom_text);
    else if (conn->gate_waits)
        gate_settle(conn);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct conn *conn = conn_of_socket(sock);
    if (sock->bytes_read != 0) /* a piece of a TLS record is not a sign of life */
        conn->io_ns = loop_now_ns(conn->server->loop);
    guard_enter(conn);
    conn->read_cb(sock, err);
    guard_settle(conn);
}

static void on_written(h2o_socket_t *sock, const char *err)
{
    struct conn *conn = conn_of_socket(sock);
    conn->io_ns = loop_now_ns(conn->server->loop);
    conn->write_ns = 0;
    guard_enter(conn);
    conn->write_cb(sock, err);
    guard_settle(conn);
}

/* The head of the library's private socket of 2.2.5; hold() checks that it is. */
struct evloop_socket {
    h2o_socket_t super;
    int fd;
    int flags;
};

static struct evloop_socket *evloop_socket(h2o_socket_t *sock)
{
    return (struct evloop_socket *)sock;
}

/* The client says more, or leaves, while its request is worked on: now reading really stops. When
 * the answer is on its way reading goes on in this turn, as a rule, so the first sign is passed
 * over. */
static void on_held(h2o_socket_t *sock, const char *err)
{
    (void)err;
    struct conn *conn = conn_of_socket(sock);
    if (conn->write_ns != 0 && !conn->held_seen)
        conn->held_seen = true;
    else
        guard_real.read_stop(sock);
}

static void hold(struct conn *conn, h2o_socket_t *sock)
{
    CHECK(evloop_socket(sock)->fd == h2o_socket_get_fd(sock));
    conn->held = true;
    conn->held_seen = false;
    evloop_socket(sock)->flags |= H2O_SOCKET_FLAG_DONT_READ;
    guard_real.read_start(sock, on_held);
}

void h2o_socket_read_stop(h2o_socket_t *sock)
{
    struct conn *conn = conn_of_socket(sock);
    if (conn != NULL && conn->phase == CONN_OPEN && conn->protocol == PROTOCOL_HTTP1)
        hold(conn, sock);
    else
        guard_real.read_stop(sock);
}

void h2o_socket_read_start(h2o_socket_t *sock, h2o_socket_cb cb)
{
    struct conn *conn = conn_of_socket(sock);
    if (conn != NULL) {
        if (conn->held)
            evloop_socket(sock)->flags &= ~H2O_SOCKET_FLAG_DONT_READ;
        conn->held = false;
        conn->read_cb = cb;
        cb = on_read;
        if (gate_pauses(conn)) /* over HTTP/2 the library asks for more after every write */
            return;
    }
    guard_real.read_start(sock, cb);
}

void h2o_socket_write(h2o_socket_t *sock, h2o_iovec_t *bufs, size_t bufcnt, h2o_socket_cb cb)
{
    struct conn *conn = conn_of_socket(sock);
    if (conn != NULL) {
        conn->write_cb = cb;
        conn->write_ns = loop_now_ns(conn->server->loop);
        cb = on_written;
    }
    guard_real.write(sock, bufs, bufcnt, cb);
}

void h2o_socket_close(h2o_socket_t *sock)
{
    struct conn *conn = conn_of_socket(sock);
    if (conn != NULL) {
        conn->phase = CONN_CLOSING;
        conn->phase_ns = loop_now_ns(conn->server->loop);
    }
    guard_real.close(sock);
}

void h2o_dispose_request(h2o_req_t *req)
{
    struct exchange *ex = exchange_of(req);
    if (ex != NULL)
        exchange_dispose(ex);
    guard_real.dispose_request(req);
}
