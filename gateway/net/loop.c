/*
 * loop.c: one event loop: libh2o's epoll loop for the sockets, our own clock, timers and posts.
 *
 * - The clock is CLOCK_MONOTONIC, read at the first question of a turn and kept for the rest of it.
 *   libh2o's own clock is the wall clock; its few timeouts in use (zero delays that gather writes)
 *   stall when that clock is set back, so a step back is looked for once a turn and repaired.
 * - Posts: a list under a mutex, swapped out whole; the eventfd is written only when the loop said
 *   that it is about to sleep, so a busy loop costs its posters no system call.
 * - h2o_evloop_run returns -1 on EINTR: that is a turn like any other. A loop without work turns
 *   twice a second all the same, so that loop_turns shows that it is alive.
 *
 * Rejected: h2o_multithread (a write(2) per batch even to a loop that is awake).
 */
#include "net/loop_private.h"

#include "base/log.h"
#include "net/wheel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TURNS_MAX = 8, IDLE_WAIT_MS = 500, BUFFERS_KEPT = 1024 /* of 4 KiB */ };

struct turn_clock {
    bool valid, real_valid;
    uint64_t now_ns, real_us;
};

struct loop {
    uint32_t index;
    h2o_loop_t *h2o;
    struct turn_clock *clock; /* apart, so that reading it through a const loop may fill it */
    struct turn_clock clock_memory;
    uint64_t origin_ns;
    uint64_t wall_ms; /* libh2o's clock at the last turn */
    struct wheel wheel;
    struct loop_turn turns[TURNS_MAX];
    size_t turn_count;
    _Atomic uint64_t turn_number;
    _Atomic uint64_t slow_turns;
    uint64_t failed_turns;

    _Atomic bool stop;
    _Atomic bool sleeping;    /* about to poll or polling: a poster has to ring */
    _Atomic bool posts_exist; /* set under the mutex; looked at without */
    pthread_mutex_t mutex;
    struct loop_post *first, **last;
    int bell; /* eventfd */
    h2o_socket_t *bell_socket;
};

/* ---- clock */

uint64_t loop_now_ns(const struct loop *loop)
{
    struct turn_clock *clock = loop->clock;
    if (!clock->valid) {
        clock->now_ns = clock_mono_ns();
        clock->valid = true;
    }
    return clock->now_ns;
}

uint64_t loop_real_us(const struct loop *loop)
{
    struct turn_clock *clock = loop->clock;
    if (!clock->real_valid) {
        clock->real_us = clock_real_us();
        clock->real_valid = true;
    }
    return clock->real_us;
}

static uint64_t tick_of(const struct loop *loop, uint64_t ns)
{
    return (ns - loop->origin_ns) / 1000000;
}

/* The wall clock went back: what libh2o queued in the future would wait for it. Pull it to now. */
static void repair_wall_clock(struct loop *loop)
{
    const uint64_t now = h2o_now(loop->h2o);
    if (now < loop->wall_ms) {
        h2o_linklist_t *all = &loop->h2o->_timeouts;
        for (h2o_linklist_t *node = all->next; node != all; node = node->next) {
            h2o_timeout_t *timeout = H2O_STRUCT_FROM_MEMBER(h2o_timeout_t, _link, node);
            h2o_linklist_t *entries = &timeout->_entries;
            for (h2o_linklist_t *link = entries->next; link != entries; link = link->next) {
                h2o_timeout_entry_t *e = H2O_STRUCT_FROM_MEMBER(h2o_timeout_entry_t, _link, link);
                if (e->registered_at > now)
                    e->registered_at = now;
            }
        }
    }
    loop->wall_ms = now;
}

/* ---- posts */

static void ring(struct loop *loop)
{
    const uint64_t one = 1;
    ssize_t n;
    do
        n = write(loop->bell, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
}

static void wake(struct loop *loop)
{
    if (atomic_exchange(&loop->sleeping, false))
        ring(loop);
}

void loop_post(struct loop *loop, struct loop_post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&loop->mutex);
    *loop->last = post;
    loop->last = &post->next;
    atomic_store(&loop->posts_exist, true);
    /* Under the mutex: the post may run and free the loop's user right after it. */
    wake(loop);
    pthread_mutex_unlock(&loop->mutex);
}

static void run_posts(struct loop *loop)
{
    if (!atomic_load_explicit(&loop->posts_exist, memory_order_acquire))
        return;
    pthread_mutex_lock(&loop->mutex);
    struct loop_post *post = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    atomic_store(&loop->posts_exist, false);
    pthread_mutex_unlock(&loop->mutex);
    while (post != NULL) {
        struct loop_post *next = post->next;
        post->run(post);
        post = next;
    }
}

static void on_bell(h2o_socket_t *sock, const char *err)
{
    (void)err;
    struct loop *loop = sock->data;
    uint64_t count;
    while (read(loop->bell, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

/* ---- life */

maas_status loop_new(uint32_t index, struct loop **out, maas_error *error)
{
    signal(SIGPIPE, SIG_IGN); /* a peer that left is an error of the write, not a signal */
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return fail(error, MAAS_E_INTERNAL, "no memory for an event loop");
    const int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0) {
        free(loop);
        return fail(error, MAAS_E_INTERNAL, "no eventfd for an event loop: errno %d", errno);
    }
    loop->index = index;
    loop->h2o = h2o_evloop_create();
    loop->clock = &loop->clock_memory;
    loop->origin_ns = loop_now_ns(loop);
    loop->wall_ms = h2o_now(loop->h2o);
    wheel_init(&loop->wheel, 0);
    pthread_mutex_init(&loop->mutex, NULL);
    loop->last = &loop->first;
    loop->bell = bell;
    loop->bell_socket = h2o_evloop_socket_create(loop->h2o, bell, H2O_SOCKET_FLAG_DONT_READ);
    loop->bell_socket->data = loop;
    h2o_socket_read_start(loop->bell_socket, on_bell);
    *out = loop;
    return MAAS_OK;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    h2o_socket_close(loop->bell_socket); /* owns the eventfd */
    h2o_evloop_run(loop->h2o, 0);        /* lets closed sockets be freed */
    h2o_evloop_destroy(loop->h2o);       /* leaves its epoll descriptor open: the library's way */
    pthread_mutex_destroy(&loop->mutex);
    free(loop);
}

uint32_t loop_index(const struct loop *loop)
{
    return loop->index;
}

h2o_loop_t *loop_h2o(struct loop *loop)
{
    return loop->h2o;
}

uint64_t loop_slow_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->slow_turns, memory_order_relaxed);
}

uint64_t loop_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turn_number, memory_order_relaxed);
}

void loop_add_turn(struct loop *loop, const struct loop_turn *turn)
{
    CHECK(loop->turn_count < TURNS_MAX);
    loop->turns[loop->turn_count++] = *turn;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    wake(loop);
}

/* ---- timers */

void timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms)
{
    if (timer->due_ns != 0)
        wheel_remove(&loop->wheel, timer);
    timer->loop = loop;
    timer->due_ns = loop_now_ns(loop) + delay_ms * 1000000;
    wheel_add(&loop->wheel, timer, tick_of(loop, timer->due_ns + 999999));
}

void timer_stop(struct timer *timer)
{
    if (timer->due_ns == 0)
        return;
    wheel_remove(&timer->loop->wheel, timer);
    timer->due_ns = 0;
}

static int32_t wait_for_timers(const struct loop *loop, int32_t wait_ms)
{
    const uint64_t next = wheel_next(&loop->wheel);
    const uint64_t now = tick_of(loop, loop_now_ns(loop));
    if (next <= now)
        return 0;
    return next - now < (uint64_t)wait_ms ? (int32_t)(next - now) : wait_ms;
}

/* ---- the turn */

static bool before_poll(struct loop *loop)
{
    bool busy = false;
    for (size_t i = 0; i < loop->turn_count; i++) {
        const struct loop_turn *turn = &loop->turns[i];
        if (turn->before_poll != NULL && turn->before_poll(turn->arg))
            busy = true;
    }
    return busy;
}

static void after_poll(struct loop *loop)
{
    for (size_t i = 0; i < loop->turn_count; i++) {
        const struct loop_turn *turn = &loop->turns[i];
        if (turn->after_poll != NULL)
            turn->after_poll(turn->arg);
    }
}

static void poll_once(struct loop *loop, int32_t wait_ms)
{
    loop->clock->valid = loop->clock->real_valid = false;
    if (h2o_evloop_run(loop->h2o, wait_ms) != 0 && errno != EINTR &&
        loop->failed_turns++ % 1024 == 0)
        LOG(LOG_ERROR, "loop.poll", F_UINT("loop", loop->index), F_INT("errno", errno));
    repair_wall_clock(loop);
}

/* Callbacks of writes that were made outside the library's own run: it polls before it runs them.
 */
static bool library_is_busy(const struct loop *loop)
{
    return loop->h2o->_pending_as_client != NULL || loop->h2o->_pending_as_server != NULL;
}

void loop_once(struct loop *loop, int32_t wait_ms)
{
    if (before_poll(loop) || library_is_busy(loop))
        wait_ms = 0;
    wait_ms = wait_for_timers(loop, wait_ms);
    if (wait_ms > 0) {
        /* Said before the last look: a poster that comes later sees it and rings. */
        atomic_store(&loop->sleeping, true);
        if (atomic_load(&loop->posts_exist) || atomic_load(&loop->stop))
            wait_ms = 0;
    }
    poll_once(loop, wait_ms);
    atomic_store_explicit(&loop->sleeping, false, memory_order_relaxed);
    run_posts(loop);
    wheel_advance(&loop->wheel, tick_of(loop, loop_now_ns(loop)));
    after_poll(loop);
    atomic_fetch_add_explicit(&loop->turn_number, 1, memory_order_relaxed);
    if (clock_mono_ns() - loop_now_ns(loop) > LOOP_SLOW_NS) /* since the turn looked at the clock */
        atomic_fetch_add_explicit(&loop->slow_turns, 1, memory_order_relaxed);
}

/* The library keeps 16 freed buffers of a thread; one is taken and given back with each read, each
 * body and each answer. */
static void keep_buffers(void)
{
    h2o_socket_buffer_prototype.allocator.max = BUFFERS_KEPT;
}

void loop_run(struct loop *loop)
{
    keep_buffers();
    while (!atomic_load(&loop->stop))
        loop_once(loop, IDLE_WAIT_MS);
    atomic_store(&loop->stop, false);
}
