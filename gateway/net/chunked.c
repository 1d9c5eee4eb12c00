/*
 * chunked.c: one state per place in the grammar; data is moved in runs, all else byte by byte.
 */
#include "net/chunked.h"

#include <string.h>

enum {
    SIZE,    /* hex digits; _hex_count of them so far */
    SIZE_LF, /* after the CR of the size line */
    DATA,    /* bytes_left_in_chunk to come */
    DATA_CR, /* after the data */
    DATA_LF,
    LAST_CR, /* after the size line of the last chunk: the empty trailer */
    LAST_LF,
};

enum { HEX_DIGITS_MAX = 8 };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int take_size(struct phr_chunked_decoder *d, char c)
{
    const int value = hex_value(c);
    if (value < 0) {
        if (c != '\r' || d->_hex_count == 0)
            return -1;
        d->_state = SIZE_LF;
        return 0;
    }
    if (d->_hex_count++ == HEX_DIGITS_MAX)
        return -1;
    d->bytes_left_in_chunk = d->bytes_left_in_chunk * 16 + (size_t)value;
    return 0;
}

/* One byte outside of data: 0 to go on, 1 at the end of the body, -1 when malformed. */
static int take_byte(struct phr_chunked_decoder *d, char c)
{
    switch (d->_state) {
    case SIZE:
        return take_size(d, c);
    case SIZE_LF:
        d->_state = d->bytes_left_in_chunk == 0 ? LAST_CR : DATA;
        d->_hex_count = 0;
        return c == '\n' ? 0 : -1;
    case DATA_CR:
        d->_state = DATA_LF;
        return c == '\r' ? 0 : -1;
    case DATA_LF:
        d->_state = SIZE;
        return c == '\n' ? 0 : -1;
    case LAST_CR:
        d->_state = LAST_LF;
        return c == '\r' ? 0 : -1;
    case LAST_LF:
        return c == '\n' ? 1 : -1;
    default:
        return -1;
    }
}

static size_t move_data(struct phr_chunked_decoder *d, char *dst, const char *src, size_t available)
{
    const size_t n = available < d->bytes_left_in_chunk ? available : d->bytes_left_in_chunk;
    memmove(dst, src, n);
    d->bytes_left_in_chunk -= n;
    if (d->bytes_left_in_chunk == 0)
        d->_state = DATA_CR;
    return n;
}

ssize_t chunked_decode(struct phr_chunked_decoder *d, char *buf, size_t *len)
{
    size_t src = 0, dst = 0;
    int step = 0;
    while (src < *len && step == 0) {
        if (d->_state == DATA) {
            const size_t n = move_data(d, buf + dst, buf + src, *len - src);
            src += n;
            dst += n;
        } else {
            step = take_byte(d, buf[src++]);
        }
    }
    const size_t left = *len - src;
    if (step == 1)
        memmove(buf + dst, buf + src, left);
    *len = dst;
    return step == 1 ? (ssize_t)left : step == 0 ? -2 : -1;
}
