/*
 * test_script.c: the Lua in a real Redis beside its model in C, over random sequences, with the
 * time given to both; and once as it is, with Redis' own time.
 */
#include "limits/gcra.h"
#include "limits/script.h"
#include "support/loop_until.h"
#include "support/redis_private.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define BUCKETS 5
#define CALL_MS 1000

static struct redis_private server;
static struct loop *loop;
static struct redis *redis;
static struct redis_script *with_time, *as_it_is;
static char with_time_text[4096];
static uint64_t seed = 1234567;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

struct answer {
    bool here;
    size_t count;
    uint64_t values[2 * SCRIPT_BUCKETS_MAX];
};

static void on_answer(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct answer *a = arg;
    assert_int_equal(status, MAAS_OK);
    if (reply->kind == REDIS_ERROR)
        fail_msg("%.*s", (int)reply->text.len, reply->text.data);
    assert_int_equal(reply->kind, REDIS_ARRAY);
    a->here = true;
    a->count = reply->count;
    for (size_t i = 0; i < reply->count; i++)
        a->values[i] = (uint64_t)reply->items[i].integer;
}

static bool is_here(void *arg)
{
    return ((struct answer *)arg)->here;
}

static bool is_up(void *arg)
{
    return redis_is_up(arg);
}

struct asked {
    const struct gcra_plan *plan;
    struct gcra_ask ask;
};

static uint64_t grace_us; /* of the next call */

/* now_us 0: Redis' own time. */
static struct answer call(const char (*names)[24], const struct asked *asked, size_t count,
                          uint64_t now_us)
{
    char text[1 + SCRIPT_ARGS * SCRIPT_BUCKETS_MAX + 2][24];
    struct str keys[1 + SCRIPT_BUCKETS_MAX] = { STR(SCRIPT_HEARD_KEY) }, args[COUNT_OF(text)];
    size_t n = 0;
    (void)snprintf(text[n++], 24, "%" PRIu64, grace_us);
    for (size_t i = 0; i < count; i++) {
        const struct gcra_plan *p = asked[i].plan;
        const uint64_t words[] = {
            p->num, p->den, p->cap, asked[i].ask.created_us, asked[i].ask.want, asked[i].ask.least
        };
        keys[1 + i] = str_of(names[i]);
        for (size_t k = 0; k < SCRIPT_ARGS; k++)
            (void)snprintf(text[n++], 24, "%" PRIu64, words[k]);
    }
    if (now_us) {
        (void)snprintf(text[n++], 24, "%" PRIu64, now_us / 1000000);
        (void)snprintf(text[n++], 24, "%" PRIu64, now_us % 1000000);
    }
    for (size_t i = 0; i < n; i++)
        args[i] = str_of(text[i]);
    struct answer a = { 0 };
    redis_script_call(now_us ? with_time : as_it_is, keys, 1 + count, args, n, on_answer, &a);
    assert_true(loop_until(loop, 2 * CALL_MS, is_here, &a));
    assert_int_equal(a.count, 2 * count);
    return a;
}

static int set_up(void **state)
{
    (void)state;
    static const char own[] = "redis.call('TIME')";
    const char *at = strstr(limits_script, own);
    CHECK(at);
    (void)snprintf(with_time_text, sizeof(with_time_text), "%.*s{ARGV[#ARGV - 1], ARGV[#ARGV]}%s",
                   (int)(at - limits_script), limits_script, at + sizeof(own) - 1);
    /* … and keys that do not expire by a clock that the test does not move */
    char *ttl = strstr(with_time_text, "string.format('%.0f', ttl)");
    CHECK(ttl);
    memcpy(ttl, "'1000000'                 ", 26);
    redis_private_init(&server);
    redis_private_up(&server);
    CHECK(loop_new(0, &loop, NULL) == MAAS_OK);
    CHECK(redis_new(loop, server.address, CALL_MS, &redis, NULL) == MAAS_OK);
    with_time = redis_script_new(redis, with_time_text);
    as_it_is = redis_script_new(redis, limits_script);
    return loop_until(loop, 3000, is_up, redis) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    redis_free(redis);
    loop_free(loop);
    redis_private_release(&server);
    return 0;
}

static struct gcra_plan any_plan(void)
{
    struct gcra_plan plan;
    struct rate rate = { 1 + any(any(2) ? 50 : 5000000),
                         (uint32_t)(any(2) ? 1000 * (1 + any(60)) : 1 + any(86400000)),
                         1 + any(any(2) ? 100 : 1000000000) };
    gcra_plan_of(&rate, &plan);
    return plan;
}

static struct asked any_ask(const struct gcra_plan *plan, uint64_t epoch_us)
{
    uint64_t want = 1 + any(any(2) ? 3 : plan->cost_max);
    return (struct asked){
        plan,
        { .want = want, .least = 1 + any(want), .created_us = epoch_us - 3000000 + any(6000000) }
    };
}

static void one_sequence(unsigned number)
{
    uint64_t now_us = 1790000000000000ull + any(1000000000), begin_us = now_us;
    struct gcra_heard heard = { 0 };
    char names[BUCKETS][24], text[64];
    struct gcra_plan plans[BUCKETS];
    struct gcra_state states[BUCKETS] = { { 0 } };
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    for (size_t i = 0; i < BUCKETS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "b%u:%zu", number, i);
        plans[i] = any_plan();
    }
    for (int round = 0; round < 60; round++) {
        struct asked asked[BUCKETS];
        size_t count = any(BUCKETS + 1);
        for (size_t i = 0; i < count; i++) {
            if (any(20) == 0)
                plans[i] = any_plan(); /* a changed limit */
            asked[i] = any_ask(&plans[i], begin_us);
        }
        grace_us = any(2) ? GCRA_GRACE_US : 0;
        struct answer got = call((const char(*)[24])names, asked, count, now_us);
        gcra_hear(&heard, now_us);
        for (size_t i = 0; i < count; i++) {
            struct gcra_answer want;
            gcra_take(&states[i], &plans[i], &heard, grace_us, now_us, &asked[i].ask, &want);
            assert_int_equal((int64_t)got.values[2 * i],
                             want.young_us ? -1 : (int64_t)want.granted);
            assert_int_equal(got.values[2 * i + 1], want.young_us ? want.young_us : want.level);
        }
        now_us += any(4) ? any(400000) : any(100000000);
        now_us -= any(10) == 0 ? any(2000000) : 0; /* the clock steps back */
    }
}

static void the_script_and_its_model_agree_to_the_tick(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++)
        one_sequence(i);
}

static void after_a_gap_known_limits_are_shared_at_one_moment_and_from_empty(void **state)
{
    (void)state;
    char text[64], names[1][24] = { "gap" };
    uint64_t now_us = 1790000000000000ull;
    struct gcra_plan plan;
    gcra_plan_of(&(struct rate){ 1000, 1000, 1000 }, &plan);
    struct asked asked = { &plan, { .want = 1000, .least = 1, .created_us = 1 } };
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    grace_us = GCRA_GRACE_US;
    for (int life = 0; life < 2; life++) { /* of the memory, and after a gap in it */
        struct answer a = call((const char(*)[24])names, &asked, 1, now_us);
        assert_int_equal((int64_t)a.values[0], -1);
        assert_int_equal(a.values[1], GCRA_GRACE_US);
        a = call((const char(*)[24])names, &asked, 1, now_us + 400000);
        assert_int_equal(a.values[1], GCRA_GRACE_US - 400000);
        a = call((const char(*)[24])names, &asked, 1, now_us + 510000);
        assert_int_equal(a.values[0], 10); /* since it is shared */
        now_us += 3000000;
    }
    grace_us = 0;
}

static void a_key_lives_until_its_bucket_is_full(void **state)
{
    (void)state;
    char text[64];
    struct gcra_plan plan;
    gcra_plan_of(&(struct rate){ 10, 60000, 10 }, &plan); /* a token is 6 s */
    struct asked asked = { &plan, { .want = 4, .least = 1, .created_us = UINT64_C(1) << 52 } };
    char names[1][24] = { "life" };
    struct answer a = call((const char(*)[24])names, &asked, 1, 0);
    assert_int_equal(a.values[0], 4);
    redis_private_ask(&server, "PTTL life", text, sizeof(text));
    assert_in_range(strtoul(text + 1, NULL, 10), 23000, 24002);
}

static void by_its_own_clock_a_flushed_redis_starts_empty_and_fills_at_the_rate(void **state)
{
    (void)state;
    char text[64];
    struct gcra_plan plan;
    gcra_plan_of(&(struct rate){ 100, 1000, 1000 }, &plan);
    struct asked asked = { &plan, { .want = 1000, .least = 1, .created_us = 1 } };
    char names[1][24] = { "own" };
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    uint64_t start_us = clock_mono_ns() / 1000, granted = 0;
    for (int i = 0; i < 20; i++) {
        granted += call((const char(*)[24])names, &asked, 1, 0).values[0];
        uint64_t elapsed_us = clock_mono_ns() / 1000 - start_us;
        assert_true(granted <= elapsed_us / 10000 + 1);
        loop_for(loop, 20);
    }
    assert_true(granted >= 38 - 1); /* 20 x 20 ms at 100/s, all but the last wait */
}

static void refusals_write_nothing(void **state)
{
    (void)state;
    char text[64];
    struct gcra_plan plan;
    gcra_plan_of(&(struct rate){ 1, 60000, 10 }, &plan);
    struct asked asked = { &plan, { .want = 1, .least = 1, .created_us = 1 } };
    char names[1][24] = { "none" };
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    assert_int_equal(call((const char(*)[24])names, &asked, 1, 0).values[0], 0);
    redis_private_ask(&server, "DBSIZE", text, sizeof(text));
    assert_string_equal(text, ":1\r\n"); /* that it was heard */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_and_its_model_agree_to_the_tick),
        cmocka_unit_test(after_a_gap_known_limits_are_shared_at_one_moment_and_from_empty),
        cmocka_unit_test(a_key_lives_until_its_bucket_is_full),
        cmocka_unit_test(by_its_own_clock_a_flushed_redis_starts_empty_and_fills_at_the_rate),
        cmocka_unit_test(refusals_write_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
