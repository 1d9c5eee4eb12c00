/*
 * buf.c: a bounded byte buffer and JSON strings. Doubles its memory up to the cap; the first
 * refusal sticks. Strings are copied in runs: only what needs an escape ends a run.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ .max = b->max };
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

static bool buf_room(struct buf *b, size_t more)
{
    if (b->failed || more > b->max - b->len)
        return !(b->failed = true);
    if (b->len + more <= b->size)
        return true;
    size_t size = b->size ? b->size : 256;
    while (size < b->len + more)
        size = size > SIZE_MAX / 2 ? b->max : size * 2;
    if (size > b->max)
        size = b->max;
    char *data = size < SIZE_MAX ? realloc(b->data, size + 1) : NULL;
    if (!data)
        return !(b->failed = true);
    b->data = data;
    b->size = size;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    bool fits = !b->failed && len <= b->size - b->len; /* nearly always */
    if (len == 0 || (!fits && !buf_room(b, len)))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

char *buf_space(struct buf *b, size_t len)
{
    if (b->failed || len > b->max - b->len || !buf_room(b, len))
        return NULL;
    return b->data + b->len;
}

void buf_take(struct buf *b, size_t len)
{
    b->len += len;
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.data, s.len);
}

char *text_uint(char *at, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char digits[TEXT_UINT_MAX], *first = digits + sizeof(digits);
    while (value >= 100) {
        first -= 2;
        memcpy(first, &pairs[value % 100 * 2], 2);
        value /= 100;
    }
    if (value >= 10) {
        first -= 2;
        memcpy(first, &pairs[value * 2], 2);
    } else {
        *--first = (char)('0' + value);
    }
    size_t len = (size_t)(digits + sizeof(digits) - first);
    memcpy(at, first, len);
    return at + len;
}

void buf_uint(struct buf *b, uint64_t n)
{
    char digits[TEXT_UINT_MAX];
    buf_add(b, digits, (size_t)(text_uint(digits, n) - digits));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (n < 0)
        b->failed = true;
    else if ((size_t)n < sizeof(small))
        buf_add(b, small, (size_t)n);
    else if (buf_room(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

/* The length of the well-formed UTF-8 sequence at `s`, 0 when there is none (overlong, surrogate,
 * cut). */
static size_t utf8_length(const uint8_t *s, size_t left)
{
    uint8_t c = s[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
        (c == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#define EACH(byte) (0x0101010101010101u * (byte))

/* The high bit of each byte that is zero, and perhaps of one behind such a byte: enough to see
 * whether there is one. Source: Mycroft, 1987. */
static uint64_t zero_bytes(uint64_t v)
{
    return (v - EACH(1)) & ~v & EACH(0x80);
}

/* Past all plain bytes, eight at a time as long as there are eight. */
static const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
    for (uint64_t v; end - at >= (ptrdiff_t)sizeof(v); at += sizeof(v)) {
        memcpy(&v, at, sizeof(v));
        uint64_t special = (v & EACH(0x80)) | ((v - EACH(0x20)) & ~v & EACH(0x80)) |
                           zero_bytes(v ^ EACH('"')) | zero_bytes(v ^ EACH('\\')) |
                           zero_bytes(v ^ EACH(0x7f));
        if (special)
            break;
    }
    while (at < end && is_plain(*at))
        at++;
    return at;
}

static void json_char(struct buf *b, uint8_t c)
{
    if (c == '"' || c == '\\')
        buf_fmt(b, "\\%c", c);
    else if (c == '\n')
        buf_add(b, "\\n", 2);
    else
        buf_fmt(b, "\\u%04x", c);
}

void buf_json(struct buf *b, struct str s)
{
    const uint8_t *at = (const uint8_t *)(s.len ? s.data : ""), *end = at + s.len, *plain = at;
    buf_add(b, "\"", 1);
    while ((at = skip_plain(at, end)) < end) {
        size_t n = utf8_length(at, (size_t)(end - at));
        if (n > 1) {
            at += n;
            continue;
        }
        buf_add(b, plain, (size_t)(at - plain));
        if (n == 0)
            buf_add(b, "\xef\xbf\xbd", 3);
        else
            json_char(b, *at);
        plain = ++at;
    }
    buf_add(b, plain, (size_t)(at - plain));
    buf_add(b, "\"", 1);
}

struct str buf_view(const struct buf *b)
{
    return (struct str){ b->data ? b->data : "", b->len };
}
