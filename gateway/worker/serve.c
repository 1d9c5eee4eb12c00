/*
 * serve.c: the worker's turns. A turn: drain the rings, run jobs until the turn is over (TURN_NS,
 * or nothing left), wake the loops that have answers. So short jobs share a wake-up and a long one
 * is told at once.
 *
 * Nothing to do: spin for at most SPIN_NS when there is a second core (a sleeping core takes 30 us
 * to wake), then sleep by the channel's protocol.
 */
#include "worker/serve.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/run.h"

#define TURN_NS 50000u
#define SPIN_NS 20000u

struct server {
    struct runner runner;
    bool spins;
};

static bool more_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

maas_status server_new(struct channel *channel, struct engine_model *const *models, uint32_t count,
                       struct server **out, maas_error *error)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a server");
    s->spins = more_cores();
    maas_status status = runner_init(&s->runner, channel, models, count, error);
    if (status != MAAS_OK) {
        server_free(s);
        return status;
    }
    *out = s;
    return MAAS_OK;
}

void server_free(struct server *s)
{
    if (!s)
        return;
    runner_release(&s->runner);
    free(s);
}

const struct server_counts *server_counts(const struct server *s)
{
    return &s->runner.counts;
}

/* ---- the loop */

bool server_turn(struct server *s)
{
    struct runner *r = &s->runner;
    uint64_t start = r->now_ns = clock_mono_ns();
    outbox_retry(&r->outbox);
    bool any = queue_drain(r->queue, start);
    while (r->now_ns - start < TURN_NS && r->outbox.waiting_bytes <= OUTBOX_WAITING_MAX &&
           run_next(r))
        any = true;
    outbox_wake(&r->outbox);
    return any;
}

static void pause_core(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool spin(struct server *s)
{
    uint64_t until = s->runner.now_ns + SPIN_NS;
    while (s->spins && clock_mono_ns() < until) {
        for (int i = 0; i < 16; i++)
            pause_core();
        if (queue_drain(s->runner.queue, s->runner.now_ns))
            return true;
    }
    return false;
}

static void sleep_until_woken(struct server *s)
{
    struct pollfd fd = { .fd = channel_worker_eventfd(s->runner.channel), .events = POLLIN };
    uint64_t count;
    channel_worker_sleeps(s->runner.channel, true);
    /* a loop does not tell when it made room for answers that wait */
    int timeout_ms = s->runner.outbox.waiting_bytes ? 1 : -1;
    if (!queue_drain(s->runner.queue, s->runner.now_ns) && !channel_broken(s->runner.channel) &&
        poll(&fd, 1, timeout_ms) > 0 && read(fd.fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        LOG(LOG_ERROR, "worker.eventfd", F_STR("reason", strerror(errno)));
    channel_worker_sleeps(s->runner.channel, false);
}

bool server_run(struct server *s)
{
    while (!channel_broken(s->runner.channel)) {
        if (!server_turn(s) && !spin(s))
            sleep_until_woken(s);
    }
    return false;
}
