/*
 * guarded_server.c: a small real TLS server on gateway/net: the target of the attack tests, and the
 * shortest example of how the layer is used.
 *
 *     guarded_server CERT KEY [limit=value ...]
 *
 * Listens on 127.0.0.1 at a port of the kernel's choice, prints "port N", reloads the certificate
 * on SIGHUP, drains and ends on SIGTERM. Answers:
 *
 *     /echo        the request's body
 *     /big?N       N bytes
 *     /slow?MS     after MS milliseconds
 *     /late?N      N bytes, but not at once
 *     /counts      counters as JSON (not counted itself)
 *     /find?NAME   the request header NAME
 *     else         "ok"
 *
 * A condemned request gets its status and {"error": code}, one whose body was withheld 401.
 *
 * The gate does as the header x-gate says: "open" (or none), "shut", "never" (it does not get to
 * know), "later-open" and "later-shut" (when asked for the fifth time).
 */
#include "base/base.h"
#include "net/server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DRAIN_MS = 1000, BIG_MAX = 64 * 1024 * 1024 };

static struct {
    struct loop *loop;
    struct server *server;
    struct tls *tls;
    struct watch *signals;
    int signal_fd;
    uint64_t seen;  /* requests the handler saw, /counts left out */
    uint64_t gone;  /* clients that left before their answer */
    uint64_t asked; /* the gate */
    char *big;
} self;

static const struct str TEXT_TYPE = { "text/plain", 10 };
static const struct str JSON_TYPE = { "application/json", 16 };

/* ---- routes */

struct slow {
    struct timer timer;
    struct exchange *ex;
    size_t bytes; /* 0: "slow" */
};

static void on_slow_done(struct timer *timer)
{
    struct slow *slow = (struct slow *)(void *)((char *)timer - offsetof(struct slow, timer));
    exchange_send(slow->ex, 200, TEXT_TYPE,
                  slow->bytes != 0 ? (struct str){ self.big, slow->bytes } : STR("slow"));
}

static void on_gone(void *user)
{
    self.gone++;
    timer_stop(&((struct slow *)user)->timer);
}

static void answer_slow(struct exchange *ex, uint64_t ms, size_t bytes)
{
    struct slow *slow = exchange_alloc(ex, sizeof(*slow));
    slow->ex = ex;
    slow->bytes = bytes;
    slow->timer.fire = on_slow_done;
    exchange_bind(ex, slow, on_gone);
    timer_start(exchange_loop(ex), &slow->timer, ms);
}

static void answer_counts(struct exchange *ex)
{
    struct server_counts c;
    char text[512];
    server_counts(&c);
    const int len = snprintf(
        text, sizeof(text),
        "{\"seen\": %" PRIu64 ", \"gone\": %" PRIu64 ", \"connections\": %" PRIu64
        ", \"open\": %" PRIu64 ", \"cancel\": %" PRIu64 ", \"control\": %" PRIu64
        ", \"headers\": %" PRIu64 ", \"framing\": %" PRIu64 ", \"stall\": %" PRIu64
        ", \"body\": %" PRIu64 ", \"asked\": %" PRIu64 "}",
        self.seen, self.gone, c.connections_open, c.requests_open, c.closed_by_guard_cancel,
        c.closed_by_guard_control, c.closed_by_guard_headers, c.closed_by_guard_framing,
        c.closed_by_guard_stall, c.closed_by_guard_body, self.asked);
    exchange_send(ex, 200, JSON_TYPE, (struct str){ text, (size_t)len });
}

static void answer_condemned(struct exchange *ex, const struct condemned *why)
{
    char text[128];
    const int len = snprintf(text, sizeof(text), "{\"error\": \"%s\"}", why->code);
    exchange_send(ex, why->http_status, JSON_TYPE, (struct str){ text, (size_t)len });
}

static void on_request(struct exchange *ex, void *arg)
{
    (void)arg;
    const struct http_request *req = exchange_request(ex);
    char query[32] = "";
    if (req->query.len != 0 && req->query.len < sizeof(query))
        memcpy(query, req->query.data, req->query.len);
    const uint64_t number = strtoull(query, NULL, 10);
    if (str_eq(req->path, STR("/counts"))) {
        answer_counts(ex);
        return;
    }
    self.seen++;
    exchange_header(ex, STR("x-request-id"), STR("42"));
    if (req->condemned.http_status != 0)
        answer_condemned(ex, &req->condemned);
    else if (req->body_withheld)
        exchange_send(ex, 401, TEXT_TYPE, STR("withheld"));
    else if (str_eq(req->path, STR("/echo")))
        exchange_send(ex, 200, exchange_known(ex, HDR_CONTENT_TYPE), req->body);
    else if (str_eq(req->path, STR("/big")))
        exchange_send(ex, 200, TEXT_TYPE,
                      (struct str){ self.big, number < BIG_MAX ? number : BIG_MAX });
    else if (str_eq(req->path, STR("/slow")))
        answer_slow(ex, number, 0);
    else if (str_eq(req->path, STR("/late")))
        answer_slow(ex, 20, number < BIG_MAX ? number : BIG_MAX);
    else if (str_eq(req->path, STR("/find")))
        exchange_send(ex, 200, TEXT_TYPE, exchange_find(ex, req->query));
    else
        exchange_send(ex, 200, TEXT_TYPE, STR("ok"));
}

static enum gate_verdict on_gate(const struct http_head *head, void *arg)
{
    static unsigned times;
    (void)arg;
    const struct str way = head_find(head, STR("x-gate"));
    self.asked++;
    if (str_eq(way, STR("shut")))
        return GATE_SHUT;
    if (str_eq(way, STR("never")))
        return GATE_LATER;
    if (!str_prefix(way, STR("later")))
        return GATE_OPEN;
    if (++times % 5 != 0)
        return GATE_LATER;
    return str_eq(way, STR("later-open")) ? GATE_OPEN : GATE_SHUT;
}

/* ---- life */

static void on_drained(void *arg)
{
    (void)arg;
    loop_stop(self.loop);
}

static void on_signal(void *arg)
{
    (void)arg;
    struct signalfd_siginfo info;
    if (read(self.signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP) {
        (void)!tls_reload(self.tls, NULL); /* a bad file leaves the old certificate in place */
        return;
    }
    watch_want_read(self.signals, false);
    server_drain(self.server, DRAIN_MS, on_drained, NULL);
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&address, len) == 0);
    CHECK(listen(fd, 1024) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    printf("port %u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static const struct server_limits defaults = {
    .body_max = 8 << 20,
    .body_in_flight_conn_max = 32 << 20,
    .body_in_flight_max = 1 << 30,
    .answers_in_flight_conn_max = 32 << 20,
    .headers_max = 100,
    .header_bytes_max = 32768,
    .connections_max = 1000,
    .header_timeout_ms = 10000,
    .body_timeout_ms = 30000,
    .idle_timeout_ms = 60000,
    .write_stall_ms = 20000,
    .body_min_rate = 1024,
    .connection_age_ms = 3600000,
    .cancel_max = 100,
    .control_max = 1000,
};

static void set_limit(struct server_limits *limits, const char *setting)
{
#define LIMIT(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct server_limits, name), sizeof(limits->name)                          \
    }
    static const struct {
        const char *name;
        size_t offset, size;
    } table[] = {
        LIMIT(body_max),
        LIMIT(body_in_flight_conn_max),
        LIMIT(body_in_flight_max),
        LIMIT(headers_max),
        LIMIT(header_bytes_max),
        LIMIT(connections_max),
        LIMIT(header_timeout_ms),
        LIMIT(body_timeout_ms),
        LIMIT(idle_timeout_ms),
        LIMIT(write_stall_ms),
        LIMIT(body_min_rate),
        LIMIT(connection_age_ms),
        LIMIT(cancel_max),
        LIMIT(control_max),
        LIMIT(answers_in_flight_conn_max),
    };
#undef LIMIT
    const char *equals = strchr(setting, '=');
    CHECK(equals != NULL);
    const uint64_t value = strtoull(equals + 1, NULL, 10);
    const uint32_t narrow = (uint32_t)value;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strlen(table[i].name) != (size_t)(equals - setting) ||
            memcmp(table[i].name, setting, (size_t)(equals - setting)) != 0)
            continue;
        char *member = (char *)limits + table[i].offset;
        if (table[i].size == sizeof(value))
            memcpy(member, &value, sizeof(value));
        else
            memcpy(member, &narrow, sizeof(narrow));
        return;
    }
    fprintf(stderr, "no limit in '%s'\n", setting);
    exit(2);
}

static void must(maas_status status, const maas_error *error)
{
    if (status == MAAS_OK)
        return;
    fprintf(stderr, "guarded_server: %s\n", error->text);
    exit(1);
}

static void watch_signals(void)
{
    static const struct watch_ops ops = { .on_readable = on_signal };
    maas_error error = MAAS_ERROR_INIT;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    self.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    must(watch_new(self.loop, self.signal_fd, &ops, NULL, &self.signals, &error), &error);
    watch_want_read(self.signals, true);
}

int main(int argc, char **argv)
{
    maas_error error = MAAS_ERROR_INIT;
    struct server_limits limits = defaults;
    if (argc < 3) {
        fprintf(stderr, "usage: guarded_server CERT KEY [limit=value ...]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        set_limit(&limits, argv[i]);
    self.big = malloc(BIG_MAX); /* untouched pages: no memory until asked for */
    must(guard_self_test(&error), &error);
    must(loop_new(0, &self.loop, &error), &error);
    must(tls_new(argv[1], argv[2], "guarded", true, &self.tls, &error), &error);
    watch_signals();
    const int fd = listen_on_loopback();
    must(server_start(self.loop, fd, self.tls, &limits, on_request, NULL, &self.server, &error),
         &error);
    server_set_gate(self.server, on_gate);
    close(fd);
    loop_run(self.loop);
    server_free(self.server);
    watch_free(self.signals);
    close(self.signal_fd);
    tls_free(self.tls);
    loop_free(self.loop);
    free(self.big);
    return 0;
}
