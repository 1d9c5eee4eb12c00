/*
 * channel.c: the sealed memfd between a gateway and one worker, and how each wakes the other.
 *
 *     [page: geometry, worker's sleeping flag] [loop 0 .. n-1: flags, positions, marks]
 *     [loop 0: submission ring, completion ring] [loop 1: ...]
 *
 * The gateway computes the geometry once and never reads it back; the worker reads it once, at
 * attach, against the file's real size. Both ends hold the same `struct channel`; which functions
 * an end calls is its role, so a test can play both ends on one mapping (and TSan can watch).
 *
 * Sleeping: a sleeper stores its flag, fences, and looks at the rings once more; a waker stores the
 * position, fences, and looks at the flag. One of the two must see the other (Dekker), so no
 * wake-up is lost; taking the flag by exchange makes one write to the eventfd of many.
 *
 * Marks are the job's id in the slot's cell: an old id in a reused slot is simply not equal.
 *
 * Rejected: a futex in the shared memory (the gateway's loop waits in epoll); one ring for all
 * loops (a lock between loops that the worker could hold for ever).
 */
#include "channel/channel.h"
#include "channel/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHANNEL_MAGIC 0x4e4e4843534141ULL
#define PAGE          4096u
#define SEALS         (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct shared_head {
    uint64_t magic, bytes;
    uint32_t loops, submit_bytes, complete_bytes, loop_size;
    alignas(CACHE_LINE) _Atomic uint32_t worker_sleeping;
};

struct shared_loop {
    alignas(PAGE) _Atomic uint32_t sleeping;
    struct ring_shared submit, complete;
    alignas(PAGE) _Atomic uint64_t started[CHANNEL_SLOTS]; /* the worker writes */
    _Atomic uint64_t cancelled[CHANNEL_SLOTS];             /* the gateway writes */
};

struct channel_loop {
    struct shared_loop *shared;
    struct ring submit, complete;
    int eventfd;
};

struct channel {
    uint8_t *map;
    size_t bytes;
    struct shared_head *head;
    uint32_t loop_count;
    int memfd, worker_eventfd;
    atomic_bool broken;
    struct channel_loop loops[];
};

static bool ring_size_ok(uint32_t bytes)
{
    return bytes >= RING_BYTES_MIN && bytes <= RING_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

static bool geometry_ok(uint32_t loops, uint32_t submit_bytes, uint32_t complete_bytes)
{
    return loops >= 1 && loops <= CHANNEL_LOOPS_MAX && ring_size_ok(submit_bytes) &&
           ring_size_ok(complete_bytes);
}

/* At most 64 * (2 * 256 MiB + marks): fits 64 bits by far. */
static uint64_t bytes_of(uint32_t loops, uint32_t submit_bytes, uint32_t complete_bytes)
{
    return PAGE + loops * (sizeof(struct shared_loop) + submit_bytes + (uint64_t)complete_bytes);
}

static struct channel *channel_alloc(uint32_t loops)
{
    size_t size = sizeof(struct channel) + loops * sizeof(struct channel_loop);
    size = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    struct channel *ch = aligned_alloc(CACHE_LINE, size);
    if (!ch)
        return NULL;
    memset(ch, 0, size);
    ch->memfd = ch->worker_eventfd = -1;
    ch->loop_count = loops;
    for (uint32_t i = 0; i < loops; i++)
        ch->loops[i].eventfd = -1;
    return ch;
}

static maas_status map(struct channel *ch, uint64_t bytes, maas_error *error)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ch->memfd, 0);
    if (at == MAP_FAILED)
        return fail(error, MAAS_E_EXHAUSTED, "mapping %llu bytes of channel: %s",
                    (unsigned long long)bytes, strerror(errno));
    ch->map = at;
    ch->bytes = bytes;
    ch->head = at;
    return MAAS_OK;
}

/* Where everything lies, from private numbers only. */
static void lay_out(struct channel *ch, uint32_t submit_bytes, uint32_t complete_bytes)
{
    uint8_t *loops = ch->map + PAGE;
    uint8_t *data = loops + ch->loop_count * sizeof(struct shared_loop);
    for (uint32_t i = 0; i < ch->loop_count; i++) {
        struct channel_loop *loop = &ch->loops[i];
        loop->shared = (struct shared_loop *)(void *)(loops + i * sizeof(struct shared_loop));
        ring_init(&loop->submit, &loop->shared->submit, data, submit_bytes);
        ring_init(&loop->complete, &loop->shared->complete, data + submit_bytes, complete_bytes);
        data += (uint64_t)submit_bytes + complete_bytes;
    }
}

static maas_status make_memfd(struct channel *ch, uint64_t bytes, maas_error *error)
{
    ch->memfd = memfd_create("maas-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ch->memfd < 0)
        return fail(error, MAAS_E_EXHAUSTED, "memfd for a channel: %s", strerror(errno));
    if (ftruncate(ch->memfd, (off_t)bytes) || fcntl(ch->memfd, F_ADD_SEALS, SEALS))
        return fail(error, MAAS_E_EXHAUSTED, "sizing and sealing a channel of %llu bytes: %s",
                    (unsigned long long)bytes, strerror(errno));
    return map(ch, bytes, error);
}

static maas_status make_eventfds(struct channel *ch, maas_error *error)
{
    ch->worker_eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = ch->worker_eventfd >= 0;
    for (uint32_t i = 0; ok && i < ch->loop_count; i++) {
        ch->loops[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ok = ch->loops[i].eventfd >= 0;
    }
    if (!ok)
        return fail(error, MAAS_E_EXHAUSTED, "eventfd for a channel: %s", strerror(errno));
    return MAAS_OK;
}

maas_status channel_create(uint32_t loops, uint32_t submit_bytes, uint32_t complete_bytes,
                           struct channel **out, maas_error *error)
{
    if (!geometry_ok(loops, submit_bytes, complete_bytes))
        return fail(error, MAAS_E_INVALID, "channel of %u loops, rings of %u and %u bytes", loops,
                    submit_bytes, complete_bytes);
    struct channel *ch = channel_alloc(loops);
    if (!ch)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a channel");
    uint64_t bytes = bytes_of(loops, submit_bytes, complete_bytes);
    maas_status status = make_memfd(ch, bytes, error);
    if (status == MAAS_OK)
        status = make_eventfds(ch, error);
    if (status != MAAS_OK) {
        channel_free(ch);
        return status;
    }
    ch->head->bytes = bytes;
    ch->head->loops = loops;
    ch->head->submit_bytes = submit_bytes;
    ch->head->complete_bytes = complete_bytes;
    ch->head->loop_size = sizeof(struct shared_loop);
    ch->head->magic = CHANNEL_MAGIC;
    lay_out(ch, submit_bytes, complete_bytes);
    *out = ch;
    return MAAS_OK;
}

static maas_status file_check(int memfd, uint64_t *out_bytes, maas_error *error)
{
    struct stat st;
    if (fstat(memfd, &st) || st.st_size < (off_t)PAGE)
        return fail(error, MAAS_E_INVALID, "descriptor %d is no channel", memfd);
    int seals = fcntl(memfd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return fail(error, MAAS_E_INVALID, "channel on descriptor %d is not sealed", memfd);
    *out_bytes = (uint64_t)st.st_size;
    return MAAS_OK;
}

maas_status channel_attach(int memfd, int worker_eventfd, const int *loop_eventfds, uint32_t loops,
                           struct channel **out, maas_error *error)
{
    uint64_t bytes = 0;
    maas_status status = file_check(memfd, &bytes, error);
    if (status != MAAS_OK)
        return status;
    if (loops < 1 || loops > CHANNEL_LOOPS_MAX)
        return fail(error, MAAS_E_INVALID, "channel of %u loops", loops);
    struct channel *ch = channel_alloc(loops);
    if (!ch)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a channel");
    ch->memfd = memfd;
    status = map(ch, bytes, error);
    if (status != MAAS_OK)
        goto out;
    struct shared_head head;
    memcpy(&head, ch->map, sizeof(head)); /* once; only the copy is believed */
    if (head.magic != CHANNEL_MAGIC || head.loops != loops ||
        !geometry_ok(head.loops, head.submit_bytes, head.complete_bytes) ||
        head.loop_size != sizeof(struct shared_loop) ||
        bytes_of(loops, head.submit_bytes, head.complete_bytes) != bytes) {
        status = fail(error, MAAS_E_INVALID, "channel on descriptor %d: wrong geometry", memfd);
        goto out;
    }
    lay_out(ch, head.submit_bytes, head.complete_bytes);
    ch->worker_eventfd = worker_eventfd;
    for (uint32_t i = 0; i < loops; i++)
        ch->loops[i].eventfd = loop_eventfds[i];
    *out = ch;
    return MAAS_OK;
out:
    ch->memfd = -1; /* taken on success only */
    channel_free(ch);
    return status;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void channel_free(struct channel *ch)
{
    if (!ch)
        return;
    if (ch->map)
        munmap(ch->map, ch->bytes);
    for (uint32_t i = 0; i < ch->loop_count; i++)
        close_fd(ch->loops[i].eventfd);
    close_fd(ch->worker_eventfd);
    close_fd(ch->memfd);
    free(ch);
}

int channel_memfd(const struct channel *ch)
{
    return ch->memfd;
}

int channel_worker_eventfd(const struct channel *ch)
{
    return ch->worker_eventfd;
}

static struct channel_loop *loop_at(struct channel *ch, uint32_t loop)
{
    CHECK(loop < ch->loop_count);
    return &ch->loops[loop];
}

int channel_loop_eventfd(const struct channel *ch, uint32_t loop)
{
    CHECK(loop < ch->loop_count);
    return ch->loops[loop].eventfd;
}

uint32_t channel_loops(const struct channel *ch)
{
    return ch->loop_count;
}

bool channel_broken(const struct channel *ch)
{
    return atomic_load_explicit(&ch->broken, memory_order_relaxed);
}

void channel_condemn(struct channel *ch)
{
    atomic_store_explicit(&ch->broken, true, memory_order_relaxed);
}

size_t channel_record_max(const struct channel *ch, bool submit)
{
    return ring_record_max(submit ? &ch->loops[0].submit : &ch->loops[0].complete);
}

static bool write_record(struct channel *ch, struct ring *ring, const struct channel_part *parts,
                         size_t count)
{
    if (channel_broken(ch))
        return false;
    enum ring_result result = ring_write(ring, parts, count);
    if (result == RING_BROKEN)
        channel_condemn(ch);
    return result == RING_DONE;
}

static const void *peek_record(struct channel *ch, struct ring *ring, size_t *out_len)
{
    if (channel_broken(ch))
        return NULL;
    const void *data = NULL;
    enum ring_result result = ring_peek(ring, &data, out_len);
    if (result == RING_BROKEN)
        channel_condemn(ch);
    return result == RING_DONE ? data : NULL;
}

bool channel_submit(struct channel *ch, uint32_t loop, const struct channel_part *parts,
                    size_t count)
{
    return write_record(ch, &loop_at(ch, loop)->submit, parts, count);
}

bool channel_complete(struct channel *ch, uint32_t loop, const struct channel_part *parts,
                      size_t count)
{
    return write_record(ch, &loop_at(ch, loop)->complete, parts, count);
}

const void *channel_peek_submit(struct channel *ch, uint32_t loop, size_t *out_len)
{
    return peek_record(ch, &loop_at(ch, loop)->submit, out_len);
}

void channel_consume_submit(struct channel *ch, uint32_t loop)
{
    ring_consume(&loop_at(ch, loop)->submit);
}

const void *channel_peek_complete(struct channel *ch, uint32_t loop, size_t *out_len)
{
    return peek_record(ch, &loop_at(ch, loop)->complete, out_len);
}

void channel_consume_complete(struct channel *ch, uint32_t loop)
{
    ring_consume(&loop_at(ch, loop)->complete);
}

/* TSan does not model fences (and gcc warns); what it checks, the data behind the positions, is
 * ordered by release and acquire on the positions themselves. */
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static void full_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

static void set_sleeping(_Atomic uint32_t *flag, bool sleeping)
{
    atomic_store_explicit(flag, sleeping, memory_order_relaxed);
    if (sleeping)
        full_fence();
}

static void wake(_Atomic uint32_t *flag, int fd)
{
    full_fence();
    if (!atomic_load_explicit(flag, memory_order_relaxed) ||
        !atomic_exchange_explicit(flag, 0, memory_order_acq_rel))
        return;
    const uint64_t one = 1;
    /* EAGAIN: the counter is full, so the reader is woken anyway */
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void channel_loop_sleeps(struct channel *ch, uint32_t loop, bool sleeping)
{
    set_sleeping(&loop_at(ch, loop)->shared->sleeping, sleeping);
}

void channel_worker_sleeps(struct channel *ch, bool sleeping)
{
    set_sleeping(&ch->head->worker_sleeping, sleeping);
}

void channel_wake_worker(struct channel *ch)
{
    wake(&ch->head->worker_sleeping, ch->worker_eventfd);
}

void channel_wake_loop(struct channel *ch, uint32_t loop)
{
    struct channel_loop *l = loop_at(ch, loop);
    wake(&l->shared->sleeping, l->eventfd);
}

static size_t cell_of(uint64_t job)
{
    return (uint32_t)job % CHANNEL_SLOTS;
}

void channel_mark_started(struct channel *ch, uint32_t loop, uint64_t job)
{
    atomic_store_explicit(&loop_at(ch, loop)->shared->started[cell_of(job)], job,
                          memory_order_relaxed);
}

void channel_unmark_started(struct channel *ch, uint32_t loop, uint64_t job)
{
    if (channel_was_started(ch, loop, job))
        channel_mark_started(ch, loop, (uint32_t)job); /* generation 0 is nobody's */
}

bool channel_was_started(const struct channel *ch, uint32_t loop, uint64_t job)
{
    CHECK(loop < ch->loop_count);
    return atomic_load_explicit(&ch->loops[loop].shared->started[cell_of(job)],
                                memory_order_relaxed) == job;
}

void channel_mark_cancelled(struct channel *ch, uint32_t loop, uint64_t job)
{
    atomic_store_explicit(&loop_at(ch, loop)->shared->cancelled[cell_of(job)], job,
                          memory_order_relaxed);
}

bool channel_is_cancelled(const struct channel *ch, uint32_t loop, uint64_t job)
{
    CHECK(loop < ch->loop_count);
    return atomic_load_explicit(&ch->loops[loop].shared->cancelled[cell_of(job)],
                                memory_order_relaxed) == job;
}
