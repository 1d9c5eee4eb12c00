/*
 * A worker that flips bits anywhere in the memory it shares with the gateway, while it answers: a
 * million flips against the real lane, slots and ring. Every request ends once, by one of the ends
 * that there are; nothing outside of the mapping is touched; and the requests of another worker on
 * the same loop get their exact bytes.
 *
 * Each mapping of a channel lies between pages that nobody may touch, so an access that leaves it
 * faults whatever else is mapped. The hostile worker is a thread with a mapping of its own; when
 * the lane asks for its end, or its own channel breaks, it is gone as a process would be, and the
 * next one comes.
 *
 * MAAS_FLIPS sets another number than FLIPS. The flips are random but the same in each run; when
 * they meet which request is not.
 */
#include "instead_of_fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLIPS       1000000u
#define PER_RECORD  24u /* flips while one request is worked on */
#define RING        16384u
#define PAGE        4096u
#define GUARD       ((size_t)16 << 20)
#define WINDOW      6u /* requests under way at a worker */
#define QUEUE_MAX   8u
#define DEADLINE_MS 15u
#define GRACE_MS    10u
#define LIMIT_MS    60000u /* what has not ended by then is lost */

/* ---- forbidden pages around what is shared */

static struct {
    uint8_t *at;
    size_t bytes;
} guarded[32];

void *__real_mmap(void *at, size_t bytes, int rights, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);

void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int fd, off_t offset)
{
    if (fd < 0 || !(flags & MAP_SHARED))
        return __real_mmap(at, bytes, rights, flags, fd, offset);
    uint8_t *around = __real_mmap(NULL, bytes + 2 * GUARD, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i = 0;
    while (guarded[i].at)
        CHECK(++i < COUNT_OF(guarded));
    CHECK(around != MAP_FAILED);
    guarded[i].at = around + GUARD;
    guarded[i].bytes = bytes;
    return __real_mmap(around + GUARD, bytes, rights, flags | MAP_FIXED, fd, offset);
}

int __wrap_munmap(void *at, size_t bytes)
{
    for (size_t i = 0; i < COUNT_OF(guarded); i++)
        if (guarded[i].at && guarded[i].at == at) {
            guarded[i].at = NULL;
            return __real_munmap((uint8_t *)at - GUARD, bytes + 2 * GUARD);
        }
    return __real_munmap(at, bytes);
}

/* ---- the two workers */

struct worker {
    struct pool_id pool;
    struct link *link;
    struct channel *end; /* its own */
    pthread_t thread;
    atomic_bool stop, dead;
    bool hostile;
    uint8_t *map; /* what it flips */
    size_t bytes;
    uint32_t life;
    uint64_t random;
};

static struct fleet fleet = { .queue_max = QUEUE_MAX, .grace_ms = GRACE_MS };
static struct fleet_port *port;
static struct worker bad = { .pool = { .deployment = { { 1 } }, .version = { { 1 } }, .text = "1" },
                             .hostile = true };
static struct worker good = { .pool = {
                                  .deployment = { { 2 } }, .version = { { 2 } }, .text = "1" } };
static atomic_uint flips;
static unsigned flips_wanted = FLIPS;

static uint64_t dice(struct worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* Where a life's flips fall: everywhere, or where they hurt most. */
static size_t place(struct worker *w)
{
    size_t data = w->bytes - 2 * RING;
    switch (w->life % 5) {
    case 0: /* everywhere */
        return dice(w) % w->bytes;
    case 1: /* flags and positions */
        return PAGE + dice(w) % 512;
    case 2: /* the beginning of the ring of answers */
        return data + RING + dice(w) % 2048;
    case 3: /* the geometry, which was read long ago, and marks */
        return dice(w) % data;
    default: /* both rings */
        return data + dice(w) % (2 * RING);
    }
}

/* One bit, or a word that could be a length or a position. */
static void flip(struct worker *w)
{
    _Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(w->map + place(w) / 8 * 8);
    uint64_t what = dice(w);
    if (what % 8)
        atomic_fetch_xor_explicit(word, 1ull << (what >> 8 & 63), memory_order_relaxed);
    else
        atomic_store_explicit(word, what >> 8 & (RING - 1), memory_order_relaxed);
    atomic_fetch_add_explicit(&flips, 1, memory_order_relaxed);
}

static void flip_some(struct worker *w, uint32_t count)
{
    for (uint32_t i = 0; w->hostile && i < count; i++)
        flip(w);
}

/* Flips that agree with each other: of the answer that was just written, the record's length and
 * the body's become the same larger one, so only the ring's own bounds can tell. */
static void lie(struct worker *w, uint64_t job)
{
    static const uint32_t most[] = { 4096, RING / 2, 2 * RING, UINT32_MAX };
    uint8_t *ring = w->map + w->bytes - RING;
    uint32_t len = (uint32_t)(dice(w) >> 8) % most[dice(w) % COUNT_OF(most)];
    for (size_t at = 0; at + 64 <= RING; at += 64) {
        struct complete_frame frame;
        memcpy(&frame, ring + at + 8, sizeof(frame));
        if (frame.kind != COMPLETE_DONE || frame.job != job || len < sizeof(frame))
            continue;
        frame.body_len = len - (uint32_t)sizeof(frame);
        memcpy(ring + at + 8, &frame, sizeof(frame));
        memcpy(ring + at, &len, sizeof(len));
        atomic_fetch_add_explicit(&flips, 2, memory_order_relaxed);
    }
}

/* Echoes the body of a request; what a hostile worker sent itself may be no request at all. */
static void answer(struct worker *w, const uint8_t *record, size_t len)
{
    struct submit_frame frame;
    if (len < sizeof(frame))
        return;
    memcpy(&frame, record, sizeof(frame));
    channel_mark_started(w->end, 0, frame.job);
    flip_some(w, PER_RECORD / 2);
    size_t before = sizeof(frame) + frame.name_len + frame.version_len + frame.request_id_len;
    size_t body = len > before ? len - before : 0;
    if (body > 4096 || (w->hostile && dice(w) % 100 == 0)) /* never answered */
        return;
    const struct complete_frame complete = {
        .kind = COMPLETE_DONE, .job = frame.job, .rows = 1, .body_len = (uint32_t)body
    };
    const struct channel_part parts[] = { { &complete, sizeof(complete) },
                                          { record + len - body, body } };
    while (!channel_complete(w->end, 0, parts, 2) && !channel_broken(w->end) &&
           !atomic_load(&w->stop))
        flip_some(w, 1);
    if (w->hostile && dice(w) % 128 == 0)
        lie(w, frame.job);
    flip_some(w, PER_RECORD / 2);
}

static bool work_some(struct worker *w)
{
    const uint8_t *record;
    size_t len;
    bool any = false;
    while (!atomic_load(&w->stop) && (record = channel_peek_submit(w->end, 0, &len)) != NULL) {
        uint8_t *copy = malloc(len + 1);
        CHECK(copy);
        memcpy(copy, record, len);
        channel_consume_submit(w->end, 0);
        answer(w, copy, len);
        free(copy);
        channel_wake_loop(w->end, 0);
        any = true;
    }
    return any;
}

/* Its own wake-ups may be flipped away: it looks every millisecond. */
static void *work(void *arg)
{
    struct worker *w = arg;
    struct pollfd news = { .fd = channel_worker_eventfd(w->end), .events = POLLIN };
    while (!atomic_load(&w->stop) && !channel_broken(w->end)) {
        uint64_t count;
        if (work_some(w))
            continue;
        channel_worker_sleeps(w->end, true);
        if (!work_some(w) && poll(&news, 1, 1) == 1)
            (void)!read(news.fd, &count, sizeof(count));
        channel_worker_sleeps(w->end, false);
        flip_some(w, 1);
        if (w->hostile && dice(w) % 4 == 0)
            channel_wake_loop(w->end, 0);
    }
    atomic_store(&w->dead, true);
    return NULL;
}

/* ---- instead of fleet.c */

void fleet_ask(struct fleet *of, const struct uuid *deployment)
{
    (void)of;
    (void)deployment;
}

void fleet_count_hostile(struct fleet *of)
{
    of->hostile++;
}

static void tell(enum lane_event event, struct worker *w, bool with_link)
{
    struct lane_message *m = calloc(1, sizeof(*m));
    CHECK(m);
    *m = (struct lane_message){
        .port = port, .event = event, .pool = w->pool, .link = with_link ? w->link : NULL
    };
    if (with_link)
        atomic_fetch_add(&w->link->refs, 1);
    port_on_message(&m->post);
}

static void worker_starts(struct worker *w)
{
    struct stat st;
    w->link = calloc(1, sizeof(*w->link));
    CHECK(w->link);
    atomic_store(&w->link->refs, 1);
    CHECK(channel_create(1, RING, RING, &w->link->channel, NULL) == MAAS_OK);
    struct channel *ch = w->link->channel;
    int loop_event = dup(channel_loop_eventfd(ch, 0));
    CHECK(channel_attach(dup(channel_memfd(ch)), dup(channel_worker_eventfd(ch)), &loop_event, 1,
                         &w->end, NULL) == MAAS_OK);
    CHECK(fstat(channel_memfd(ch), &st) == 0);
    w->bytes = (size_t)st.st_size;
    w->map = mmap(NULL, w->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, channel_memfd(ch), 0);
    w->life++;
    w->random = 88172645463325252u + w->life * 7919u;
    atomic_store(&w->stop, false);
    atomic_store(&w->dead, false);
    tell(LANE_OPEN, w, true);
    CHECK(pthread_create(&w->thread, NULL, work, w) == 0);
}

static void worker_dies(struct worker *w)
{
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    tell(LANE_LOST, w, true);
    munmap(w->map, w->bytes);
    channel_free(w->end);
    link_unref(w->link);
}

/* ---- requests */

struct asked {
    struct job job; /* first */
    struct worker *of;
    bool under_way;
    uint32_t number;
    uint8_t body[2000];
};

static struct asked requests[2 * WINDOW];
static uint32_t sent[2], ended[2], ends[2][JOB_ABANDONED + 1], wrong_bytes, twice;

/* Every byte that the lane hands out is read. */
static void look_at(const struct asked *a, const struct complete_frame *frame,
                    const uint8_t *payload)
{
    size_t len = (size_t)frame->param_len + frame->text_len + frame->body_len;
    uint8_t *copy = malloc(len + 1);
    CHECK(copy);
    memcpy(copy, payload, len);
    bool exact = frame->status == MAAS_OK && frame->body_len == a->job.frame.body_len &&
                 memcmp(copy + len - frame->body_len, a->body, frame->body_len) == 0;
    wrong_bytes += !a->of->hostile && !exact;
    free(copy);
}

static void on_done(struct job *job, enum job_end end, const struct complete_frame *frame,
                    const uint8_t *payload)
{
    struct asked *a = (struct asked *)(void *)job;
    uint32_t of = a->of->hostile;
    twice += !a->under_way;
    a->under_way = false;
    ended[of]++;
    ends[of][end]++;
    if (end == JOB_ANSWERED)
        look_at(a, frame, payload);
    loop_stop(fleet.loop);
}

static void ask(struct asked *a)
{
    static uint32_t number;
    uint64_t ms = a->of->hostile ? DEADLINE_MS : LIMIT_MS;
    struct fleet_route *route = fleet_route(port, &a->of->pool.deployment);
    uint32_t len = 1 + ++number * 37 % sizeof(a->body);
    for (uint32_t i = 0; i < len; i++)
        a->body[i] = (uint8_t)(number * 131 + i * 7);
    a->job = (struct job){ .done = on_done };
    a->job.frame = (struct submit_frame){ .kind = SUBMIT_INFER,
                                          .deadline_ns = loop_now_ns(fleet.loop) + ms * 1000000,
                                          .name_len = 5,
                                          .request_id_len = 3,
                                          .body_len = len };
    a->job.parts[0] = (struct channel_part){ "model", 5 };
    a->job.parts[2] = (struct channel_part){ "r-1", 3 };
    a->job.parts[4] = (struct channel_part){ a->body, len };
    a->under_way = route && fleet_send(port, route, &a->job);
    sent[a->of->hostile] += a->under_way;
}

/* ---- the run */

static bool all_over(void)
{
    return sent[0] == ended[0] && sent[1] == ended[1];
}

static void on_tick(struct timer *timer)
{
    loop_stop(timer->loop);
}

static void turn(bool more)
{
    struct timer tick = { .fire = on_tick };
    for (size_t i = 0; more && i < COUNT_OF(requests); i++)
        if (!requests[i].under_way)
            ask(&requests[i]);
    timer_start(fleet.loop, &tick, 2);
    loop_run(fleet.loop);
    timer_stop(&tick);
    if (atomic_load(&bad.link->kill) || atomic_load(&bad.dead)) {
        worker_dies(&bad);
        worker_starts(&bad);
    }
}

static void run(void)
{
    uint64_t end_ns = clock_mono_ns() + (uint64_t)LIMIT_MS * 1000000;
    while (atomic_load(&flips) < flips_wanted)
        turn(true);
    while (!all_over() && clock_mono_ns() < end_ns)
        turn(false);
}

static void report(uint64_t ms)
{
    print_message("%u flips by %u workers in %llu ms: %u requests, %u answered, %u crashed, "
                  "%u past their deadline, %u frames condemned; beside them %u answered exactly\n",
                  atomic_load(&flips), bad.life, (unsigned long long)ms, sent[1],
                  ends[1][JOB_ANSWERED], ends[1][JOB_CRASHED], ends[1][JOB_DEADLINE], fleet.hostile,
                  ends[0][JOB_ANSWERED]);
}

static void flips_cost_the_worker_that_makes_them_alone(void **state)
{
    (void)state;
    uint64_t start_ns = clock_mono_ns();
    run();
    report((clock_mono_ns() - start_ns) / 1000000);
    assert_int_equal(twice, 0);
    assert_true(all_over());
    assert_int_equal(ends[1][JOB_ANSWERED] + ends[1][JOB_CRASHED] + ends[1][JOB_DEADLINE], sent[1]);
    assert_true(ends[1][JOB_ANSWERED] && ends[1][JOB_CRASHED] && ends[1][JOB_DEADLINE]);
    assert_int_equal(wrong_bytes, 0);
    assert_int_equal(ends[0][JOB_ANSWERED], sent[0]);
    assert_true(sent[0] > 100 && fleet.hostile > 0);
    assert_false(atomic_load(&good.link->kill));
    assert_int_equal(good.life, 1);
}

static int start(void **state)
{
    (void)state;
    const char *wanted = getenv("MAAS_FLIPS");
    if (wanted)
        flips_wanted = (unsigned)strtoul(wanted, NULL, 10);
    if (loop_new(0, &fleet.loop, NULL) || fleet_port_new(&fleet, fleet.loop, &port, NULL))
        return -1;
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        requests[i].of = i < WINDOW ? &bad : &good;
    worker_starts(&bad);
    worker_starts(&good);
    tell(ROUTE_SWITCH, &bad, false);
    tell(ROUTE_SWITCH, &good, false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    worker_dies(&bad);
    worker_dies(&good);
    tell(ROUTE_GONE, &bad, false);
    tell(ROUTE_GONE, &good, false);
    fleet_port_free(port);
    loop_free(fleet.loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flips_cost_the_worker_that_makes_them_alone, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
