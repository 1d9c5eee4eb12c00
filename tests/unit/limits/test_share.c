/*
 * test_share.c: many gateways on one Redis: the bound and the use of a limit by the spend times on
 * one clock, what a thousand keys cost Redis, and loops in threads of their own.
 */
#include "gate.h"

#include <pthread.h>
#include <stdlib.h>

static struct redis_private server;
static uint64_t seed = 99991;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static int start_redis(void **state)
{
    (void)state;
    redis_private_init(&server);
    redis_private_up(&server);
    return 0;
}

static int stop_redis(void **state)
{
    (void)state;
    redis_private_release(&server);
    return 0;
}

/* ---- requests in a stream: so many a millisecond, each forgotten when it is answered */

struct stream {
    struct timer timer; /* first */
    struct gate *gates;
    struct bucket **buckets; /* of gate g, limit i: buckets[g * limits + i] */
    size_t gate_count, limits;
    double per_ms, due;
    uint64_t last_ns, *spends_ns;
    size_t spends, spends_max, outstanding;
    uint64_t longest_wait_ns;
};

struct streamed {
    struct ask ask; /* first */
    struct stream *stream;
};

static void spent(struct stream *s)
{
    if (s->spends < s->spends_max)
        s->spends_ns[s->spends] = clock_mono_ns();
    s->spends++;
}

static void streamed_done(struct limits_waiter *waiter, const struct limits_verdict *verdict)
{
    struct streamed *r = (struct streamed *)waiter;
    uint64_t took_ns = clock_mono_ns() - r->ask.start_ns;
    r->stream->outstanding--;
    if (took_ns > r->stream->longest_wait_ns)
        r->stream->longest_wait_ns = took_ns;
    if (verdict->outcome == LIMITS_YES)
        spent(r->stream);
    free(r);
}

static void stream_one(struct stream *s)
{
    size_t g = any(s->gate_count);
    struct bucket *b = s->buckets[g * s->limits + any(s->limits)];
    uint64_t now_ns = clock_mono_ns();
    struct limits_verdict verdict;
    gate_try(s->gates[g].port, &b, 1, 1, now_ns, &verdict);
    if (verdict.outcome == LIMITS_YES)
        spent(s);
    if (verdict.outcome != LIMITS_WAIT)
        return;
    struct streamed *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->stream = s;
    r->ask.waiter.done = streamed_done;
    r->ask.start_ns = now_ns;
    s->outstanding++;
    gate_wait(s->gates[g].port, &r->ask.waiter, &b, 1, 1, now_ns);
}

static void on_stream(struct timer *timer)
{
    struct stream *s = (struct stream *)timer;
    uint64_t now_ns = clock_mono_ns();
    s->due += s->per_ms * (double)(now_ns - s->last_ns) / 1e6;
    s->last_ns = now_ns;
    for (; s->due >= 1; s->due--)
        stream_one(s);
    timer_start(timer->loop, timer, 1);
}

static bool stream_is_dry(void *arg)
{
    return ((struct stream *)arg)->outstanding == 0;
}

static void stream_for(struct stream *s, struct loop *loop, uint32_t ms)
{
    s->timer.fire = on_stream;
    s->last_ns = clock_mono_ns();
    timer_start(loop, &s->timer, 1);
    loop_for(loop, ms);
    timer_stop(&s->timer);
    assert_true(loop_until(loop, 2000, stream_is_dry, s));
}

/* Spends of any window beyond b + r*(W + slack). */
static double worst_excess(const struct stream *s, double per_ns, double burst, double slack_ns)
{
    double worst = -burst, best_begin = 1e300;
    for (size_t i = 0; i < s->spends; i++) {
        double line = (double)i - per_ns * (double)(s->spends_ns[i] - s->spends_ns[0]);
        best_begin = line < best_begin ? line : best_begin;
        double excess = line - best_begin + 1 - burst - per_ns * slack_ns;
        worst = excess > worst ? excess : worst;
    }
    return worst;
}

enum { GATES = 3 };

/* The bound is asserted; whether the rate was used is the answer. */
static bool share_once(struct rate rate, double demand, uint32_t ms)
{
    static uint64_t spends_ns[200000];
    struct gate gates[GATES];
    struct bucket *buckets[GATES];
    struct loop *loop;
    struct uuid id;
    uuid_random(&id);
    assert_int_equal(loop_new(0, &loop, NULL), MAAS_OK);
    for (size_t i = 0; i < GATES; i++) {
        gate_open(&gates[i], loop, NULL, &server, 1000, 300);
        buckets[i] = units_get(gates[i].limiter, LIMIT_KEY, &id, &rate, clock_real_us() + 5000000);
    }
    double per_ms = (double)rate.rate / rate.window_ms;
    struct stream s = { .gates = gates,
                        .buckets = buckets,
                        .gate_count = GATES,
                        .limits = 1,
                        .per_ms = demand * per_ms,
                        .spends_ns = spends_ns,
                        .spends_max = COUNT_OF(spends_ns) };
    stream_for(&s, loop, ms);
    uint64_t first_ns = spends_ns[0], length_ns = spends_ns[s.spends - 1] - first_ns, calls = 0;
    for (size_t i = 0; i < GATES; i++) {
        calls += gate_counts(&gates[i]).redis_calls;
        assert_int_equal(gate_counts(&gates[i]).local_decisions, 0);
        bucket_unref(buckets[i]);
        gate_close(&gates[i]);
    }
    loop_free(loop);
    for (size_t i = 0; i < GATES; i++)
        limiter_free(gates[i].limiter);
    /* Single tokens are admitted at their grant and heard of one answer later. */
    double slack_ns = 1e6 + (rate.burst < 20 ? (double)s.longest_wait_ns : 0);
    double excess = worst_excess(&s, per_ms / 1e6, (double)rate.burst, slack_ns);
    double fair = per_ms * (double)length_ns / 1e6;
    print_message("%u per %u ms, burst %u, demand %.2f: %zu spent, beyond the rate %.1f, excess "
                  "%.2f, %.3f calls a request\n",
                  (unsigned)rate.rate, rate.window_ms, (unsigned)rate.burst, demand, s.spends,
                  (double)s.spends - fair, excess, (double)calls / (double)s.spends);
    assert_true(excess <= 0);
    double beyond_burst = (double)s.spends - (demand >= 1.5 ? 0.9 * (double)rate.burst : 0);
    return beyond_burst >= 0.99 * fair;
}

/* A machine that gives this process no time cannot use a rate: one good run of four shows that it
 * is usable. */
static void share(struct rate rate, double demand, uint32_t ms)
{
    for (int tries = 0; tries < 4; tries++)
        if (share_once(rate, demand, ms))
            return;
    fail_msg("the rate was not used");
}

static void three_gateways_together_keep_the_bound_and_use_the_rate(void **state)
{
    (void)state;
    share((struct rate){ 2000, 1000, 500 }, 1.5, 3000);
    share((struct rate){ 500, 1000, 100 }, 3, 3000);
    share((struct rate){ 100, 1000, 10 }, 2, 2000);
}

static void the_bound_holds_at_the_edge_of_demand(void **state)
{
    (void)state;
    share((struct rate){ 1000, 1000, 1000 }, 1.05, 3000);
}

static void a_thousand_keys_at_a_hundred_a_second_cost_a_fifth_of_a_call_each(void **state)
{
    (void)state;
    enum { KEYS = 1000 };
    static struct bucket *buckets[KEYS];
    struct gate gate;
    struct loop *loop;
    assert_int_equal(loop_new(0, &loop, NULL), MAAS_OK);
    gate_open(&gate, loop, NULL, &server, 1000, 300);
    for (size_t i = 0; i < KEYS; i++)
        buckets[i] = gate_bucket(&gate, 1000, 1000, 1000, false);
    struct stream s = { .gates = &gate,
                        .buckets = buckets,
                        .gate_count = 1,
                        .limits = KEYS,
                        .per_ms = MAAS_SANITIZED ? 20 : 100 };
    stream_for(&s, loop, 2000);
    struct limits_counts counts = gate_counts(&gate);
    double per_request = (double)counts.redis_calls / (double)counts.admitted;
    print_message(
        "%zu admitted, %zu rejected, %zu waited, %zu refills, %zu calls: %.4f a request\n",
        (size_t)counts.admitted, (size_t)counts.rejected, (size_t)counts.waited,
        (size_t)counts.refills, (size_t)counts.redis_calls, per_request);
    assert_true(per_request <= 0.2);
    assert_int_equal(counts.rejected, 0);
    for (size_t i = 0; i < KEYS; i++)
        bucket_unref(buckets[i]);
    gate_close(&gate);
    loop_free(loop);
    limiter_free(gate.limiter);
}

/* ---- loops in threads of their own, one limiter */

enum { LOOPS = 3 };
static struct limiter *limiter;
static struct bucket *common;
static pthread_barrier_t barrier;

struct worker {
    pthread_t thread;
    uint64_t passed, refused, longest_wait_ns;
};

/* Requests as fast as their answers come, 32 at a time. */
static void *worker_run(void *arg)
{
    struct worker *w = arg;
    struct loop *loop;
    struct gate gate;
    struct ask asks[32];
    CHECK(loop_new(0, &loop, NULL) == MAAS_OK);
    gate_open(&gate, loop, limiter, &server, 1000, 1000);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < (MAAS_SANITIZED ? 100 : 400); i++) {
        for (size_t k = 0; k < COUNT_OF(asks); k++)
            ask_start(&asks[k], &gate, &common, 1, 1 + k % 2);
        for (size_t k = 0; k < COUNT_OF(asks); k++) {
            if (!asks[k].answered)
                CHECK(loop_until(loop, 3000, ask_is_answered, &asks[k]));
            *(asks[k].verdict.outcome == LIMITS_YES ? &w->passed : &w->refused) += 1 + k % 2;
            if (asks[k].took_ns > w->longest_wait_ns)
                w->longest_wait_ns = asks[k].took_ns;
        }
    }
    gate_close(&gate);
    loop_free(loop);
    return NULL;
}

static void loops_share_one_bucket_and_wake_each_other(void **state)
{
    (void)state;
    const struct limiter_config config = { .gateways_max = 1, .buckets_max = 100, .wait_ms = 1000 };
    struct worker workers[LOOPS];
    struct uuid id;
    memset(workers, 0, sizeof(workers));
    uuid_random(&id);
    assert_int_equal(limiter_new(&config, &limiter, NULL), MAAS_OK);
    common = units_get(limiter, LIMIT_KEY, &id, &(struct rate){ 20000, 1000, 2000 },
                       clock_real_us() + 5000000);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, LOOPS), 0);
    uint64_t start_ns = clock_mono_ns();
    for (size_t i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
    uint64_t passed = 0, refused = 0;
    for (size_t i = 0; i < LOOPS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        passed += workers[i].passed;
        refused += workers[i].refused;
        assert_true(workers[i].longest_wait_ns < 500000000); /* not one sat out wait_ms */
    }
    uint64_t length_ns = clock_mono_ns() - start_ns;
    print_message("%zu passed, %zu refused in %zu ms\n", (size_t)passed, (size_t)refused,
                  (size_t)(length_ns / 1000000));
    assert_true((double)passed <= 2000 + 20000 * (double)length_ns / 1e9);
    assert_true(passed > 1000);
    struct limits_counts counts;
    limits_counts(limiter, &counts);
    assert_int_equal(counts.local_decisions, 0);
    pthread_barrier_destroy(&barrier);
    bucket_unref(common);
    limiter_free(limiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_gateways_together_keep_the_bound_and_use_the_rate),
        cmocka_unit_test(the_bound_holds_at_the_edge_of_demand),
        cmocka_unit_test(a_thousand_keys_at_a_hundred_a_second_cost_a_fifth_of_a_call_each),
        cmocka_unit_test(loops_share_one_bucket_and_wake_each_other),
    };
    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
