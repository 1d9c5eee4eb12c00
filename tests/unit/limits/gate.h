/* gate.h: what the tests of limits share: a gateway's part of limiting on one loop, and requests
 * that wait for their answer. Header only. */
#ifndef MAAS_TESTS_GATE_H
#define MAAS_TESTS_GATE_H

#include "limits/limits.h"
#include "../../support/loop_until.h"
#include "../../support/redis_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct gate {
    struct loop *loop;
    struct limiter *limiter;
    struct redis *redis;
    struct limits_port *port;
};

static inline bool gate_is_up(void *arg)
{
    return redis_is_up(((struct gate *)arg)->redis);
}

static inline bool gate_is_away(void *arg)
{
    return !gate_is_up(arg);
}

/* Of its own limiter when `limiter` is NULL. */
static inline void gate_open(struct gate *g, struct loop *loop, struct limiter *limiter,
                             const struct redis_private *server, uint32_t call_ms, uint32_t wait_ms)
{
    const struct limiter_config config = { .gateways_max = 1,
                                           .buckets_max = 5000,
                                           .wait_ms = wait_ms };
    *g = (struct gate){ .loop = loop, .limiter = limiter };
    if (!limiter)
        assert_int_equal(limiter_new(&config, &g->limiter, NULL), MAAS_OK);
    if (server)
        assert_int_equal(redis_new(loop, server->address, call_ms, &g->redis, NULL), MAAS_OK);
    assert_int_equal(limits_port_new(g->limiter, loop, g->redis, NULL, &g->port, NULL), MAAS_OK);
    if (server && server->pid)
        assert_true(loop_until(loop, 3000, gate_is_up, g));
    loop_for(loop, 5); /* greeted */
}

static inline void gate_close(struct gate *g)
{
    limits_port_free(g->port);
    redis_free(g->redis);
}

static inline struct limits_counts gate_counts(const struct gate *g)
{
    struct limits_counts counts;
    limits_counts(g->limiter, &counts);
    return counts;
}

/* A rate of units: what a request takes of it is the cost that it names. */
static inline struct limit limit_of_units(enum scope_of_limit scope, const struct uuid *id,
                                          const struct rate *rate, uint64_t created_us)
{
    return (struct limit){ scope, MEASURE_UNITS, *id, { { 0 } }, *rate, created_us };
}

static inline struct bucket *units_get(struct limiter *limiter, enum scope_of_limit scope,
                                       const struct uuid *id, const struct rate *rate,
                                       uint64_t created_us)
{
    const struct limit limit = limit_of_units(scope, id, rate, created_us);
    return bucket_get(limiter, &limit);
}

/* A new limit, full unless `old`. */
static inline struct bucket *gate_bucket(const struct gate *g, uint64_t rate, uint32_t window_ms,
                                         uint64_t burst, bool old)
{
    struct uuid id;
    uuid_random(&id);
    return units_get(g->limiter, LIMIT_KEY, &id, &(struct rate){ rate, window_ms, burst },
                     old ? 1 : clock_real_us() + 5000000);
}

static inline void gate_try(struct limits_port *port, struct bucket *const *buckets, size_t count,
                            uint64_t cost, uint64_t now_ns, struct limits_verdict *out)
{
    limits_try(port, &(struct limits_want){ buckets, count, cost, AWAY_LOCAL }, now_ns, NULL, out);
}

static inline void gate_wait(struct limits_port *port, struct limits_waiter *waiter,
                             struct bucket *const *buckets, size_t count, uint64_t cost,
                             uint64_t now_ns)
{
    limits_wait(port, waiter, &(struct limits_want){ buckets, count, cost, AWAY_LOCAL }, now_ns);
}

struct ask {
    struct limits_waiter waiter; /* first */
    struct limits_verdict verdict;
    bool waited, answered;
    uint64_t start_ns, took_ns; /* by the loop's clock, on which deadlines are counted */
};

static inline void ask_done(struct limits_waiter *waiter, const struct limits_verdict *verdict)
{
    struct ask *a = (struct ask *)waiter;
    a->verdict = *verdict;
    a->answered = true;
    a->took_ns = clock_mono_ns() - a->start_ns;
}

static inline void ask_start(struct ask *a, const struct gate *g, struct bucket *const *buckets,
                             size_t count, uint64_t cost)
{
    uint64_t now = clock_mono_ns();
    *a = (struct ask){ .waiter.done = ask_done, .start_ns = loop_now_ns(g->loop) };
    gate_try(g->port, buckets, count, cost, now, &a->verdict);
    a->answered = a->verdict.outcome != LIMITS_WAIT;
    if (a->answered)
        return;
    a->waited = true;
    gate_wait(g->port, &a->waiter, buckets, count, cost, now);
}

static inline bool ask_is_answered(void *arg)
{
    return ((struct ask *)arg)->answered;
}

/* One request, to its answer. */
static inline struct ask ask_of(const struct gate *g, struct bucket *const *buckets, size_t count,
                                uint64_t cost)
{
    struct ask a;
    ask_start(&a, g, buckets, count, cost);
    if (!a.answered)
        assert_true(loop_until(g->loop, 3000, ask_is_answered, &a));
    assert_true(a.verdict.outcome == LIMITS_YES || a.verdict.outcome == LIMITS_NO);
    return a;
}

/* Requests of one token until one is refused; how many passed. */
static inline uint64_t ask_all(const struct gate *g, struct bucket *bucket, struct ask *out_last)
{
    uint64_t passed = 0;
    for (;;) {
        *out_last = ask_of(g, &bucket, 1, 1);
        if (out_last->verdict.outcome == LIMITS_NO)
            return passed;
        passed++;
    }
}

#endif
