/*
 * keys.c: a load generator in which each request carries another key, at a steady rate.
 *
 * h2load and wrk send the same headers again and again; the limits' cost at Redis shows only with
 * many keys. This one speaks just enough HTTP/2: frames are written by hand, header blocks are
 * literals without indexing, and of an answer only the first byte of its header block is looked at
 * (0x88 is ":status 200" in HPACK's static table, anything else a refusal). One thread, one epoll;
 * requests are due by the clock, spread over the connections; what finds no free stream is late and
 * counted, not piled up.
 *
 * usage: maas-bench-keys PORT PATH BODY_FILE KEYS_FILE REQUESTS_PER_S SECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

enum { CONNECTIONS = 16, STREAMS_MAX = 90, OUT_MAX = 1 << 18, IN_MAX = 1 << 15 };
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, FRAME_HEAD = 9 };

struct conn {
    int fd;
    SSL *ssl;
    uint32_t next_stream, in_flight;
    int64_t window;    /* what we may send on the connection */
    uint64_t received; /* since our last WINDOW_UPDATE */
    uint8_t out[OUT_MAX], in[IN_MAX + FRAME_HEAD];
    size_t out_len, in_len;
    bool wants_write;
};

static struct {
    const char *path, *authority;
    uint8_t *body;
    size_t body_len;
    char **keys;
    size_t key_count, next_key;
    uint64_t sent, ok, refused, failed, late;
    struct conn conns[CONNECTIONS];
    int epoll;
} g;

static void die(const char *what)
{
    fprintf(stderr, "keys: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint8_t *put_frame(uint8_t *p, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
    const uint8_t head[FRAME_HEAD] = { (uint8_t)(len >> 16),
                                       (uint8_t)(len >> 8),
                                       (uint8_t)len,
                                       type,
                                       flags,
                                       (uint8_t)(stream >> 24),
                                       (uint8_t)(stream >> 16),
                                       (uint8_t)(stream >> 8),
                                       (uint8_t)stream };
    memcpy(p, head, sizeof(head));
    return p + sizeof(head);
}

/* A value of at most 126 bytes, not Huffman coded. */
static uint8_t *put_value(uint8_t *p, const char *prefix, const char *value)
{
    size_t a = strlen(prefix), b = strlen(value);
    if (a + b > 126)
        die("a header value is too long");
    *p++ = (uint8_t)(a + b);
    memcpy(p, prefix, a);
    memcpy(p + a, value, b);
    return p + a + b;
}

static void queue_request(struct conn *c)
{
    uint8_t block[512], *p = block;
    *p++ = 0x83; /* :method POST */
    *p++ = 0x87; /* :scheme https */
    *p++ = 0x04; /* :path */
    p = put_value(p, "", g.path);
    *p++ = 0x01; /* :authority */
    p = put_value(p, "", g.authority);
    *p++ = 0x0f, *p++ = 0x10; /* content-type */
    p = put_value(p, "", "application/json");
    *p++ = 0x1f, *p++ = 0x08; /* authorization, never indexed */
    p = put_value(p, "Bearer ", g.keys[g.next_key]);
    g.next_key = (g.next_key + 1) % g.key_count;

    size_t len = (size_t)(p - block);
    uint8_t *out = put_frame(c->out + c->out_len, len, HEADERS, END_HEADERS, c->next_stream);
    memcpy(out, block, len);
    out = put_frame(out + len, g.body_len, DATA, END_STREAM, c->next_stream);
    memcpy(out, g.body, g.body_len);
    c->out_len = (size_t)(out + g.body_len - c->out);
    c->next_stream += 2;
    c->in_flight++;
    c->window -= (int64_t)g.body_len;
    g.sent++;
}

static bool has_room(const struct conn *c)
{
    return c->in_flight < STREAMS_MAX && c->window >= (int64_t)g.body_len &&
           OUT_MAX - c->out_len > g.body_len + 1024;
}

static void queue_control(struct conn *c, uint8_t type, uint8_t flags, const void *data, size_t len)
{
    if (OUT_MAX - c->out_len < len + FRAME_HEAD)
        die("the server sends more control frames than it reads answers to");
    uint8_t *p = put_frame(c->out + c->out_len, len, type, flags, 0);
    memcpy(p, data, len);
    c->out_len += len + FRAME_HEAD;
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void end_stream(struct conn *c)
{
    c->in_flight--;
}

static void on_data(struct conn *c, size_t len, uint8_t flags)
{
    c->received += len;
    if (c->received > 1 << 20) { /* the window was opened to its limit at the start */
        const uint8_t step[4] = { (uint8_t)(c->received >> 24), (uint8_t)(c->received >> 16),
                                  (uint8_t)(c->received >> 8), (uint8_t)c->received };
        queue_control(c, UPDATE, 0, step, sizeof(step));
        c->received = 0;
    }
    if (flags & END_STREAM)
        end_stream(c);
}

static void on_frame(struct conn *c, const uint8_t *head, const uint8_t *payload, size_t len)
{
    uint8_t type = head[3], flags = head[4];
    uint32_t stream = read_u32(head + 5) & 0x7fffffff;
    if (type == HEADERS) {
        /* The library may first tell a new size of its table (001xxxxx). */
        size_t at = len > 1 && (payload[0] & 0xe0) == 0x20 ? 1 : 0;
        *(len > at && payload[at] == 0x88 ? &g.ok : &g.refused) += 1;
        if (flags & END_STREAM)
            end_stream(c);
    } else if (type == DATA) {
        on_data(c, len, flags);
    } else if (type == RST_STREAM) {
        g.failed++;
        end_stream(c);
    } else if (type == SETTINGS && !(flags & ACK)) {
        queue_control(c, SETTINGS, ACK, "", 0);
    } else if (type == PING && !(flags & ACK)) {
        queue_control(c, PING, ACK, payload, len);
    } else if (type == UPDATE && stream == 0 && len == 4) {
        c->window += read_u32(payload) & 0x7fffffff;
    } else if (type == GOAWAY) {
        die("the server closed a connection (GOAWAY)");
    }
}

static void parse(struct conn *c)
{
    size_t at = 0;
    while (c->in_len - at >= FRAME_HEAD) {
        const uint8_t *head = c->in + at;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (len > IN_MAX)
            die("a frame is larger than was offered");
        if (c->in_len - at < FRAME_HEAD + len)
            break;
        on_frame(c, head, head + FRAME_HEAD, len);
        at += FRAME_HEAD + len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void receive(struct conn *c)
{
    for (;;) {
        int n = SSL_read(c->ssl, c->in + c->in_len, (int)(sizeof(c->in) - c->in_len));
        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
                die("the server closed a connection");
            return;
        }
        c->in_len += (size_t)n;
        parse(c);
    }
}

static void transmit(struct conn *c)
{
    size_t done = 0;
    while (done < c->out_len) {
        int n = SSL_write(c->ssl, c->out + done, (int)(c->out_len - done));
        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_WRITE)
                die("cannot write");
            break;
        }
        done += (size_t)n;
    }
    memmove(c->out, c->out + done, c->out_len - done);
    c->out_len -= done;
    if (c->wants_write != (c->out_len > 0)) {
        c->wants_write = c->out_len > 0;
        struct epoll_event ev = { .events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0u),
                                  .data.ptr = c };
        epoll_ctl(g.epoll, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

static void open_conn(struct conn *c, SSL_CTX *ctx, uint16_t port)
{
    int on = 1;
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1)
        die("the TLS handshake failed");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->next_stream = 1;
    c->window = 65535;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    memcpy(c->out, preface, sizeof(preface) - 1);
    c->out_len = sizeof(preface) - 1;
    queue_control(c, SETTINGS, 0, "", 0);
    queue_control(c, UPDATE, 0, "\x7f\xff\x00\x00", 4);
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(g.epoll, EPOLL_CTL_ADD, c->fd, &ev);
    transmit(c);
}

static void turn(int wait_ms)
{
    struct epoll_event events[CONNECTIONS];
    int n = epoll_wait(g.epoll, events, CONNECTIONS, wait_ms);
    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (g.conns[i].out_len > 0)
            transmit(&g.conns[i]);
}

static void send_due(uint64_t due)
{
    static size_t at;
    for (; due > 0; due--) {
        size_t tried = 0;
        while (tried < CONNECTIONS && !has_room(&g.conns[at % CONNECTIONS]))
            at++, tried++;
        if (tried == CONNECTIONS) {
            g.late += due;
            return;
        }
        queue_request(&g.conns[at++ % CONNECTIONS]);
    }
}

/* At `rate` for `seconds`, then until nothing is in flight (10 s at most). The real seconds come
 * back. */
static double drive(uint64_t rate, uint64_t seconds)
{
    uint64_t began = now_ns(), end = began + seconds * 1000000000u, now = began, asked = 0;
    for (; now < end; now = now_ns()) {
        uint64_t due = (uint64_t)((double)(now - began) / 1e9 * (double)rate) - asked;
        asked += due;
        send_due(due);
        turn(1);
    }
    while (g.ok + g.refused + g.failed < g.sent && now_ns() < end + 10000000000u)
        turn(10);
    return (double)(now - began) / 1e9;
}

static char *read_all(const char *path, size_t *out_len)
{
    static const size_t most = 1 << 20;
    FILE *file = fopen(path, "rb");
    char *text = malloc(most + 1);
    if (!file || !text)
        die("cannot read the body or the keys");
    *out_len = fread(text, 1, most, file);
    text[*out_len] = '\0';
    fclose(file);
    return text;
}

static void read_keys(const char *path)
{
    size_t len;
    char *text = read_all(path, &len), *save;
    g.keys = calloc(len / 8 + 1, sizeof(*g.keys));
    if (!g.keys)
        die("no memory");
    for (char *key = strtok_r(text, "\n", &save); key; key = strtok_r(NULL, "\n", &save))
        g.keys[g.key_count++] = key;
    if (g.key_count == 0)
        die("the file of keys is empty");
}

int main(int argc, char **argv)
{
    if (argc != 7)
        die("usage: maas-bench-keys PORT PATH BODY_FILE KEYS_FILE REQUESTS_PER_S SECONDS");
    signal(SIGPIPE, SIG_IGN);
    g.path = argv[2];
    g.authority = "localhost";
    g.body = (uint8_t *)read_all(argv[3], &g.body_len);
    if (g.body_len > 16384)
        die("the body does not fit one frame");
    read_keys(argv[4]);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\x02h2", 3);
    g.epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < CONNECTIONS; i++)
        open_conn(&g.conns[i], ctx, (uint16_t)strtoul(argv[1], NULL, 10));
    turn(100);
    double seconds = drive(strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10));
    printf("ok=%" PRIu64 " refused=%" PRIu64 " failed=%" PRIu64 " late=%" PRIu64 " rate=%.1f\n",
           g.ok, g.refused, g.failed, g.late, (double)(g.ok + g.refused) / seconds);
    return 0;
}
