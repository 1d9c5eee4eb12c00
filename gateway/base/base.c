/*
 * base.c: borrowed strings, failing, clocks, ids, random bytes, hashing for tables and small files.
 *
 * hash_bytes is a seeded multiply-mix hash (for tables only: it resists accidental and blind
 * collisions, it is no MAC).
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "{\"level\":\"fatal\",\"event\":\"check\",\"what\":\"%s\",\"at\":\"%s:%d\"}\n",
            what, file, line);
    abort();
}

struct str str_of(const char *z)
{
    return z ? (struct str){ z, strlen(z) } : (struct str){ "", 0 };
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_prefix(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

maas_status fail(maas_error *error, maas_status status, const char *fmt, ...)
{
    va_list args;
    if (!error)
        return status;
    va_start(args, fmt);
    vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);
    return status;
}

uint64_t clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_real_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void thread_name(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
}

/* ---- random bytes: the kernel's, for ids through a small pool per thread, so that an id costs no
 * system call. Two sides of a fork without exec would give the same ids; nothing here forks so. */

void random_bytes(void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n > 0);
        at += n;
        size -= (size_t)n;
    }
}

void uuid_random(struct uuid *out)
{
    static __thread uint8_t pool[1024];
    static __thread size_t used = sizeof(pool);
    if (used + sizeof(out->bytes) > sizeof(pool)) {
        random_bytes(pool, sizeof(pool));
        used = 0;
    }
    memcpy(out->bytes, pool + used, sizeof(out->bytes));
    used += sizeof(out->bytes);
    out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x40);
    out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
}

/* ---- hex and ids */

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

void hex_encode(const uint8_t *in, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

bool hex_decode(struct str in, uint8_t *out, size_t out_len)
{
    if (in.len != 2 * out_len)
        return false;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_value(in.data[2 * i]), low = hex_value(in.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

static const uint8_t uuid_dashes[5] = { 4, 2, 2, 2, 6 }; /* bytes between the dashes */

bool uuid_parse(struct str text, struct uuid *out)
{
    struct uuid id;
    size_t at = 0, byte = 0;
    if (text.len != UUID_TEXT_MAX - 1)
        return false;
    for (size_t group = 0; group < COUNT_OF(uuid_dashes); group++) {
        size_t n = uuid_dashes[group];
        if (group > 0 && text.data[at++] != '-')
            return false;
        if (!hex_decode((struct str){ text.data + at, 2 * n }, id.bytes + byte, n))
            return false;
        at += 2 * n;
        byte += n;
    }
    *out = id;
    return true;
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT_MAX])
{
    size_t at = 0, byte = 0;
    for (size_t group = 0; group < COUNT_OF(uuid_dashes); group++) {
        if (group > 0)
            out[at++] = '-';
        hex_encode(id->bytes + byte, uuid_dashes[group], out + at);
        at += 2u * uuid_dashes[group];
        byte += uuid_dashes[group];
    }
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool uuid_is_zero(const struct uuid *id)
{
    static const struct uuid zero;
    return uuid_eq(id, &zero);
}

/* ---- hashes */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_seed;

__attribute__((constructor)) static void hash_seed_init(void)
{
    random_bytes(&hash_seed, sizeof(hash_seed));
}

uint64_t hash_bytes(const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t h = hash_seed ^ (len * 0x9e3779b97f4a7c15u);
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        h = mix(h ^ word, 0xbf58476d1ce4e5b9u);
        at += 8;
        len -= 8;
    }
    uint64_t tail = 0;
    if (len)
        memcpy(&tail, at, len);
    return mix(h ^ tail, 0x94d049bb133111ebu ^ hash_seed);
}

/* ---- small files */

static maas_status read_all(int fd, const char *path, char *data, size_t size, maas_error *error)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, data + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(error, MAAS_E_UNAVAILABLE, "cannot read '%s': %s", path,
                        n ? strerror(errno) : "it became shorter");
        at += (size_t)n;
    }
    return MAAS_OK;
}

maas_status file_read(const char *path, size_t max, char **out_data, size_t *out_len,
                      maas_error *error)
{
    maas_status status;
    char *data = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
    if (fd < 0)
        return fail(error, errno == ENOENT ? MAAS_E_NOT_FOUND : MAAS_E_UNAVAILABLE,
                    "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        status = fail(error, MAAS_E_INVALID, "'%s' is not a regular file", path);
    else if ((uint64_t)st.st_size > max)
        status = fail(error, MAAS_E_EXHAUSTED, "'%s' is larger than %zu bytes", path, max);
    else if (!(data = malloc((size_t)st.st_size + 1)))
        status = fail(error, MAAS_E_EXHAUSTED, "no memory for '%s'", path);
    else
        status = read_all(fd, path, data, (size_t)st.st_size, error);
    close(fd);
    if (status) {
        free(data);
        return status;
    }
    data[st.st_size] = '\0';
    *out_data = data;
    *out_len = (size_t)st.st_size;
    return MAAS_OK;
}
