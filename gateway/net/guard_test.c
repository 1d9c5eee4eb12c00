/*
 * guard_test.c: the start-up proof that the guard is linked in and being called.
 *
 * Three attacks over a socketpair against a server of this process, without TLS: a header bomb, a
 * flood of cancelled requests, and an HTTP/1 request with two lengths. Each is refused only if the
 * library reached the guard's definition instead of its own. It takes some tens of milliseconds.
 */
#include "net/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS_MAX = 200, REQUESTS = 400, CANCEL_MAX = 50, ANSWER_MAX = 4096 };

struct trial {
    struct loop *loop;
    struct server *server;
    unsigned handled;   /* requests that reached the handler */
    int last_condemned; /* status of the last one */
    char answer[ANSWER_MAX];
    size_t answer_len;
    bool closed;
};

static void on_request(struct exchange *ex, void *arg)
{
    struct trial *trial = arg;
    const int condemned = exchange_request(ex)->condemned.http_status;
    trial->handled++;
    trial->last_condemned = condemned;
    exchange_send(ex, condemned != 0 ? condemned : 200, (struct str){ 0 }, (struct str){ 0 });
}

static const struct server_limits limits = {
    .body_max = 1024,
    .body_in_flight_conn_max = 4096,
    .body_in_flight_max = 1 << 30,
    .answers_in_flight_conn_max = 1 << 30,
    .headers_max = 20,
    .header_bytes_max = 4096,
    .connections_max = 16,
    .header_timeout_ms = 1000,
    .body_timeout_ms = 1000,
    .idle_timeout_ms = 1000,
    .write_stall_ms = 1000,
    .body_min_rate = 1,
    .connection_age_ms = 60000,
    .cancel_max = CANCEL_MAX,
    .control_max = 1000000, /* so that the budget of cancelled requests is what closes */
};

/* Sends what fits and turns the loop until the server has closed or nothing moves any more. */
static void attack(struct trial *trial, enum conn_protocol protocol, const void *bytes, size_t len)
{
    int ends[2];
    const char *p = bytes;
    trial->answer_len = 0;
    trial->handled = 0;
    trial->closed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0;
    if (trial->closed)
        return;
    server_adopt(trial->server, ends[0], protocol);
    for (int turn = 0; turn < TURNS_MAX && !trial->closed; turn++) {
        const ssize_t sent = len != 0 ? send(ends[1], p, len, MSG_NOSIGNAL) : 0;
        if (sent > 0) {
            p += sent;
            len -= (size_t)sent;
        }
        loop_once(trial->loop, 1);
        char *into = trial->answer + trial->answer_len;
        const size_t room = sizeof(trial->answer) - trial->answer_len;
        const ssize_t got = room != 0 ? recv(ends[1], into, room, 0) : -1;
        if (got > 0)
            trial->answer_len += (size_t)got;
        else
            trial->closed = room == 0 || got == 0 || errno == ECONNRESET;
    }
    close(ends[1]);
}

static const char preface[] =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"; /* and SETTINGS */

static size_t put_frame(uint8_t *out, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
    const uint8_t head[9] = { (uint8_t)(len >> 16),
                              (uint8_t)(len >> 8),
                              (uint8_t)len,
                              type,
                              flags,
                              (uint8_t)(stream >> 24),
                              (uint8_t)(stream >> 16),
                              (uint8_t)(stream >> 8),
                              (uint8_t)stream };
    memcpy(out, head, sizeof(head));
    return sizeof(head);
}

static bool survives_header_bomb(struct trial *trial)
{
    uint8_t bytes[8192];
    const size_t fields = 4096;
    size_t len = sizeof(preface) - 1;
    memcpy(bytes, preface, len);
    len += put_frame(bytes + len, fields, 1, 5, 1); /* HEADERS, ended */
    memset(bytes + len, 0x82, fields);              /* indexed: :method GET, 4,096 times */
    attack(trial, PROTOCOL_HTTP2, bytes, len + fields);
    return trial->closed && trial->handled == 0 &&
           memmem(trial->answer, trial->answer_len, "too many header fields", 22) != NULL;
}

static bool survives_rapid_reset(struct trial *trial)
{
    static uint8_t bytes[64 + REQUESTS * 32];
    size_t len = sizeof(preface) - 1;
    memcpy(bytes, preface, len);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        const uint32_t stream = 2 * i + 1;
        len += put_frame(bytes + len, 3, 1, 4, stream); /* HEADERS, body to come */
        memcpy(bytes + len, "\x83\x84\x87", 3);         /* POST / https */
        len += 3;
        len += put_frame(bytes + len, 4, 3, 0, stream); /* RST_STREAM */
        memcpy(bytes + len, "\0\0\0\x08", 4);
        len += 4;
    }
    attack(trial, PROTOCOL_HTTP2, bytes, len);
    return trial->closed &&
           memmem(trial->answer, trial->answer_len, "too many cancelled requests", 27) != NULL;
}

static bool survives_two_lengths(struct trial *trial)
{
    static const char bytes[] =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
        "Content-Length: 27\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    attack(trial, PROTOCOL_HTTP1, bytes, sizeof(bytes) - 1);
    return trial->closed && trial->handled == 1 && trial->last_condemned == 400;
}

static maas_status run_trials(struct trial *trial, maas_error *error)
{
    if (!survives_header_bomb(trial))
        return fail(error, MAAS_E_INTERNAL, "the guard does not stop a header bomb");
    if (!survives_rapid_reset(trial))
        return fail(error, MAAS_E_INTERNAL, "the guard does not stop cancelled requests");
    if (!survives_two_lengths(trial))
        return fail(error, MAAS_E_INTERNAL, "the guard does not stop two Content-Length fields");
    return MAAS_OK;
}

maas_status guard_self_test(maas_error *error)
{
    static struct trial trial; /* too large for a stack; the test runs once, at start */
    memset(&trial, 0, sizeof(trial));
    const maas_status made = loop_new(0, &trial.loop, error);
    if (made != MAAS_OK)
        return made;
    trial.server = server_new(trial.loop, &limits, on_request, &trial);
    const maas_status status = run_trials(&trial, error);
    server_free(trial.server);
    for (int turn = 0; turn < 5; turn++)
        loop_once(trial.loop, 5); /* what was cut goes */
    loop_free(trial.loop);
    return status;
}
