/* test_redis.c: the pipelined connection, against a Redis that is late, killed, frozen and emptied.
 */
#include "store/redis.h"
#include "support/loop_until.h"
#include "support/redis_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define TIMEOUT_MS 50 /* generous: the machine may be busy */

static struct redis_private server;
static struct loop *loop;

struct outcome {
    int count;
    maas_status status;
    int kind;
    int64_t integer;
    char text[64];
    uint64_t at_ns;
};

static void on_done(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct outcome *o = arg;
    o->count++;
    o->status = status;
    o->at_ns = clock_mono_ns();
    o->kind = reply ? (int)reply->kind : -1;
    if (reply && (reply->kind == REDIS_STR || reply->kind == REDIS_ERROR))
        (void)snprintf(o->text, sizeof(o->text), "%.*s", (int)reply->text.len, reply->text.data);
    if (reply && reply->kind == REDIS_INT)
        o->integer = reply->integer;
}

static bool has_outcome(void *arg)
{
    return ((struct outcome *)arg)->count > 0;
}

static bool is_up(void *arg)
{
    return redis_is_up(arg);
}

static bool is_down(void *arg)
{
    return !redis_is_up(arg);
}

static struct redis *connect_up(void)
{
    struct redis *redis = NULL;
    assert_int_equal(redis_new(loop, server.address, TIMEOUT_MS, &redis, NULL), MAAS_OK);
    assert_true(loop_until(loop, 3000, is_up, redis));
    return redis;
}

static struct outcome call(struct redis *redis, const struct str *words, size_t count)
{
    struct outcome o = { 0 };
    redis_call(redis, words, count, on_done, &o);
    assert_int_equal(o.count, 0); /* never from inside the submission */
    assert_true(loop_until(loop, 2000, has_outcome, &o));
    return o;
}

static int set_up(void **state)
{
    (void)state;
    redis_private_init(&server);
    redis_private_up(&server);
    return loop_new(0, &loop, NULL) == MAAS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    redis_private_release(&server);
    return 0;
}

static void a_call_gets_its_answer_of_every_kind(void **state)
{
    (void)state;
    struct redis *redis = connect_up();
    struct outcome o = call(redis, (struct str[]){ STR("SET"), STR("k"), STR("a\r\nb") }, 3);
    assert_int_equal(o.status, MAAS_OK);
    assert_string_equal(o.text, "OK");
    o = call(redis, (struct str[]){ STR("GET"), STR("k") }, 2);
    assert_string_equal(o.text, "a\r\nb");
    o = call(redis, (struct str[]){ STR("INCRBY"), STR("n"), STR("-9007199254740993") }, 3);
    assert_int_equal(o.integer, -9007199254740993);
    o = call(redis, (struct str[]){ STR("GET"), STR("missing") }, 2);
    assert_int_equal(o.kind, REDIS_NIL);
    o = call(redis, (struct str[]){ STR("NONSENSE"), STR("") }, 2);
    assert_int_equal(o.kind, REDIS_ERROR);
    assert_int_equal(o.status, MAAS_OK);
    assert_int_equal(redis_calls(redis), 5);
    redis_free(redis);
}

static void on_nested(void *arg, maas_status status, const struct redis_reply *reply)
{
    assert_int_equal(status, MAAS_OK);
    assert_int_equal(reply->kind, REDIS_ARRAY);
    assert_int_equal(reply->count, 201);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(reply->items[i].integer, i + 1);
    const struct redis_reply *inner = &reply->items[200];
    assert_int_equal(inner->kind, REDIS_ARRAY);
    assert_int_equal(inner->count, 2);
    assert_int_equal(inner->items[0].integer, 7);
    assert_int_equal(inner->items[1].kind, REDIS_ARRAY);
    assert_int_equal(inner->items[1].items[0].integer, 8);
    ((struct outcome *)arg)->count++;
}

static void arrays_arrive_with_all_that_is_in_them(void **state)
{
    (void)state;
    struct redis *redis = connect_up();
    struct redis_script *script = redis_script_new(
        redis, "local t = {} for i = 1, 200 do t[i] = i end t[201] = {7, {8}} return t");
    struct outcome o = { 0 };
    redis_script_call(script, NULL, 0, NULL, 0, on_nested, &o);
    assert_true(loop_until(loop, 1000, has_outcome, &o));
    redis_free(redis);
}

static void a_script_survives_script_flush(void **state)
{
    (void)state;
    char text[64];
    struct redis *redis = connect_up();
    struct redis_script *script =
        redis_script_new(redis, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for (int64_t i = 1; i <= 6; i++) {
        struct outcome o = { 0 };
        redis_script_call(script, &STR("sum"), 1, &STR("2"), 1, on_done, &o);
        assert_true(loop_until(loop, 1000, has_outcome, &o));
        assert_int_equal(o.status, MAAS_OK);
        assert_int_equal(o.kind, REDIS_INT);
        assert_int_equal(o.integer, 2 * i); /* each exactly once */
        if (i % 2 == 0)
            redis_private_ask(&server, "SCRIPT FLUSH", text, sizeof(text));
    }
    redis_free(redis);
}

static void a_redis_that_comes_late_is_found_within_two_seconds(void **state)
{
    (void)state;
    redis_private_down(&server);
    struct redis *redis = NULL;
    assert_int_equal(redis_new(loop, server.address, TIMEOUT_MS, &redis, NULL), MAAS_OK);
    loop_for(loop, 300);
    assert_false(redis_is_up(redis));
    assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_E_UNAVAILABLE);
    redis_private_up(&server);
    assert_true(loop_until(loop, 2000, is_up, redis));
    redis_free(redis);
}

static void a_killed_redis_fails_what_is_pending_and_is_found_again(void **state)
{
    (void)state;
    struct redis *redis = connect_up();
    struct outcome o = { 0 };
    redis_private_freeze(&server);
    redis_call(redis, &STR("PING"), 1, on_done, &o);
    loop_for(loop, 2);
    redis_private_down(&server);
    assert_true(loop_until(loop, 1000, has_outcome, &o));
    assert_int_equal(o.status, MAAS_E_UNAVAILABLE);
    assert_false(redis_is_up(redis));
    redis_private_up(&server);
    assert_true(loop_until(loop, 2000, is_up, redis));
    assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_OK);
    assert_int_equal(o.count, 1);
    redis_free(redis);
}

static void a_hanging_redis_costs_one_deadline_and_then_nothing(void **state)
{
    (void)state;
    struct redis *redis = connect_up();
    redis_private_freeze(&server);
    uint64_t start_ns = loop_now_ns(loop); /* the loop's clock: deadlines are counted on it */
    struct outcome o = call(redis, &STR("PING"), 1);
    assert_int_equal(o.status, MAAS_E_DEADLINE);
    assert_true(o.at_ns - start_ns >= TIMEOUT_MS * 1000000ull);
    uint64_t sent = redis_calls(redis);
    for (int i = 0; i < 20; i++) { /* over a second: through the reconnects, too */
        assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_E_UNAVAILABLE);
        loop_for(loop, 60);
    }
    assert_int_equal(redis_calls(redis), sent);
    redis_private_thaw(&server);
    assert_true(loop_until(loop, 2000, is_up, redis));
    assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_OK);
    redis_free(redis);
}

static void a_hiccup_costs_no_reconnect(void **state)
{
    (void)state;
    char clients[64];
    struct redis *redis = connect_up();
    redis_private_ask(&server, "CONFIG RESETSTAT", clients, sizeof(clients));
    redis_private_freeze(&server);
    assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_E_DEADLINE);
    assert_false(redis_is_up(redis));
    redis_private_thaw(&server);
    assert_true(loop_until(loop, 400, is_up, redis));
    struct outcome o = call(redis, (struct str[]){ STR("INFO"), STR("stats") }, 2);
    assert_int_equal(o.status, MAAS_OK);
    assert_non_null(strstr(o.text, "total_connections_received:0"));
    redis_free(redis);
}

static void three_missed_deadlines_in_a_row_drop_the_connection(void **state)
{
    (void)state;
    struct redis *redis = connect_up();
    for (int i = 0; i < 3; i++) {
        assert_true(redis_is_up(redis));
        redis_private_freeze(&server);
        assert_int_equal(call(redis, &STR("PING"), 1).status, MAAS_E_DEADLINE);
        redis_private_thaw(&server);
        if (i < 2)
            assert_true(loop_until(loop, 400, is_up, redis));
    }
    loop_for(loop, 10);
    assert_false(redis_is_up(redis)); /* though Redis answers again */
    assert_true(loop_until(loop, 2000, is_up, redis));
    redis_free(redis);
}

static void a_flood_is_bounded_and_every_call_is_answered_once(void **state)
{
    (void)state;
    enum { CALLS = 6000 };
    static struct outcome o[CALLS];
    memset(o, 0, sizeof(o));
    struct redis *redis = connect_up();
    for (size_t i = 0; i < CALLS; i++)
        redis_call(redis, &STR("PING"), 1, on_done, &o[i]);
    loop_for(loop, 500);
    size_t good = 0;
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(o[i].count, 1);
        good += o[i].status == MAAS_OK;
    }
    assert_in_range(good, 1, 4096);
    assert_int_equal(redis_calls(redis), 4096);
    redis_free(redis);
}

static void freeing_tells_those_who_wait(void **state)
{
    (void)state;
    struct outcome o[3] = { { 0 } };
    struct redis *redis = connect_up();
    redis_private_freeze(&server);
    for (size_t i = 0; i < 2; i++)
        redis_call(redis, &STR("PING"), 1, on_done, &o[i]);
    assert_true(loop_until(loop, 1000, is_down, redis)); /* both deadlines missed: husks now */
    redis_call(redis, &STR("PING"), 1, on_done, &o[2]);
    redis_free(redis);
    redis_private_thaw(&server);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(o[i].count, 1);
    assert_int_equal(o[0].status, MAAS_E_DEADLINE);
    assert_int_equal(o[2].status, MAAS_E_UNAVAILABLE);
}

static void an_address_that_is_none_is_refused_with_its_text(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",      "unix:",       "localhost",       "localhost:",
        ":6379", "localhost:0", "localhost:65536", "localhost:6379x"
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct redis *redis = NULL;
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(redis_new(loop, wrong[i], 10, &redis, &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, wrong[i]));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_call_gets_its_answer_of_every_kind),
        TEST(arrays_arrive_with_all_that_is_in_them),
        TEST(a_script_survives_script_flush),
        TEST(a_redis_that_comes_late_is_found_within_two_seconds),
        TEST(a_killed_redis_fails_what_is_pending_and_is_found_again),
        TEST(a_hanging_redis_costs_one_deadline_and_then_nothing),
        TEST(a_hiccup_costs_no_reconnect),
        TEST(three_missed_deadlines_in_a_row_drop_the_connection),
        TEST(a_flood_is_bounded_and_every_call_is_answered_once),
        TEST(freeing_tells_those_who_wait),
        TEST(an_address_that_is_none_is_refused_with_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
