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

/*
 * The gate's word on a body that is long or has no length. "Later" is a header that is not complete
 * yet, as far as the library knows; past what it takes for a header there is no later.
 */
static enum gate_verdict ask_gate(struct conn *conn, const struct framing *f,
                                  const struct http_head *head)
{
    if (!f->chunked && f->content_length <= BODY_UNASKED)
        return GATE_OPEN;
    const enum gate_verdict verdict = gate_ask(conn, head);
    if (verdict != GATE_LATER || conn->sock->input->size < H2O_MAX_REQLEN)
        return verdict;
    conn->gate_waits = false;
    return GATE_SHUT;
}

/* A complete header, read by the library: judge it. False: not now, the gate says later. */
static bool judge(struct conn *conn, const char *buf, int len, const struct http_head *head,
                  struct phr_header *headers, size_t *num_headers)
{
    const struct server_limits *limits = &conn->server->limits;
    const struct framing f =
        framing_check(buf, (size_t)len, limits->headers_max, limits->header_bytes_max);
    if (f.verdict != FRAMING_OK) {
        condemn_framing(conn, f.verdict);
        *num_headers = 0;
        return true;
    }
    trim_values(headers, *num_headers);
    const bool large = f.has_length && f.content_length > limits->body_max;
    const enum gate_verdict gate = large ? GATE_UNASKED : ask_gate(conn, &f, head);
    if (gate == GATE_LATER)
        return false;
    conn->h1_withheld = gate == GATE_SHUT;
    if (large)
        conn->h1_condemned = body_too_large;
    if (large || conn->h1_withheld) {
        hide_body_fields(headers, num_headers);
    } else if (f.chunked || f.content_length != 0) {
        conn->body_ns = loop_now_ns(conn->server->loop);
        conn->h1_header_bytes = (size_t)len;
    }
    return true;
}

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len)
{
    struct conn *conn = guard_current();
    if (conn == NULL || conn->sock->input->bytes != buf)
        return -1; /* not a request the guard knows of: fail closed */
    if (conn->gate_since_ns != 0)
        last_len = 0; /* the header was complete the last time: do not look for its end behind it */
    const int ret = guard_real.parse_request(buf, len, method, method_len, path, path_len,
                                             minor_version, headers, num_headers, last_len);
    const struct server_limits *limits = &conn->server->limits;
    if (ret > 0) {
        const struct http_head head =
            head_make(0x101, (struct str){ *method, *method_len }, (struct str){ *path, *path_len },
                      headers, *num_headers);
        conn->header_ns = 0;
        conn->greeted = true;
        return judge(conn, buf, ret, &head, headers, num_headers) ? ret : -2;
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
