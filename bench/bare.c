/*
 * bare.c: libh2o and nothing else, the ceiling that the gateway's cost is divided by.
 *
 * One event loop, TLS as the gateway's, one handler for one path. It reads the POST body (adds up
 * its bytes) and sends an answer that the bench captured from the gateway: same status, same
 * headers, same body. Headers whose value differed between two captures (x-request-id, timings) get
 * other digits on each request, so that HPACK does the same work for both servers.
 *
 * Rejected: libh2o's own standalone server (other TLS settings, access log, its configurator) and a
 * constant answer of 200 with a few bytes (cheaper headers would flatter the ceiling).
 *
 * usage: maas-bench-bare PORT CERT KEY PATH ANSWER
 *
 * The answer file: the status, then a header a line ("~" in front: varies), an empty line, the
 * body.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { HEADERS_MAX = 32, ANSWER_MAX = 1 << 20 };

struct header {
    h2o_iovec_t name, value;
    const h2o_token_t *token; /* NULL: not one of the library's */
    bool varies;
};

static struct {
    int status;
    struct header headers[HEADERS_MAX];
    size_t header_count;
    h2o_iovec_t body;
} answer;

static struct {
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    uint64_t requests;
    volatile uint8_t body_sum; /* so that reading the body is not optimised away */
} server;

static void die(const char *what)
{
    fprintf(stderr, "bare: %s\n", what);
    exit(1);
}

/* The digits of `n` over the last digits of the text: same length, other bytes on each request. */
static void vary(char *text, size_t len, uint64_t n)
{
    for (int digits = 0; len > 0 && digits < 9; len--) {
        char *c = &text[len - 1];
        if (*c < '0' || *c > '9')
            continue;
        *c = (char)('0' + n % 10);
        n /= 10;
        digits++;
    }
}

static void add_header(h2o_req_t *req, const struct header *h)
{
    h2o_iovec_t value = h->value;
    if (h->varies) {
        value = h2o_strdup(&req->pool, value.base, value.len);
        vary(value.base, value.len, server.requests);
    }
    if (h->token)
        h2o_add_header(&req->pool, &req->res.headers, h->token, NULL, value.base, value.len);
    else
        h2o_add_header_by_str(&req->pool, &req->res.headers, h->name.base, h->name.len, 0, NULL,
                              value.base, value.len);
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    (void)self;
    server.requests++;
    uint8_t sum = 0;
    for (size_t i = 0; i < req->entity.len; i++)
        sum = (uint8_t)(sum + (uint8_t)req->entity.base[i]);
    server.body_sum = sum;
    req->res.status = answer.status;
    req->res.reason = "OK";
    req->res.content_length = answer.body.len;
    for (size_t i = 0; i < answer.header_count; i++)
        add_header(req, &answer.headers[i]);
    h2o_send_inline(req, answer.body.base, answer.body.len);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    if (error)
        return;
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
    if (sock)
        h2o_accept(&server.accept, sock);
}

static void read_header(char *line)
{
    char *colon = strstr(line, ": ");
    if (!colon || answer.header_count == HEADERS_MAX)
        die("a header of the answer file is not \"name: value\", or there are too many");
    *colon = '\0';
    struct header *h = &answer.headers[answer.header_count++];
    h->varies = line[0] == '~';
    char *name = line + h->varies;
    h->name = h2o_iovec_init(name, strlen(name));
    h->value = h2o_iovec_init(colon + 2, strlen(colon + 2));
    h->token = h2o_lookup_token(h->name.base, h->name.len);
}

static void read_answer(const char *path)
{
    static char text[ANSWER_MAX];
    FILE *file = fopen(path, "rb");
    if (!file)
        die("cannot open the answer file");
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    char *line = text, *end;
    answer.status = (int)strtol(text, NULL, 10);
    while ((end = memchr(line, '\n', len - (size_t)(line - text)))) {
        *end = '\0';
        if (end == line)
            break;
        if (line != text)
            read_header(line);
        line = end + 1;
    }
    if (!end || answer.status < 200)
        die("the answer file has no status or no empty line");
    answer.body = h2o_iovec_init(end + 1, len - (size_t)(end + 1 - text));
}

static SSL_CTX *tls_context(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
        SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        die("cannot load the certificate");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1); /* as the gateway */
    h2o_ssl_register_alpn_protocols(ctx, h2o_alpn_protocols);
    return ctx;
}

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1024) != 0)
        die("cannot listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage: maas-bench-bare PORT CERT KEY PATH ANSWER");
    read_answer(argv[5]);
    h2o_config_init(&server.config);
    server.config.server_name = h2o_iovec_init(H2O_STRLIT("maas"));
    server.config.http1.upgrade_to_http2 = 0;
    h2o_hostconf_t *host =
        h2o_config_register_host(&server.config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, argv[4], 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_context_init(&server.context, h2o_evloop_create(), &server.config);
    server.accept = (h2o_accept_ctx_t){ .ctx = &server.context,
                                        .hosts = server.config.hosts,
                                        .ssl_ctx = tls_context(argv[2], argv[3]) };
    int fd = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    h2o_socket_t *listener =
        h2o_evloop_socket_create(server.context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    for (;;) /* ends by a signal; the run returns at each interruption */
        h2o_evloop_run(server.context.loop, INT32_MAX);
}
