/*
 * server.h: TLS listeners on event loops, with the guard (guard.h) in front of the library. One
 * struct server per loop and listener address. [loop] unless said.
 */
#ifndef MAAS_NET_SERVER_H
#define MAAS_NET_SERVER_H

#include "net/http.h"
#include "net/loop.h"

struct server;
struct tls; /* one SSL_CTX for a listener, shared by the loops: TLS 1.2/1.3, ALPN h2 then http/1.1
             */

maas_status MUST_USE tls_new(const char *cert_file, const char *key_file,
                             const char *session_id_context, bool allow_h2, struct tls **out,
                             maas_error *error);
maas_status MUST_USE
tls_reload(struct tls *tls, maas_error *error); /* [any] new connections get the new certificate */
void tls_free(struct tls *tls);

struct server_limits { /* filled from the configuration (base/limits.def) */
    /* Bytes. A body in flight counts twice, as its buffer doubles. Those of one connection bound
     * HTTP/2; over HTTP/1 a connection has one body and one answer. What all hold is both. */
    uint64_t body_max, body_in_flight_conn_max, body_in_flight_max, answers_in_flight_conn_max;
    uint32_t headers_max, header_bytes_max;
    uint32_t connections_max;
    uint32_t header_timeout_ms, body_timeout_ms, idle_timeout_ms, write_stall_ms;
    uint32_t body_min_rate; /* bytes a second, looked at after 5 s */
    uint32_t connection_age_ms;
    uint32_t cancel_max;  /* cancelled requests in 10 s, and more than half of the streams: the
                             connection is closed */
    uint32_t control_max; /* PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA frames in 10 s
                             beyond those that come with requests */
};

/* Listens on `fd` (bound, listening, shared among loops by the caller; not closed here). */
maas_status MUST_USE server_start(struct loop *loop, int fd, struct tls *tls,
                                  const struct server_limits *limits, exchange_handler handler,
                                  void *arg, struct server **out, maas_error *error);
/* Before the loop runs. Without one, everybody's body comes. */
void server_set_gate(struct server *server, exchange_gate gate); /* arg: the handler's */
/* Stops accepting, sends GOAWAY, lets what is in flight finish; after `ms` cuts the rest. Then
 * calls done. */
void server_drain(struct server *server, uint32_t ms, void (*done)(void *arg), void *arg);
void server_free(struct server *server);

struct server_counts { /* [any], relaxed */
    uint64_t connections_open, connections_total, requests_total, requests_open;
    uint64_t closed_by_guard_cancel, closed_by_guard_control, closed_by_guard_headers,
        closed_by_guard_framing, closed_by_guard_stall, closed_by_guard_body;
};
void server_counts(struct server_counts *out); /* of the process */

/* Proves over a socketpair that the guard is linked in and live; the caller refuses to start
 * otherwise. */
maas_status MUST_USE guard_self_test(maas_error *error);

#endif
