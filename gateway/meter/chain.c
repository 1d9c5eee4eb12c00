/*
 * chain.c: segments are files of a fixed size, allocated on disk (so a write to the mapping cannot
 * meet a full disk) and mapped shared: an append is a copy into the page cache, which outlives kill
 * -9. A thread makes them ahead of need and syncs them.
 *
 * A shipped segment is used again under a new number: its blocks are written already, so a sync of
 * it is data and nothing else (new blocks cost ext4 a conversion for each, four times the sync).
 * What it still holds are records of other numbers, which nobody takes for its own: the seq is part
 * of a record. The new name is on disk before the segment is used.
 *
 * A failed allocation leaves the chain to run into its end, where chain_ready says no. A failed
 * fdatasync marks the chain failed for good: after it the kernel may have dropped the dirty pages,
 * and a second fdatasync that succeeds would prove nothing. The records are still in the mapping,
 * so the shipper goes on.
 */
#include "meter/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define AHEAD  2     /* segments made before they are needed */
#define MARGIN 8192u /* events that may be in flight when admission closes */

void chain_segment_path(char *out, size_t size, const char *dir, uint32_t loop, uint64_t number)
{
    snprintf(out, size, "%s/%u-%08llu.seg", dir, loop, (unsigned long long)number);
}

void chain_init(struct chain *c, const char *dir, uint32_t loop, uint32_t segment_bytes,
                uint64_t bytes_max)
{
    memset(c, 0, sizeof(*c));
    snprintf(c->dir, sizeof(c->dir), "%s", dir);
    c->loop = loop;
    pthread_mutex_init(&c->files, NULL);
    c->per_segment = segment_bytes / RECORD_BYTES;
    uint64_t most = bytes_max / segment_bytes;
    c->segments_max = most < 1                    ? 1
                      : most > CHAIN_SEGMENTS_MAX ? CHAIN_SEGMENTS_MAX
                                                  : (uint32_t)most;
    CHECK(c->per_segment > 0);
}

/* A name that is new is as good as the records under it. */
static int sync_names(const struct chain *c)
{
    int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static void segment_close(const struct chain *c, struct segment *s, bool remove)
{
    char path[640];
    if (s->data)
        munmap(s->data, c->per_segment * RECORD_BYTES);
    if (s->fd >= 0)
        close(s->fd);
    chain_segment_path(path, sizeof(path), c->dir, c->loop, s->number);
    if (remove)
        unlink(path);
    free(s);
}

static int segment_fill(const struct chain *c, struct segment *s, const char *path)
{
    size_t size = c->per_segment * RECORD_BYTES;
    s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = s->fd < 0 ? errno : posix_fallocate(s->fd, 0, (off_t)size);
    if (rc)
        return rc;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, 0);
    if (data == MAP_FAILED)
        return errno;
    s->data = data;
    return sync_names(c);
}

static struct segment *segment_new(const struct chain *c, uint64_t number)
{
    char path[640];
    struct segment *s = calloc(1, sizeof(*s));
    CHECK(s);
    *s = (struct segment){ .number = number, .fd = -1 };
    chain_segment_path(path, sizeof(path), c->dir, c->loop, number);
    int rc = segment_fill(c, s, path);
    if (rc == 0)
        return s;
    LOG(LOG_ERROR, "spool.segment", F_STR("path", path), F_STR("reason", strerror(rc)));
    segment_close(c, s, s->fd >= 0);
    return NULL;
}

static struct segment *spare_take(struct chain *c)
{
    for (size_t i = 0; i < CHAIN_SPARES; i++) {
        struct segment *s = atomic_exchange(&c->spares[i], NULL);
        if (s)
            return s;
    }
    return NULL;
}

static bool spare_put(struct chain *c, struct segment *s)
{
    for (size_t i = 0; i < CHAIN_SPARES; i++) {
        struct segment *none = NULL;
        if (atomic_compare_exchange_strong(&c->spares[i], &none, s))
            return true;
    }
    return false;
}

static bool segment_rename(const struct chain *c, struct segment *s, uint64_t number)
{
    char from[640], to[640];
    chain_segment_path(from, sizeof(from), c->dir, c->loop, s->number);
    chain_segment_path(to, sizeof(to), c->dir, c->loop, number);
    int rc = rename(from, to) ? errno : 0;
    if (rc == 0) {
        s->number = number;
        rc = sync_names(c);
    }
    if (rc)
        LOG(LOG_ERROR, "spool.segment", F_STR("path", to), F_STR("reason", strerror(rc)));
    return rc == 0;
}

static struct segment *segment_make(struct chain *c, uint64_t number)
{
    struct segment *s = spare_take(c);
    if (!s)
        return segment_new(c, number);
    if (segment_rename(c, s, number))
        return s;
    segment_close(c, s, true);
    return NULL;
}

static struct segment *_Atomic *segment_at(struct chain *c, uint64_t number)
{
    return &c->segments[number % CHAIN_SEGMENTS_MAX];
}

bool chain_prepare(struct chain *c)
{
    uint64_t need = atomic_load(&c->appended) / c->per_segment + AHEAD;
    while (atomic_load(&c->made) < need &&
           atomic_load(&c->made) - atomic_load(&c->removed) < c->segments_max) {
        uint64_t number = atomic_load(&c->made);
        struct segment *s = segment_make(c, number);
        if (!s)
            return false;
        atomic_store_explicit(segment_at(c, number), s, memory_order_release);
        atomic_store_explicit(&c->made, number + 1, memory_order_release);
    }
    return true;
}

static bool sync_locked(struct chain *c)
{
    uint64_t appended = atomic_load_explicit(&c->appended, memory_order_acquire);
    if (atomic_load(&c->failed))
        return false;
    while (c->synced < appended) {
        uint64_t number = c->synced / c->per_segment, end = (number + 1) * c->per_segment;
        struct segment *s =
            number < atomic_load(&c->removed) ? NULL : atomic_load(segment_at(c, number));
        if (s && fdatasync(s->fd)) {
            LOG(LOG_ERROR, "spool.sync", F_UINT("loop", c->loop), F_STR("reason", strerror(errno)));
            atomic_store(&c->failed, true);
            return false;
        }
        c->synced = appended < end ? appended : end;
    }
    return true;
}

bool chain_sync(struct chain *c)
{
    pthread_mutex_lock(&c->files);
    bool good = sync_locked(c);
    pthread_mutex_unlock(&c->files);
    return good;
}

bool chain_ready(const struct chain *c)
{
    uint64_t room = atomic_load_explicit(&c->made, memory_order_relaxed) * c->per_segment -
                    atomic_load_explicit(&c->appended, memory_order_relaxed);
    uint64_t margin = c->per_segment / 2 < MARGIN ? c->per_segment / 2 : MARGIN;
    return room > margin && !atomic_load_explicit(&c->failed, memory_order_relaxed);
}

bool chain_append(struct chain *c, const struct usage_event *event)
{
    uint64_t n = atomic_load_explicit(&c->appended, memory_order_relaxed),
             number = n / c->per_segment;
    if (number >= atomic_load_explicit(&c->made, memory_order_acquire) || atomic_load(&c->failed))
        return false;
    struct segment *s = atomic_load_explicit(segment_at(c, number), memory_order_acquire);
    record_encode(s->data + n % c->per_segment * RECORD_BYTES, n + 1, event);
    atomic_store_explicit(&c->appended, n + 1, memory_order_release);
    return true;
}

uint32_t chain_read(struct chain *c, struct usage_event *out, uint32_t max, uint64_t *out_first_seq)
{
    uint64_t from = atomic_load(&c->shipped),
             to = atomic_load_explicit(&c->appended, memory_order_acquire);
    uint32_t count = 0;
    *out_first_seq = from + 1;
    for (uint64_t n = from; n < to && count < max; n++, count++) {
        struct segment *s =
            atomic_load_explicit(segment_at(c, n / c->per_segment), memory_order_acquire);
        CHECK(record_decode(s->data + n % c->per_segment * RECORD_BYTES, n + 1, &out[count]));
    }
    return count;
}

void chain_shipped(struct chain *c, uint64_t count)
{
    uint64_t shipped = atomic_fetch_add(&c->shipped, count) + count;
    pthread_mutex_lock(&c->files);
    while ((atomic_load(&c->removed) + 1) * c->per_segment <= shipped) {
        uint64_t number = atomic_fetch_add(&c->removed, 1);
        struct segment *s = atomic_exchange(segment_at(c, number), NULL);
        if (!spare_put(c, s))
            segment_close(c, s, true);
    }
    pthread_mutex_unlock(&c->files);
}

void chain_release(struct chain *c, bool remove)
{
    struct segment *s;
    while ((s = spare_take(c)))
        segment_close(c, s, true);
    for (uint64_t number = atomic_load(&c->removed); number < atomic_load(&c->made); number++)
        if ((s = atomic_exchange(segment_at(c, number), NULL)))
            segment_close(c, s, remove);
    pthread_mutex_destroy(&c->files);
}
