/*
 * server.c: listeners, the configuration of the library, draining, counts.
 *
 * One struct server is one h2o_globalconf_t and one h2o_context_t on one loop with a single handler
 * of ours on "/": none of the library's handlers is ever registered. The library's own timeouts are
 * set out of the way, conn.c has the deadlines.
 *
 * The library's graceful shutdown is not used: its second GOAWAY forgets requests whose bodies are
 * still on their way, and idle HTTP/1.1 connections would stay.
 */
#include "net/guard.h"
#include "net/tls_private.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_EVENT = 16,
    ACCEPT_PAUSE_MS = 100, /* when descriptors have run out */
    NEVER_MS = 24 * 3600 * 1000,
    LIBRARY_SLACK = 1024 * 1024, /* the library's body limit above ours: ours answers first */
    CUT_AGAIN_MS = 1000,
    WINDOW_MAX = 256 * 1024, /* bytes; what the kernel may ever hold of a connection */
    UNSENT_MAX = 256 * 1024,
};

struct handler { /* what the library calls */
    h2o_handler_t super;
    struct server *server;
};

/* ---- the process: all servers, for counts and bounds over the loops */

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct server *registry;      /* under the mutex */
static struct server_counts retired; /* of freed servers, under the mutex */
static _Atomic uint64_t connections_in_process;
static _Atomic uint64_t bodies_in_process;

_Atomic uint64_t *server_body_total(void)
{
    return &bodies_in_process;
}

void server_bump(_Atomic uint64_t *counter, int64_t by)
{
    const uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + (uint64_t)by, memory_order_relaxed);
}

static uint64_t read_cell(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_counts(struct server_counts *out, struct server_cell *cell)
{
    out->connections_open += read_cell(&cell->connections_open);
    out->connections_total += read_cell(&cell->connections_total);
    out->requests_total += read_cell(&cell->requests_total);
    out->requests_open += read_cell(&cell->requests_open);
    out->closed_by_guard_cancel += read_cell(&cell->closed[GUARD_CANCEL]);
    out->closed_by_guard_control += read_cell(&cell->closed[GUARD_CONTROL]);
    out->closed_by_guard_headers += read_cell(&cell->closed[GUARD_HEADERS]);
    out->closed_by_guard_framing += read_cell(&cell->closed[GUARD_FRAMING]);
    out->closed_by_guard_stall += read_cell(&cell->closed[GUARD_STALL]);
    out->closed_by_guard_body += read_cell(&cell->closed[GUARD_BODY]);
}

void server_counts(struct server_counts *out)
{
    pthread_mutex_lock(&registry_mutex);
    *out = retired;
    for (struct server *server = registry; server != NULL; server = server->next)
        add_counts(out, &server->cell);
    pthread_mutex_unlock(&registry_mutex);
}

static void enter_registry(struct server *server)
{
    pthread_mutex_lock(&registry_mutex);
    server->next = registry;
    server->link = &registry;
    if (registry != NULL)
        registry->link = &server->next;
    registry = server;
    pthread_mutex_unlock(&registry_mutex);
}

static void leave_registry(struct server *server)
{
    pthread_mutex_lock(&registry_mutex);
    *server->link = server->next;
    if (server->next != NULL)
        server->next->link = server->link;
    add_counts(&retired, &server->cell);
    pthread_mutex_unlock(&registry_mutex);
}

/* ---- birth */

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    return exchange_start(H2O_STRUCT_FROM_MEMBER(struct handler, super, self)->server, req);
}

static void configure(struct server *server)
{
    h2o_globalconf_t *config = &server->config;
    h2o_config_init(config);
    config->server_name = h2o_iovec_init(H2O_STRLIT("maas"));
    config->max_request_entity_size = server->limits.body_max + LIBRARY_SLACK;
    config->http1.upgrade_to_http2 = 0;
    config->http1.req_timeout = NEVER_MS;
    config->http2.idle_timeout = NEVER_MS;
    config->handshake_timeout = NEVER_MS;
    h2o_hostconf_t *host =
        h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    host->http2.reprioritize_blocking_assets = 0;
    host->http2.push_preload = 0;
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_handler_t *handler = h2o_create_handler(path, sizeof(struct handler));
    handler->on_req = on_request;
    H2O_STRUCT_FROM_MEMBER(struct handler, super, handler)->server = server;
    /* Targets that do not begin with "/" (OPTIONS *) end in the host's fallback. */
    handler = h2o_create_handler(&host->fallback_path, sizeof(struct handler));
    handler->on_req = on_request;
    H2O_STRUCT_FROM_MEMBER(struct handler, super, handler)->server = server;
}

static uint32_t tick_for(const struct server_limits *limits)
{
    const uint32_t all[] = { limits->header_timeout_ms, limits->body_timeout_ms,
                             limits->idle_timeout_ms, limits->write_stall_ms,
                             limits->connection_age_ms };
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        least = all[i] < least ? all[i] : least;
    const uint32_t tick = least / 8;
    return tick < 20 ? 20 : tick > 1000 ? 1000 : tick;
}

struct server *server_new(struct loop *loop, const struct server_limits *limits,
                          exchange_handler handler, void *arg)
{
    struct server *server = calloc(1, sizeof(*server));
    CHECK(server != NULL);
    guard_h1_link();
    guard_answer_link();
    guard_h2_link();
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* no bodies in files under /tmp */
    server->loop = loop;
    server->limits = *limits;
    server->handler = handler;
    server->arg = arg;
    server->tick_ms = tick_for(limits);
    configure(server);
    h2o_context_init(&server->context, loop_h2o(loop), &server->config);
    server->accept = (h2o_accept_ctx_t){ .ctx = &server->context, .hosts = server->config.hosts };
    return server;
}

void server_adopt(struct server *server, int fd, enum conn_protocol protocol)
{
    h2o_socket_t *sock = h2o_evloop_socket_create(loop_h2o(server->loop), fd,
                                                  H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    atomic_fetch_add_explicit(&connections_in_process, 1, memory_order_relaxed);
    conn_open(conn_new(server, sock), protocol);
}

/* ---- accepting */

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct conn *conn = conn_of_socket(sock);
    if (err != NULL) {
        h2o_socket_close(sock);
        return;
    }
    const h2o_iovec_t alpn = h2o_socket_ssl_get_selected_protocol(sock);
    const bool h2 = h2o_memis(alpn.base, alpn.len, H2O_STRLIT("h2"));
    conn_open(conn, h2 ? PROTOCOL_HTTP2 : PROTOCOL_HTTP1);
}

static void start_connection(struct server *server, h2o_socket_t *sock)
{
    const uint64_t open =
        atomic_fetch_add_explicit(&connections_in_process, 1, memory_order_relaxed);
    struct conn *conn = conn_new(server, sock);
    if (open >= server->limits.connections_max) {
        h2o_socket_close(sock);
        return;
    }
    if (server->tls == NULL) {
        conn_open(conn, PROTOCOL_HTTP1);
        return;
    }
    conn->ssl = tls_ref_ctx(server->tls);
    h2o_socket_ssl_handshake(sock, conn->ssl, NULL, on_handshake);
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct server *server = listener->data;
    if (err != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
        if (sock != NULL) {
            start_connection(server, sock);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            LOG(LOG_WARN, "net.accept", F_INT("errno", errno));
            h2o_socket_read_stop(listener);
            timer_start(server->loop, &server->accept_again, ACCEPT_PAUSE_MS);
        }
        return;
    }
}

static void on_accept_again(struct timer *timer)
{
    struct server *server = H2O_STRUCT_FROM_MEMBER(struct server, accept_again, timer);
    if (server->listener != NULL)
        h2o_socket_read_start(server->listener, on_accept);
}

/*
 * Inherited by what is accepted: the widest window that conn_widen may open (its scale is settled
 * by the first packet), and that what a reader that stops leaves unsent stays out of the kernel.
 */
static void bound_buffers(int fd)
{
    const int window = WINDOW_MAX, unsent = UNSENT_MAX;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

maas_status server_start(struct loop *loop, int fd, struct tls *tls,
                         const struct server_limits *limits, exchange_handler handler, void *arg,
                         struct server **out, maas_error *error)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    bound_buffers(fd);
    if (copy < 0)
        return fail(error, MAAS_E_INTERNAL, "cannot duplicate listener %d: errno %d", fd, errno);
    struct server *server = server_new(loop, limits, handler, arg);
    server->tls = tls;
    server->listener = h2o_evloop_socket_create(loop_h2o(loop), copy, H2O_SOCKET_FLAG_DONT_READ);
    server->listener->data = server;
    server->accept_again.fire = on_accept_again;
    h2o_socket_read_start(server->listener, on_accept);
    enter_registry(server);
    *out = server;
    return MAAS_OK;
}

void server_set_gate(struct server *server, exchange_gate gate)
{
    server->gate = gate;
}

/* ---- end */

static void stop_accepting(struct server *server)
{
    timer_stop(&server->accept_again);
    if (server->listener != NULL)
        h2o_socket_close(server->listener);
    server->listener = NULL;
}

static void destroy(struct server *server)
{
    if (server->link != NULL)
        leave_registry(server);
    h2o_multithread_queue_t *queue = server->context.queue;
    h2o_context_dispose(&server->context);
    free(queue); /* which 2.2.5 empties but does not free */
    h2o_config_dispose(&server->config);
    free(server);
}

static void on_done(struct timer *timer)
{
    struct server *server = H2O_STRUCT_FROM_MEMBER(struct server, done_timer, timer);
    if (server->freeing) {
        destroy(server);
        return;
    }
    if (!server->draining || server->drained)
        return;
    server->drained = true;
    timer_stop(&server->drain_end);
    server->done(server->done_arg);
}

void server_conn_gone(struct server *server)
{
    server_bump(&server->cell.connections_open, -1);
    atomic_fetch_sub_explicit(&connections_in_process, 1, memory_order_relaxed);
    /* Not from here: the library is on the stack. */
    if (server->conns == NULL && (server->draining || server->freeing))
        timer_start(server->loop, &server->done_timer, 0);
}

static void cut_all(struct server *server)
{
    for (struct conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        conn_cut(conn);
    }
}

static void on_drain_end(struct timer *timer)
{
    struct server *server = H2O_STRUCT_FROM_MEMBER(struct server, drain_end, timer);
    cut_all(server);
    timer_start(server->loop, timer, CUT_AGAIN_MS);
}

void server_drain(struct server *server, uint32_t ms, void (*done)(void *arg), void *arg)
{
    CHECK(!server->draining);
    server->draining = true;
    server->done = done;
    server->done_arg = arg;
    server->context.shutdown_requested = 1; /* HTTP/1.1 answers say close */
    server->done_timer.fire = on_done;
    server->drain_end.fire = on_drain_end;
    stop_accepting(server);
    for (struct conn *conn = server->conns; conn != NULL; conn = conn->next) {
        conn_leave(conn);
        timer_start(server->loop, &conn->tick, 50);
    }
    timer_start(server->loop, &server->drain_end, ms);
    if (server->conns == NULL)
        timer_start(server->loop, &server->done_timer, 0);
}

void server_free(struct server *server)
{
    if (server == NULL)
        return;
    stop_accepting(server);
    timer_stop(&server->drain_end);
    timer_stop(&server->done_timer);
    if (server->conns == NULL) {
        destroy(server);
        return;
    }
    server->freeing = true;
    server->done_timer.fire = on_done;
    server->drain_end.fire = on_drain_end;
    cut_all(server);
    timer_start(server->loop, &server->drain_end, CUT_AGAIN_MS);
}
