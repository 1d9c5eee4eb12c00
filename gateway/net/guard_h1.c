/*
 * guard_h1.c: the guard's place at HTTP/1: framing before the library's parser has its say, and a
 * strict decoder of chunks instead of the library's.
 *
 * A bad request is not refused here but condemned: its framing fields are hidden from the library,
 * which then sees a request without a body and calls the handler; the handler answers in its
 * surface's format and the connection closes, so that nothing behind the header is ever read as a
 * request. Only what has no readable request line gets the library's own 400.
 */
#include "net/guard.h"

#include "net/framing.h"

#include <string.h>
#include <strings.h>

enum { REQUEST_LINE_MAX = 8192 };

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len);
ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *buf, size_t *bufsz);

void guard_h1_link(void)
{
}

static const struct condemned too_large_header = { 431, "header_too_large",
                                                   "The request header is too large." };

static bool is_name(const struct phr_header *h, const char *z)
{
    return h->name_len == strlen(z) && strncasecmp(h->name, z, h->name_len) == 0;
}

/* The library then takes the request for one without a body. */
static void hide_body_fields(struct phr_header *headers, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (is_name(&headers[i], "content-length") || is_name(&headers[i], "transfer-encoding") ||
            is_name(&headers[i], "expect"))
            continue;
        headers[kept++] = headers[i];
    }
    *count = kept;
}

/* White space behind a value is no part of it; the library leaves it on. */
static void trim_values(struct phr_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        while (headers[i].value_len != 0 && (headers[i].value[headers[i].value_len - 1] == ' ' ||
                                             headers[i].value[headers[i].value_len - 1] == '\t'))
            headers[i].value_len--;
}

static void note_closed(struct conn *conn, enum guard_reason reason)
{
    server_bump(&conn->server->cell.closed[reason], 1);
}

static void condemn_framing(struct conn *conn, enum framing_verdict verdict)
{
    const bool large = verdict == FRAMING_MANY || verdict == FRAMING_LARGE;
    note_closed(conn, large ? GUARD_HEADERS : GUARD_FRAMING);
    conn->h1_condemned =
        large ? too_large_header : (struct condemned){ 400, "bad_framing", framing_text(verdict) };
}

static const struct condemned body_too_large = { 413, "body_too_large",
                                                 "The request body is too large." };

/* A complete header, read by the library: judge it. */
static void judge(struct conn *conn, const char *buf, int len, struct phr_header *headers,
                  size_t *num_headers)
{
    const struct server_limits *limits = &conn->server->limits;
    const struct framing f =
        framing_check(buf, (size_t)len, limits->headers_max, limits->header_bytes_max);
    if (f.verdict != FRAMING_OK) {
        condemn_framing(conn, f.verdict);
        *num_headers = 0;
        return;
    }
    trim_values(headers, *num_headers);
    if (f.has_length && f.content_length > limits->body_max) {
        conn->h1_condemned = body_too_large;
        hide_body_fields(headers, num_headers);
    } else if (f.chunked || f.content_length != 0) {
        conn->body_ns = loop_now_ns(conn->server->loop);
        conn->h1_header_bytes = (size_t)len;
    }
}

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len)
{
    struct conn *conn = guard_current();
    const int ret = guard_real.parse_request(buf, len, method, method_len, path, path_len,
                                             minor_version, headers, num_headers, last_len);
    if (conn == NULL || conn->sock->input->bytes != buf)
        return -1; /* not a request the guard knows of: fail closed */
    const struct server_limits *limits = &conn->server->limits;
    if (ret > 0) {
        conn->header_ns = 0;
        conn->greeted = true;
        judge(conn, buf, ret, headers, num_headers);
        return ret;
    }
    const bool many =
        ret == -1 && framing_check(buf, len, limits->headers_max, SIZE_MAX).verdict == FRAMING_MANY;
    if (many || (ret == -2 && len > limits->header_bytes_max + REQUEST_LINE_MAX)) {
        /* No more of it will be read: a request is made up, for the handler to answer. */
        condemn_framing(conn, FRAMING_LARGE);
        conn->header_ns = 0;
        *method = *path = "/";
        *method_len = *path_len = 1;
        *minor_version = 1;
        *num_headers = 0;
        return (int)len;
    }
    if (ret == -1)
        note_closed(conn, GUARD_FRAMING);
    else if (conn->header_ns == 0)
        conn->header_ns = loop_now_ns(conn->server->loop);
    return ret;
}

ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *buf, size_t *bufsz)
{
    struct conn *conn = guard_current();
    ssize_t ret = chunked_decode(decoder, buf, bufsz);
    if (conn == NULL)
        return -1;
    const size_t total = (size_t)(buf + *bufsz - conn->sock->input->bytes) - conn->h1_header_bytes;
    if (ret == -1) {
        note_closed(conn, GUARD_FRAMING);
        conn->h1_condemned =
            (struct condemned){ 400, "bad_framing", "The chunked body is malformed." };
    } else if (total > conn->server->limits.body_max) {
        conn->h1_condemned = body_too_large;
    } else {
        return ret;
    }
    *bufsz = 0; /* for the library the body ends here; the handler sees none of it */
    return 0;
}
