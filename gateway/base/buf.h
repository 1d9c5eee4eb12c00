/*
 * buf.h: a byte buffer that gets its cap at birth, and the few JSON pieces error bodies need.
 * A write past the cap or without memory sets `failed` and drops the write; the caller looks once,
 * at the end. [any, one owner]
 */
#ifndef MAAS_BUF_H
#define MAAS_BUF_H

#include "base/base.h"

/* Decimal digits of `value` to `at`, without a NUL; returns the end. Two digits a step. */
#define TEXT_UINT_MAX 20
char *text_uint(char *at, uint64_t value);

struct buf {
    char *data;
    size_t len, size, max; /* one byte more than `size` is there, for a formatter's NUL */
    bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, struct str s);
/* Room for `len` bytes behind what is there, to be written to and then taken by buf_take; NULL when
 * so many do not fit (which fails nothing: fewer may). */
char *buf_space(struct buf *b, size_t len);
void buf_take(struct buf *b, size_t len); /* at most what buf_space made */
void buf_uint(struct buf *b, uint64_t n); /* decimal; ten times the speed of buf_fmt */
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "…" with JSON escapes; bytes that are not UTF-8 become U+FFFD. */
void buf_json(struct buf *b, struct str s);
struct str buf_view(const struct buf *b);

#endif
