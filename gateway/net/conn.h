/*
 * conn.h: a connection, its exchanges and its server, as the files of net share them. Private to
 * net. All [loop] unless said.
 *
 * A connection is born with its accepted socket and dies in the socket's close callback; the
 * library owns the socket in between. An exchange lives in its request's pool, from the request's
 * header to h2o_dispose_request.
 */
#ifndef MAAS_NET_CONN_H
#define MAAS_NET_CONN_H

#include "net/loop_private.h"
#include "net/server.h"

#include <h2o/http1.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

/* Why the guard closes; one counter of server_counts each, but GUARD_NONE. */
enum guard_reason {
    GUARD_NONE,
    GUARD_CANCEL,  /* too many cancelled requests */
    GUARD_CONTROL, /* too many control frames */
    GUARD_HEADERS, /* a header block past all limits */
    GUARD_FRAMING, /* HTTP/1 framing: answered, then closed */
    GUARD_STALL,   /* a deadline: handshake, header, body, write */
    GUARD_BODY,    /* body bytes in flight */
    GUARD_REASONS,
};

enum conn_phase {
    CONN_HANDSHAKE, /* TLS */
    CONN_OPEN,      /* the library's HTTP/1 or HTTP/2 connection has the socket */
    CONN_CLOSING,   /* the library has let go; the socket says goodbye (close_notify) */
};
enum {
    STREAM_SLOTS = 64,
    /* A buffer that is full is copied into one of twice its size, and what it was is of no use for
     * the next one: a body takes up to twice its bytes. */
    BODY_FACTOR = 2,
};
enum conn_protocol { PROTOCOL_HTTP1, PROTOCOL_HTTP2 };

enum exchange_state {
    EXCHANGE_READING,  /* header read, body on its way (HTTP/2 only) */
    EXCHANGE_OPEN,     /* with the handler */
    EXCHANGE_ANSWERED, /* exchange_send was called, the answer is being written */
};

struct exchange {
    h2o_req_prefilter_t prefilter; /* first: how a request is mapped to its exchange */
    h2o_req_t *req;
    struct conn *conn;
    struct exchange *next, **link; /* of the connection */
    uint32_t stream_id;            /* HTTP/2 */
    enum exchange_state state;
    bool known_filled;
    enum gate_verdict gate; /* HTTP/2; stays unasked while the body is short */
    uint64_t born_ns, answered_ns;
    size_t body_bytes;       /* counted in conn->body_bytes */
    size_t answer_bytes;     /* body of the answer; over HTTP/2 counted in conn->answer_bytes */
    uint64_t condemned_turn; /* loop turn in which it was condemned or its body withheld */
    struct http_request view;
    struct str known[HDR_USER_AGENT + 1];
    void *user;
    void (*on_gone)(void *user);
};

struct conn {
    struct server *server;
    struct conn *next, **link; /* of the server */
    h2o_socket_t *sock;
    SSL_CTX *ssl; /* our reference */
    enum conn_phase phase;
    enum conn_protocol protocol;
    enum guard_reason doomed; /* to be closed as soon as the library's stack has unwound */
    const char *doom_text;
    bool greeted;         /* a frame (HTTP/2) or a header (HTTP/1) came */
    bool leaving;         /* asked to go: age or drain */
    bool killed;          /* shut down: only the library's close is awaited */
    bool held, held_seen; /* HTTP/1: reading is stopped, but not yet in epoll (guard_io.c) */
    struct timer tick;
    h2o_socket_cb read_cb, write_cb; /* the library's, behind the guard's */

    uint64_t born_ns, phase_ns, age_ns;
    uint64_t io_ns;      /* last time bytes were read or written */
    uint64_t header_ns;  /* an incomplete header since; 0: none */
    uint64_t partial_ns; /* an incomplete HTTP/2 frame since; 0: none */
    uint64_t body_ns;    /* an HTTP/1 body since; 0: none */
    uint64_t write_ns;   /* a write in flight without progress since; 0: none */
    uint64_t flow_ns;    /* answers waiting without progress since; 0: none */
    uint64_t acked, flowed;
    uint64_t leaving_ns;

    struct {
        uint64_t start_ns;
        uint32_t cancels, streams, control, bodies;
        size_t written; /* sock->bytes_written at the start */
    } budget;           /* of the present ten seconds */
    uint64_t frames, frames_at_partial;
    uint32_t block_frames; /* CONTINUATION frames of the present header block */
    size_t block_bytes;
    size_t body_bytes, answer_bytes, charged; /* held; what of it the process has counted */
    bool drop_payload;                        /* of the DATA frame that is decoded next */
    size_t h1_header_bytes;
    struct condemned h1_condemned; /* of the request being read */
    bool h1_withheld;              /* the same */
    bool wide;                     /* conn_widen */
    bool gate_waits;               /* a body for which the gate said LATER */
    uint64_t gate_since_ns;        /* it has been waiting, and nothing is read; 0: it is not */
    struct timer gate_again;
    struct exchange *exchanges;               /* the newest first */
    struct exchange *by_stream[STREAM_SLOTS]; /* a hint: by the low bits of the stream's id */
    uint64_t answers;                         /* exchanges that were answered and are gone */
    char peer[64];
};

struct server_cell { /* written by the loop, read by anyone */
    _Atomic uint64_t connections_open, connections_total, requests_total, requests_open;
    _Atomic uint64_t closed[GUARD_REASONS];
};

struct server {
    struct loop *loop;
    struct tls *tls; /* NULL: plain, for the self-test and unit tests */
    struct server_limits limits;
    exchange_handler handler;
    exchange_gate gate; /* NULL: always open */
    void *arg;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;
    struct timer accept_again;
    struct conn *conns;
    uint32_t tick_ms;
    bool draining, drained, freeing;
    struct timer drain_end, done_timer;
    void (*done)(void *arg);
    void *done_arg;
    struct server_cell cell;
    struct server *next, **link; /* of the process; under the registry's mutex */
};

/* ---- connection (conn.c) */

/* Takes a fresh socket; counts it. */
struct conn *conn_new(struct server *server, h2o_socket_t *sock);
/* Its sender has a right to its body: from now on as much may be under way as fast lines want. */
void conn_widen(struct conn *conn);
/* Hands the socket to the library as HTTP/1 or HTTP/2. */
void conn_open(struct conn *conn, enum conn_protocol protocol);
struct conn *conn_of_socket(h2o_socket_t *sock); /* NULL: not one of ours */
struct conn *conn_of_request(h2o_req_t *req);
h2o_http2_conn_t *conn_h2(struct conn *conn); /* only while open as HTTP/2 */
/* Notes that the connection must end; guard_settle or the next frame ends it. The first reason
 * counts. */
void conn_doom(struct conn *conn, enum guard_reason reason, const char *text);
/* Ends it from outside of the library's stack: GOAWAY where it can still be written, else at once.
 */
void conn_end(struct conn *conn, int h2_error, const char *text);
/* Ends it at once: what is unsent is thrown away. */
void conn_kill(struct conn *conn);
void conn_leave(struct conn *conn); /* politely: no new requests, then close */
void conn_cut(struct conn *conn);   /* at the end of a drain: open exchanges are lost */
/* Sets the global account right after conn->body_bytes or answer_bytes changed; false: the bound of
 * the process is passed. */
bool conn_charge(struct conn *conn);

/* ---- the gate (gate.c) */

/* fields: the parser's over HTTP/1, the library's over HTTP/2. */
struct http_head head_make(uint32_t http_version, struct str method, struct str target,
                           const void *fields, size_t field_count);
struct http_head head_of_request(const h2o_req_t *req); /* HTTP/2 */
/* Asks; notes LATER in the connection. SHUT when the second is over. */
enum gate_verdict gate_ask(struct conn *conn, const struct http_head *head);
/* After the library's stack has unwound: stops reading while a body waits for the gate. */
void gate_settle(struct conn *conn);
bool gate_pauses(const struct conn *conn); /* it has stopped reading */

/* ---- exchanges (http.c) */

struct exchange *exchange_new(struct conn *conn, h2o_req_t *req);
struct exchange *exchange_of(h2o_req_t *req); /* NULL: none */
void exchange_condemn(struct exchange *ex, const struct condemned *condemned);
void exchange_withhold(struct exchange *ex); /* the gate is shut */
/* Condemned or withheld: no body of it is kept. */
bool exchange_is_refused(const struct exchange *ex);
void exchange_drop_body(struct exchange *ex);              /* HTTP/2; (guard_h2.c) */
int exchange_start(struct server *server, h2o_req_t *req); /* calls the handler */
void exchange_dispose(struct exchange *ex);                /* the request is going */
void exchange_cut(struct exchange *ex); /* HTTP/1 at the end of a drain: gone, answered 503 */

/* ---- server (server.c) */

/* A server without listener or TLS, left out of server_counts; sockets come by server_adopt. */
struct server *server_new(struct loop *loop, const struct server_limits *limits,
                          exchange_handler handler, void *arg);
void server_adopt(struct server *server, int fd, enum conn_protocol protocol);
void server_conn_gone(struct server *server);
_Atomic uint64_t *
server_body_total(void); /* body bytes in flight in the process, in 64 KiB steps */
void server_bump(_Atomic uint64_t *counter, int64_t by); /* single writer, relaxed */

#endif
