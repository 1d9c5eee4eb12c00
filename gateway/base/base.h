/*
 * base.h: the vocabulary every layer speaks: borrowed strings, ids, clocks, checks, failing.
 * Knows nothing of sockets, databases or HTTP.
 */
#ifndef MAAS_BASE_H
#define MAAS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <maas/status.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define COUNT_OF(a)            (sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE             64

/* A broken invariant ends the process with file and line on stderr. Never used on input. */
#define CHECK(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))
_Noreturn void check_failed(const char *what, const char *file, int line);

/* Borrowed bytes, not NUL-terminated; `data` may be NULL only when `len` is 0. */
struct str {
    const char *data;
    size_t len;
};
#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })

struct str str_of(const char *z); /* NULL gives the empty string */
bool str_eq(struct str a, struct str b);
bool str_prefix(struct str s, struct str prefix);

/* ---- errors: fills *error (NULL is allowed) and returns `status`, so `return fail(...)` reads
 * well */
maas_status fail(maas_error *error, maas_status status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- clocks */
uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC: shared by all processes of this machine */
uint64_t clock_real_us(void); /* wall clock, microseconds since 1970, for records people read */

/* ---- 128-bit ids, as PostgreSQL's uuid */
struct uuid {
    uint8_t bytes[16];
};
#define UUID_TEXT_MAX 37 /* 36 characters and NUL */
bool uuid_parse(struct str text, struct uuid *out);
void uuid_format(const struct uuid *id, char out[UUID_TEXT_MAX]);
void uuid_random(struct uuid *out); /* version 4, from the kernel's generator */
bool uuid_eq(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *id);

/* ---- random bytes from the kernel; never fails (a kernel without them ends the process) */
void random_bytes(void *out, size_t size);

/* Names the calling thread (15 characters) for top, perf and gdb. */
void thread_name(const char *name);

/* ---- hashing for tables (not for secrets): 64-bit, seeded once per process against collisions */
uint64_t hash_bytes(const void *data, size_t len);
/* CRC-32C (Castagnoli), hardware where there is; `crc` is 0 or a previous result. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

void hex_encode(const uint8_t *in, size_t len, char *out /* 2*len+1 */);
bool hex_decode(struct str in, uint8_t *out,
                size_t out_len); /* false unless in is exactly 2*out_len */

/* Reads a whole small file into malloc'ed memory with a NUL behind it. Fails above `max` bytes. */
maas_status MUST_USE file_read(const char *path, size_t max, char **out_data, size_t *out_len,
                               maas_error *error);

#endif
