/* test_limits.c: admission over a real Redis: leases, waiting, refusing, several limits at once. */
#include "gate.h"

#include <stdlib.h>

static struct redis_private server;
static struct loop *loop;
static struct gate gate;

static int set_up(void **state)
{
    (void)state;
    CHECK(loop_new(0, &loop, NULL) == MAAS_OK);
    gate_open(&gate, loop, NULL, &server, 200, 200);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char text[64];
    gate_close(&gate);
    loop_free(loop);
    limiter_free(gate.limiter);
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    return 0;
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

static void a_new_limit_admits_its_burst_and_then_says_when(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 10, 60000, 10, false);
    struct ask last = ask_of(&gate, &b, 1, 1);
    assert_int_equal(last.verdict.outcome, LIMITS_YES);
    assert_true(last.waited);
    assert_ptr_equal(last.verdict.tightest, b);
    assert_int_equal(last.verdict.limit, 10);
    assert_int_equal(last.verdict.window_s, 60);
    assert_int_equal(last.verdict.remaining, 9);
    assert_in_range(last.verdict.reset_ms, 5000, 6000);
    assert_int_equal(ask_all(&gate, b, &last), 9);
    assert_in_range(last.verdict.retry_after_ms, 5000, 6000);
    assert_int_equal(last.verdict.remaining, 0);
    assert_in_range(last.verdict.reset_ms, 59000, 60000);
    assert_false(last.verdict.local);
    bucket_unref(b);
}

static void a_request_passes_when_its_retry_after_is_over(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 20, 1000, 5, false);
    struct ask last;
    (void)ask_all(&gate, b, &last);
    for (int i = 0; i < 5; i++) {
        loop_for(loop, (uint32_t)last.verdict.retry_after_ms);
        assert_int_equal(ask_of(&gate, &b, 1, 1).verdict.outcome, LIMITS_YES);
        last = ask_of(&gate, &b, 1, 1);
        assert_int_equal(last.verdict.outcome, LIMITS_NO);
        assert_in_range(last.verdict.retry_after_ms, 1, 50);
    }
    bucket_unref(b);
}

static void more_than_a_limit_holds_is_refused_for_ever_at_once(void **state)
{
    (void)state;
    struct bucket *small = gate_bucket(&gate, 10, 1000, 10, false);
    struct bucket *large = gate_bucket(&gate, 1000, 1000, 1000, false);
    struct bucket *both[] = { large, small };
    struct ask a = ask_of(&gate, both, 2, 11);
    assert_int_equal(a.verdict.outcome, LIMITS_NO);
    assert_int_equal(a.verdict.retry_after_ms, UINT64_MAX);
    assert_ptr_equal(a.verdict.tightest, small);
    assert_false(a.waited);
    assert_int_equal(gate_counts(&gate).refills, 0);
    assert_int_equal(ask_of(&gate, &small, 1, 10).verdict.outcome, LIMITS_YES);
    assert_int_equal(ask_of(&gate, &large, 1, 901).verdict.retry_after_ms, UINT64_MAX);
    assert_int_equal(ask_of(&gate, &large, 1, 900).verdict.outcome, LIMITS_YES);
    bucket_unref(small);
    bucket_unref(large);
}

static void a_refused_request_costs_no_limit_anything(void **state)
{
    (void)state;
    struct bucket *tenant = gate_bucket(&gate, 19, 60000, 19, false);
    struct bucket *key = gate_bucket(&gate, 2, 60000, 2, false);
    struct bucket *both[] = { tenant, key };
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask_of(&gate, both, 2, 1).verdict.outcome, LIMITS_YES);
    for (int i = 0; i < 50; i++) {
        struct ask a = ask_of(&gate, both, 2, 1);
        assert_int_equal(a.verdict.outcome, LIMITS_NO);
        assert_ptr_equal(a.verdict.tightest, key);
    }
    struct ask last;
    assert_int_equal(ask_all(&gate, tenant, &last), 17);
    bucket_unref(tenant);
    bucket_unref(key);
}

static void refusals_are_answered_without_redis(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 10, 60000, 10, false);
    struct ask last;
    (void)ask_all(&gate, b, &last);
    uint64_t calls = gate_counts(&gate).redis_calls;
    for (int i = 0; i < 5000; i++) {
        last = ask_of(&gate, &b, 1, 1);
        assert_int_equal(last.verdict.outcome, LIMITS_NO);
        assert_false(last.waited);
    }
    assert_int_equal(gate_counts(&gate).redis_calls, calls);
    assert_int_equal(gate_counts(&gate).rejected, 5001);
    bucket_unref(b);
}

static void a_crowd_that_waits_shares_one_call(void **state)
{
    (void)state;
    static struct ask crowd[100];
    struct bucket *b = gate_bucket(&gate, 60, 60000, 60, false); /* 59 with leases' share off */
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        ask_start(&crowd[i], &gate, &b, 1, 1);
    loop_for(loop, 100);
    size_t passed = 0;
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        assert_true(crowd[i].answered);
        assert_true(crowd[i].verdict.outcome == (i < 59 ? LIMITS_YES : LIMITS_NO)); /* in order */
        passed += crowd[i].verdict.outcome == LIMITS_YES;
    }
    assert_int_equal(passed, 59);
    struct limits_counts counts = gate_counts(&gate);
    assert_int_equal(counts.waited, 100);
    assert_int_equal(counts.redis_calls, 1);
    assert_int_equal(counts.admitted, 59);
    assert_int_equal(counts.rejected, 41);
    bucket_unref(b);
}

static void refills_of_one_turn_go_out_as_one_call(void **state)
{
    (void)state;
    static struct ask asks[64];
    struct bucket *buckets[64];
    for (size_t i = 0; i < 64; i++) {
        buckets[i] = gate_bucket(&gate, 100, 1000, 100, false);
        ask_start(&asks[i], &gate, &buckets[i], 1, 1);
    }
    loop_for(loop, 50);
    for (size_t i = 0; i < 64; i++) {
        assert_true(asks[i].answered && asks[i].verdict.outcome == LIMITS_YES);
        bucket_unref(buckets[i]);
    }
    assert_int_equal(gate_counts(&gate).redis_calls, 1);
    assert_int_equal(gate_counts(&gate).refills, 64);
}

/* Has tokens leased for `count` requests, all but one of which leave before they spend theirs;
 * Redis answers 60 ms late. Returns a time before the call. */
static uint64_t lease_and_leave(struct bucket *b, size_t count)
{
    static struct ask asks[16];
    uint64_t sent_ns = clock_mono_ns();
    for (size_t i = 0; i < count; i++)
        ask_start(&asks[i], &gate, &b, 1, 1);
    redis_private_freeze(&server);
    loop_for(loop, 60); /* the call has left, for all of them */
    for (size_t i = 1; i < count; i++)
        limits_cancel(gate.port, &asks[i].waiter);
    redis_private_thaw(&server);
    assert_true(loop_until(loop, 1000, ask_is_answered, &asks[0]));
    assert_int_equal(asks[0].verdict.outcome, LIMITS_YES);
    return sent_ns;
}

static int outcome_at(struct bucket *const *buckets, size_t count, uint64_t now_ns)
{
    struct limits_verdict verdict;
    gate_try(gate.port, buckets, count, 1, now_ns, &verdict);
    return verdict.outcome;
}

static void a_lease_ages_from_before_its_call_was_sent(void **state)
{
    (void)state;
    const uint64_t t_ns = 1000000000; /* min(1 s, b/10r) */
    struct bucket *b = gate_bucket(&gate, 100, 60000, 100, false);
    uint64_t sent_ns = lease_and_leave(b, 8);
    assert_int_equal(outcome_at(&b, 1, sent_ns + 900000000), LIMITS_YES);
    assert_int_not_equal(outcome_at(&b, 1, sent_ns + t_ns), LIMITS_YES);
    assert_int_equal(outcome_at(&b, 1, sent_ns + t_ns - 10000000), LIMITS_YES); /* time is given */
    bucket_unref(b);
}

static void what_some_limits_gave_is_given_back_when_another_has_none(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 100, 60000, 100, false);
    struct bucket *twice[] = { b, b }; /* the look sees a token for each, the taking does not */
    (void)lease_and_leave(b, 8);
    uint64_t now_ns = clock_mono_ns(), in_hand = 0;
    while (outcome_at(twice, 2, now_ns) == LIMITS_YES)
        in_hand += 2;
    assert_int_equal(in_hand, 6); /* of seven */
    assert_int_equal(outcome_at(&b, 1, now_ns), LIMITS_YES);
    assert_int_not_equal(outcome_at(&b, 1, now_ns), LIMITS_YES);
    bucket_unref(b);
}

static void a_cancelled_waiter_hears_nothing(void **state)
{
    (void)state;
    struct bucket *b = gate_bucket(&gate, 100, 1000, 100, false);
    struct ask *a = calloc(2, sizeof(*a));
    ask_start(&a[0], &gate, &b, 1, 1);
    ask_start(&a[1], &gate, &b, 1, 1);
    limits_cancel(gate.port, &a[0].waiter);
    limits_cancel(gate.port, &a[0].waiter); /* harmless twice */
    assert_true(loop_until(loop, 1000, ask_is_answered, &a[1]));
    assert_false(a[0].answered);
    limits_cancel(gate.port, &a[1].waiter); /* and after the answer */
    free(a);
    bucket_unref(b);
}

static void closing_a_port_answers_those_who_wait(void **state)
{
    (void)state;
    struct gate other;
    struct ask a;
    gate_open(&other, loop, NULL, &server, 200, 200);
    struct bucket *b = gate_bucket(&other, 100, 1000, 100, false);
    ask_start(&a, &other, &b, 1, 1);
    assert_false(a.answered);
    gate_close(&other);
    assert_true(a.answered);
    assert_true(a.verdict.local);
    loop_for(loop, 20); /* the loop runs on */
    bucket_unref(b);
    limiter_free(other.limiter);
}

static void without_limits_everything_passes(void **state)
{
    (void)state;
    struct ask a = ask_of(&gate, NULL, 0, 1);
    assert_int_equal(a.verdict.outcome, LIMITS_YES);
    assert_null(a.verdict.tightest);
}

static void a_bucket_is_found_again_and_renewed_when_its_rate_changes(void **state)
{
    (void)state;
    struct uuid id;
    uuid_random(&id);
    struct rate rate = { 10, 60000, 10 }, lower = { 4, 60000, 4 };
    uint64_t young = clock_real_us() + 5000000;
    struct bucket *a = units_get(gate.limiter, LIMIT_KEY, &id, &rate, young);
    struct bucket *same = units_get(gate.limiter, LIMIT_KEY, &id, &rate, young);
    struct bucket *other = units_get(gate.limiter, LIMIT_TENANT, &id, &rate, young);
    assert_ptr_equal(a, same);
    assert_ptr_not_equal(a, other);
    for (int i = 0; i < 8; i++)
        assert_int_equal(ask_of(&gate, &a, 1, 1).verdict.outcome, LIMITS_YES);
    struct bucket *renewed = units_get(gate.limiter, LIMIT_KEY, &id, &lower, young);
    assert_ptr_not_equal(a, renewed);
    struct ask last;
    assert_int_equal(ask_all(&gate, renewed, &last), 2); /* the level in Redis is kept */
    bucket_unref(a);
    bucket_unref(same);
    bucket_unref(other);
    bucket_unref(renewed);
}

static void buckets_out_of_use_make_room_for_others(void **state)
{
    (void)state;
    struct limiter *limiter;
    const struct limiter_config config = { .gateways_max = 1, .buckets_max = 10, .wait_ms = 10 };
    const struct rate rate = { 1, 1000, 1 };
    struct bucket *held[10];
    struct uuid id;
    assert_int_equal(limiter_new(&config, &limiter, NULL), MAAS_OK);
    for (int i = 0; i < 1000; i++) {
        uuid_random(&id);
        bucket_unref(units_get(limiter, LIMIT_KEY, &id, &rate, 0));
    }
    for (size_t i = 0; i < 10; i++) {
        uuid_random(&id);
        held[i] = units_get(limiter, LIMIT_KEY, &id, &rate, 0);
        assert_non_null(held[i]);
    }
    uuid_random(&id);
    assert_null(units_get(limiter, LIMIT_KEY, &id, &rate, 0)); /* all in use */
    bucket_unref(held[3]);
    held[3] = units_get(limiter, LIMIT_KEY, &id, &rate, 0);
    assert_non_null(held[3]);
    for (size_t i = 0; i < 10; i++)
        bucket_unref(held[i]);
    limiter_free(limiter);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_new_limit_admits_its_burst_and_then_says_when),
        TEST(a_request_passes_when_its_retry_after_is_over),
        TEST(more_than_a_limit_holds_is_refused_for_ever_at_once),
        TEST(a_refused_request_costs_no_limit_anything),
        TEST(refusals_are_answered_without_redis),
        TEST(a_crowd_that_waits_shares_one_call),
        TEST(refills_of_one_turn_go_out_as_one_call),
        TEST(a_lease_ages_from_before_its_call_was_sent),
        TEST(what_some_limits_gave_is_given_back_when_another_has_none),
        TEST(a_cancelled_waiter_hears_nothing),
        TEST(closing_a_port_answers_those_who_wait),
        TEST(without_limits_everything_passes),
        TEST(a_bucket_is_found_again_and_renewed_when_its_rate_changes),
        TEST(buckets_out_of_use_make_room_for_others),
    };
    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
