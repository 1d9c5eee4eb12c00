/* test_outage.c: admission while Redis hangs, dies, forgets or refuses. */
#include "gate.h"

static struct redis_private server;
static struct loop *loop;
static struct gate gate;

#define WAIT_MS 10 /* as in production */

static int set_up(void **state)
{
    (void)state;
    redis_private_init(&server);
    redis_private_up(&server);
    CHECK(loop_new(0, &loop, NULL) == MAAS_OK);
    gate_open(&gate, loop, NULL, &server, WAIT_MS, WAIT_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_close(&gate);
    loop_free(loop);
    limiter_free(gate.limiter);
    redis_private_release(&server);
    return 0;
}

/* Spends what is in hand, so that the next request needs Redis. */
static void spend_hand(struct bucket *b)
{
    struct limits_verdict verdict;
    do
        gate_try(gate.port, &b, 1, 1, clock_mono_ns(), &verdict);
    while (verdict.outcome == LIMITS_YES);
    loop_for(loop, 3);
}

static void a_frozen_redis_costs_ten_milliseconds_once(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 100000, 1000, 100000, false);
    assert_int_equal(ask_of(&gate, &b, 1, 1).verdict.outcome, LIMITS_YES);
    loop_for(loop, 300); /* the lease in hand expires */
    redis_private_freeze(&server);
    struct ask a = ask_of(&gate, &b, 1, 1);
    assert_true(a.waited);
    assert_true(a.took_ns >= WAIT_MS * 1000000ull);
    assert_true(a.took_ns < 1000000000); /* far below a reconnect */
    assert_true(a.verdict.local);
    uint64_t calls = gate_counts(&gate).redis_calls;
    for (int i = 0; i < 150; i++) { /* 1.5 s: through reconnects */
        a = ask_of(&gate, &b, 1, 1);
        assert_false(a.waited);
        assert_true(a.verdict.local);
        loop_for(loop, 10);
    }
    assert_int_equal(gate_counts(&gate).redis_calls, calls);
    assert_true(gate_counts(&gate).refill_timeouts <= 1);
    redis_private_thaw(&server);
    assert_true(loop_until(loop, 2000, gate_is_up, &gate));
    loop_for(loop, 5);
    assert_false(ask_of(&gate, &b, 1, 1).verdict.local);
    bucket_unref(b);
}

static void a_killed_redis_leaves_a_local_bucket_that_starts_empty(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 100, 1000, 100, false);
    assert_int_equal(ask_of(&gate, &b, 1, 1).verdict.outcome, LIMITS_YES);
    redis_private_down(&server);
    assert_true(loop_until(loop, 1000, gate_is_away, &gate));
    uint64_t start_ns = clock_mono_ns(), passed = 0;
    struct ask a;
    do {
        a = ask_of(&gate, &b, 1, 1);
        passed += a.verdict.outcome == LIMITS_YES;
        if (a.verdict.outcome == LIMITS_NO)
            assert_in_range(a.verdict.retry_after_ms, 1, 10);
        loop_for(loop, 2);
    } while (clock_mono_ns() < start_ns + 500000000);
    assert_true(a.verdict.local);
    double fair = (double)(clock_mono_ns() - start_ns) / 1e7;
    assert_true((double)passed <= fair + 12); /* a lease of at most ten was in hand */
    assert_true((double)passed >= 0.9 * fair - 2);
    assert_true(gate_counts(&gate).local_decisions > 0);
    redis_private_up(&server);
    assert_true(loop_until(loop, 2000, gate_is_up, &gate));
    loop_for(loop, 100);
    a = ask_of(&gate, &b, 1, 1);
    assert_false(a.verdict.local);
    bucket_unref(b);
}

static void without_redis_from_the_start_limits_hold_locally_until_it_comes(void **state)
{
    (void)state;
    struct gate late;
    redis_private_down(&server);
    gate_open(&late, loop, NULL, &server, WAIT_MS, WAIT_MS);
    struct bucket *b = gate_bucket(&late, 50, 1000, 50, true);
    struct ask a;
    loop_for(loop, 200);
    assert_in_range(ask_all(&late, b, &a), 8, 13); /* since the port began */
    assert_true(a.verdict.local);
    redis_private_up(&server);
    assert_true(loop_until(loop, 2000, gate_is_up, &late));
    bucket_unref(b);
    gate_close(&late);
    limiter_free(late.limiter);
}

static void a_flushed_redis_starts_every_known_limit_empty(void **state)
{
    (void)state;
    char text[64];
    struct bucket *b = gate_bucket(&gate, 100, 60000, 15, true);
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    struct ask last;
    assert_int_equal(ask_all(&gate, b, &last), 0);
    assert_false(last.verdict.local);
    assert_in_range(last.verdict.retry_after_ms, 500, 600); /* the first token of an empty bucket */
    loop_for(loop, (uint32_t)last.verdict.retry_after_ms);
    assert_int_equal(ask_all(&gate, b, &last), 1);
    bucket_unref(b);
}

static void a_restarted_redis_starts_every_known_limit_empty(void **state)
{
    (void)state;
    struct ask last;
    struct bucket *b = gate_bucket(&gate, 600, 60000, 15, true);
    redis_private_down(&server);
    assert_true(loop_until(loop, 1000, gate_is_away, &gate));
    redis_private_up(&server);
    assert_true(loop_until(loop, 2000, gate_is_up, &gate));
    loop_for(loop, 350);
    assert_in_range(ask_all(&gate, b, &last), 2, 6); /* 0.3 s and a little since it was seen */
    bucket_unref(b);
}

static void a_redis_that_refuses_to_write_is_not_stormed(void **state)
{
    (void)state;
    char text[64];
    struct bucket *b = gate_bucket(&gate, 100000, 1000, 100000, false);
    assert_int_equal(ask_of(&gate, &b, 1, 1).verdict.outcome, LIMITS_YES);
    redis_private_ask(&server, "CONFIG SET maxmemory 1", text, sizeof(text));
    loop_for(loop, 200);
    spend_hand(b);
    uint64_t calls = gate_counts(&gate).redis_calls;
    struct ask a;
    for (int i = 0; i < 200; i++) {
        a = ask_of(&gate, &b, 1, 1);
        loop_for(loop, 1);
    }
    assert_true(a.verdict.local);
    assert_in_range(gate_counts(&gate).redis_calls - calls, 0, 12);
    redis_private_ask(&server, "CONFIG SET maxmemory 0", text, sizeof(text));
    loop_for(loop, 150);
    assert_false(ask_of(&gate, &b, 1, 1).verdict.local);
    bucket_unref(b);
}

static void a_crowd_that_waits_for_a_frozen_redis_is_answered_together(void **state)
{
    (void)state;
    static struct ask crowd[500];
    struct bucket *b = gate_bucket(&gate, 100000, 1000, 100000, false);
    redis_private_freeze(&server);
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        ask_start(&crowd[i], &gate, &b, 1, 1);
    loop_for(loop, 60);
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        assert_true(crowd[i].answered);
        assert_true(crowd[i].verdict.local);
        assert_true(crowd[i].took_ns < WAIT_MS * 1000000ull + 20000000);
    }
    redis_private_thaw(&server);
    bucket_unref(b);
}

static void without_a_redis_at_all_every_decision_is_local(void **state)
{
    (void)state;
    struct gate alone;
    struct ask last;
    gate_open(&alone, loop, NULL, NULL, WAIT_MS, WAIT_MS);
    struct bucket *b = gate_bucket(&alone, 100, 1000, 100, false);
    loop_for(loop, 100);
    assert_in_range(ask_all(&alone, b, &last), 9, 20);
    assert_true(last.verdict.local);
    assert_int_equal(gate_counts(&alone).redis_calls, 0);
    bucket_unref(b);
    gate_close(&alone);
    limiter_free(alone.limiter);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_frozen_redis_costs_ten_milliseconds_once),
        TEST(a_killed_redis_leaves_a_local_bucket_that_starts_empty),
        TEST(without_redis_from_the_start_limits_hold_locally_until_it_comes),
        TEST(a_flushed_redis_starts_every_known_limit_empty),
        TEST(a_restarted_redis_starts_every_known_limit_empty),
        TEST(a_redis_that_refuses_to_write_is_not_stormed),
        TEST(a_crowd_that_waits_for_a_frozen_redis_is_answered_together),
        TEST(without_a_redis_at_all_every_decision_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
