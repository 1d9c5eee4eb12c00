/*
 * framing.c: the strict reading of an HTTP/1 header, line by line.
 *
 * It runs before the library's lenient parser and never replaces it: a header that passes here is
 * read by the library without a choice left to it. One pass, no allocation; about a fifth of a
 * microsecond for a usual request.
 */
#include "net/framing.h"

#include <string.h>
#include <strings.h>

enum { TOKEN = 1 /* tchar of RFC 9110 */, CLEAN = 2 /* no control character but HTAB */ };

#define T (TOKEN | CLEAN)
#define C CLEAN
static const uint8_t classes[256] = {
    ['\t'] = C, [' '] = C,           ['!'] = T,         ['"'] = C,  ['#'] = T, ['$'] = T,
    ['%'] = T,  ['&'] = T,           ['\''] = T,        ['('] = C,  [')'] = C, ['*'] = T,
    ['+'] = T,  [','] = C,           ['-'] = T,         ['.'] = T,  ['/'] = C, ['0' ... '9'] = T,
    [':'] = C,  [';'] = C,           ['<'] = C,         ['='] = C,  ['>'] = C, ['?'] = C,
    ['@'] = C,  ['A' ... 'Z'] = T,   ['['] = C,         ['\\'] = C, [']'] = C, ['^'] = T,
    ['_'] = T,  ['`'] = T,           ['a' ... 'z'] = T, ['{'] = C,  ['|'] = T, ['}'] = C,
    ['~'] = T,  [0x80 ... 0xff] = C,
};
#undef T
#undef C

static bool all_are(uint8_t class, struct str s)
{
    uint8_t all = class;
    for (size_t i = 0; i < s.len; i++)
        all &= classes[(unsigned char)s.data[i]];
    return all == class;
}

static bool is_token(struct str s)
{
    return s.len != 0 && all_are(TOKEN, s);
}

static bool is_clean(struct str s)
{
    return all_are(CLEAN, s);
}

static bool is_name(struct str name, const char *z)
{
    return name.len == strlen(z) && strncasecmp(name.data, z, name.len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct str trim(struct str s)
{
    while (s.len != 0 && is_space(s.data[0]))
        s = (struct str){ s.data + 1, s.len - 1 };
    while (s.len != 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

static bool parse_length(struct str s, uint64_t *out)
{
    uint64_t value = 0;
    if (s.len == 0 || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = value;
    return true;
}

/* The authority's characters: no user information, path or list can hide in it. */
static bool is_host(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] <= ' ' || strchr("@/\\,?#\"<>^`{}|\x7f", s.data[i]) != NULL)
            return false;
    return true;
}

static enum framing_verdict check_request_line(struct str line, bool *out_old)
{
    const char *end = line.data + line.len;
    const char *first = memchr(line.data, ' ', line.len);
    if (first == NULL || !is_token((struct str){ line.data, (size_t)(first - line.data) }))
        return FRAMING_LINE;
    const char *target = first + 1;
    const char *second = memchr(target, ' ', (size_t)(end - target));
    if (second == NULL || second == target)
        return FRAMING_LINE;
    const struct str version = { second + 1, (size_t)(end - second - 1) };
    if (!is_clean((struct str){ target, (size_t)(second - target) }) ||
        memchr(target, '\t', (size_t)(second - target)) != NULL)
        return FRAMING_LINE;
    *out_old = str_eq(version, STR("HTTP/1.0"));
    return *out_old || str_eq(version, STR("HTTP/1.1")) ? FRAMING_OK : FRAMING_LINE;
}

struct scan {
    struct framing f;
    bool old; /* HTTP/1.0 */
    unsigned hosts;
};

static enum framing_verdict check_field(struct scan *scan, struct str line)
{
    if (is_space(line.data[0]))
        return FRAMING_FOLD;
    const char *colon = memchr(line.data, ':', line.len);
    if (colon == NULL)
        return FRAMING_FIELD;
    const struct str name = { line.data, (size_t)(colon - line.data) };
    const struct str value =
        trim((struct str){ colon + 1, (size_t)(line.data + line.len - colon - 1) });
    if (!is_token(name) || !is_clean(value))
        return FRAMING_FIELD;
    if (is_name(name, "content-length")) {
        if (scan->f.has_length || !parse_length(value, &scan->f.content_length))
            return FRAMING_LENGTH;
        scan->f.has_length = true;
    } else if (is_name(name, "transfer-encoding")) {
        if (scan->f.chunked || scan->old || !is_name(value, "chunked"))
            return FRAMING_ENCODING;
        scan->f.chunked = true;
    } else if (is_name(name, "host")) {
        if (scan->hosts++ != 0 || !is_host(value))
            return FRAMING_HOST;
    }
    return FRAMING_OK;
}

/* The next line without its CRLF; `*p` moves behind it. */
static enum framing_verdict next_line(const char **p, const char *end, struct str *out)
{
    const char *lf = memchr(*p, '\n', (size_t)(end - *p));
    if (lf == NULL)
        return FRAMING_INCOMPLETE;
    if (lf == *p || lf[-1] != '\r')
        return FRAMING_BARE_LF;
    *out = (struct str){ *p, (size_t)(lf - 1 - *p) };
    *p = lf + 1;
    return memchr(out->data, '\r', out->len) == NULL && memchr(out->data, '\0', out->len) == NULL
               ? FRAMING_OK
               : FRAMING_BARE_LF;
}

static enum framing_verdict check_whole(struct scan *scan)
{
    if (scan->f.has_length && scan->f.chunked)
        return FRAMING_BOTH;
    if (scan->hosts == 0 && !scan->old)
        return FRAMING_HOST;
    return FRAMING_OK;
}

static enum framing_verdict scan_fields(struct scan *scan, const char *p, const char *end,
                                        uint32_t fields_max)
{
    for (;;) {
        struct str line;
        enum framing_verdict v = next_line(&p, end, &line);
        if (v != FRAMING_OK)
            return v;
        if (line.len == 0)
            return check_whole(scan);
        if (++scan->f.fields > fields_max)
            return FRAMING_MANY;
        if ((v = check_field(scan, line)) != FRAMING_OK)
            return v;
    }
}

struct framing framing_check(const char *head, size_t len, uint32_t fields_max, size_t bytes_max)
{
    struct scan scan = { .f = { .verdict = FRAMING_OK } };
    const char *p = head, *end = head + len;
    struct str line = { 0 };
    if (len >= 2 && memcmp(p, "\r\n", 2) == 0)
        p += 2; /* RFC 9112 section 2.2: one empty line before a request is ignored */
    scan.f.verdict = next_line(&p, end, &line);
    if (scan.f.verdict == FRAMING_OK)
        scan.f.verdict = check_request_line(line, &scan.old);
    if (scan.f.verdict == FRAMING_OK)
        scan.f.verdict = scan_fields(&scan, p, end, fields_max);
    if (scan.f.verdict == FRAMING_OK && len > bytes_max)
        scan.f.verdict = FRAMING_LARGE;
    return scan.f;
}

const char *framing_text(enum framing_verdict verdict)
{
    static const char *const texts[] = {
        [FRAMING_OK] = "The request is well formed.",
        [FRAMING_BARE_LF] = "Lines of the request header must end in CRLF.",
        [FRAMING_LINE] = "The request line is malformed.",
        [FRAMING_FOLD] = "Folded header lines are not accepted.",
        [FRAMING_FIELD] = "A header field is malformed.",
        [FRAMING_LENGTH] = "Content-Length must be given once, as one number.",
        [FRAMING_ENCODING] = "Transfer-Encoding must be given once, as chunked.",
        [FRAMING_BOTH] = "Content-Length and Transfer-Encoding exclude each other.",
        [FRAMING_HOST] = "Exactly one valid Host field is needed.",
        [FRAMING_MANY] = "The request has too many header fields.",
        [FRAMING_LARGE] = "The request header is too large.",
        [FRAMING_INCOMPLETE] = "The request header is incomplete.",
    };
    return texts[verdict];
}
