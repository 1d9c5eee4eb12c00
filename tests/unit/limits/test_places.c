/*
 * test_places.c: concurrency: the counters in memory, the Lua beside its model, gateways that share
 * a limit on a real Redis, and what outages do to it.
 */
#include "gate.h"
#include "limits/bucket.h"

#include <inttypes.h>
#include <pthread.h>

static struct redis_private server;
static struct loop *loop;
static uint64_t seed = 424242;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static int start(void **state)
{
    (void)state;
    redis_private_init(&server);
    redis_private_up(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_private_release(&server);
    return 0;
}

/* ---- in memory */

static void places_are_taken_up_to_what_is_granted_and_the_limit(void **state)
{
    (void)state;
    struct places p = { 0 };
    uint32_t used;
    assert_false(places_take(&p, 10, 1));
    assert_int_equal(places_ask(&p, 3, 10, &used), 3);
    assert_int_equal(used, 0);
    places_grant(&p, 3, 1000);
    assert_int_equal(places_granted(&p, 999), 3);
    assert_int_equal(places_granted(&p, 1000), 0);
    for (int i = 0; i < 2; i++)
        assert_true(places_take(&p, 10, 999));
    assert_false(places_take(&p, 2, 999)); /* the limit was lowered */
    assert_false(places_take(&p, 10, 1000));
    assert_true(places_take(&p, 10, 999));
    assert_false(places_take(&p, 10, 999));
    assert_false(places_take_alone(&p, 3));
    assert_true(places_take_alone(&p, 4));
    assert_int_equal(places_used(&p), 4);
    for (int i = 0; i < 4; i++)
        places_give_back(&p);
    assert_int_equal(places_used(&p), 0);
}

static void what_is_asked_follows_the_peak_and_lowers_the_grant_at_once(void **state)
{
    (void)state;
    struct places p = { 0 };
    uint32_t used;
    places_grant(&p, 40, 1000);
    for (int i = 0; i < 20; i++)
        assert_true(places_take(&p, 100, 1));
    for (int i = 0; i < 18; i++)
        places_give_back(&p);
    assert_int_equal(places_ask(&p, 0, 100, &used), 22); /* the peak of 20 and an eighth */
    assert_int_equal(used, 2);
    assert_int_equal(places_granted(&p, 1), 22);
    assert_int_equal(places_ask(&p, 0, 100, &used), 2); /* since then */
    assert_int_equal(places_granted(&p, 1), 2);
    assert_false(places_take(&p, 100, 1));
    assert_int_equal(places_ask(&p, 500, 100, &used), 100);
    assert_int_equal(places_granted(&p, 1), 2); /* raised by an answer only */
}

struct hammer {
    struct places places;
    _Atomic uint32_t inside, most;
    _Atomic bool ending;
};

static void *hammer_run(void *arg)
{
    struct hammer *h = arg;
    while (!atomic_load(&h->ending)) {
        if (!places_take(&h->places, 7, 1))
            continue;
        uint32_t inside = atomic_fetch_add(&h->inside, 1) + 1, most = atomic_load(&h->most);
        while (inside > most && !atomic_compare_exchange_weak(&h->most, &most, inside)) {
        }
        atomic_fetch_sub(&h->inside, 1);
        places_give_back(&h->places);
    }
    return NULL;
}

static void threads_never_hold_more_than_was_granted(void **state)
{
    (void)state;
    static struct hammer h;
    pthread_t threads[4];
    uint32_t used;
    places_grant(&h.places, 7, 100);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_run, &h), 0);
    for (int i = 0; i < 20000 || atomic_load(&h.most) < 3;
         i++) { /* lowering tells exactly who is inside */
        uint32_t want = places_ask(&h.places, 0, 3, &used);
        assert_true(used <= 7 && want <= 3);
        places_grant(&h.places, i % 2 ? 3 : 7, 100);
    }
    atomic_store(&h.ending, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_in_range(atomic_load(&h.most), 1, 7);
    assert_int_equal(places_used(&h.places), 0);
}

/* ---- the script beside its model */

enum { LESSEES = 4 };

struct reply {
    bool here;
    int64_t values[PLACES_ANSWERS];
};

static void on_reply(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct reply *r = arg;
    assert_int_equal(status, MAAS_OK);
    if (reply->kind == REDIS_ERROR)
        fail_msg("%.*s", (int)reply->text.len, reply->text.data);
    assert_int_equal(reply->count, PLACES_ANSWERS);
    for (size_t i = 0; i < PLACES_ANSWERS; i++)
        r->values[i] = reply->items[i].integer;
    r->here = true;
}

static bool is_here(void *arg)
{
    return ((struct reply *)arg)->here;
}

static bool is_up(void *arg)
{
    return redis_is_up(arg);
}

/* The script with the time of the last two arguments. */
static const char *script_with_time(void)
{
    static char text[4096];
    static const char own[] = "redis.call('TIME')";
    const char *at = strstr(places_script, own);
    CHECK(at);
    (void)snprintf(text, sizeof(text), "%.*s{ARGV[#ARGV - 1], ARGV[#ARGV]}%s",
                   (int)(at - places_script), places_script, at + sizeof(own) - 1);
    char *ttl = strstr(text, "lease / 1000 + 1000");
    CHECK(ttl);
    memcpy(ttl, "100000000          ", 19);
    return text;
}

static struct reply call_script(struct redis_script *script, const char *key,
                                const struct places_call *c, uint64_t now_us)
{
    char text[PLACES_ARGS + 2][24], id[UUID_TEXT_MAX];
    const uint64_t words[] = { c->limit,      c->used,          c->want,         c->serial,
                               c->created_us, now_us / 1000000, now_us % 1000000 };
    const struct str keys[] = { STR(SCRIPT_HEARD_KEY), str_of(key) };
    struct str args[1 + COUNT_OF(words)];
    struct reply r = { 0 };
    uuid_format(&c->id, id);
    args[0] = str_of(id);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        (void)snprintf(text[i], sizeof(text[i]), "%" PRIu64, words[i]);
        args[1 + i] = str_of(text[i]);
    }
    redis_script_call(script, keys, 2, args, COUNT_OF(args), on_reply, &r);
    assert_true(loop_until(loop, 2000, is_here, &r));
    return r;
}

static struct places_call any_call(const struct uuid *ids, uint64_t *serial, uint64_t epoch_us)
{
    uint64_t used = any(6);
    *serial += any(3);
    return (struct places_call){ .id = ids[any(LESSEES)],
                                 .limit = 1 + any(12),
                                 .used = used,
                                 .want = used + any(8),
                                 .serial = *serial - any(2),
                                 .created_us = epoch_us - 2000000 + any(5000000) };
}

static void one_sequence(struct redis_script *script, unsigned number)
{
    uint64_t now_us = 1790000000000000ull + any(1000000000), epoch_us = now_us, serial = 1000;
    struct uuid ids[LESSEES];
    struct places_state model = { 0 };
    char key[24], text[64], born[80];
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    (void)snprintf(born, sizeof(born), "SET " SCRIPT_HEARD_KEY " \"%" PRIu64 " 1 1\"", now_us);
    redis_private_ask(&server, born, text, sizeof(text));
    (void)snprintf(key, sizeof(key), "p%u", number);
    for (size_t i = 0; i < LESSEES; i++)
        uuid_random(&ids[i]);
    for (int round = 0; round < 60; round++) {
        struct places_call c = any_call(ids, &serial, epoch_us);
        struct places_answer want;
        struct reply got = call_script(script, key, &c, now_us);
        places_lease(&model, epoch_us, now_us, &c, &want);
        assert_int_equal(got.values[0], want.stale ? -1 : (int64_t)want.granted);
        assert_int_equal(got.values[1], want.stale ? 0 : (int64_t)want.room);
        now_us += any(4) ? any(300000) : any(3000000);
    }
}

static void the_script_and_its_model_agree(void **state)
{
    (void)state;
    struct redis *redis;
    assert_int_equal(loop_new(0, &loop, NULL), MAAS_OK);
    assert_int_equal(redis_new(loop, server.address, 1000, &redis, NULL), MAAS_OK);
    struct redis_script *script = redis_script_new(redis, script_with_time());
    assert_true(loop_until(loop, 3000, is_up, redis));
    for (unsigned i = 0; i < 60; i++)
        one_sequence(script, i);
    redis_free(redis);
    loop_free(loop);
}

/* ---- gateways on one Redis */

enum { GATES = 3, HELD_MAX = 64 };

struct site {
    struct gate gates[GATES];
    struct bucket *buckets[GATES];
    struct limits_hold held[HELD_MAX];
    size_t count;
};

static struct bucket *places_bucket(const struct gate *g, const struct uuid *id, uint64_t amount,
                                    uint64_t created_us)
{
    return bucket_get(g->limiter, &(struct limit){ .scope = LIMIT_TENANT,
                                                   .measure = MEASURE_CONCURRENCY,
                                                   .id = *id,
                                                   .rate.rate = amount,
                                                   .created_us = created_us });
}

/* Each gate a gateway of its own. `old`: the limit is older than Redis' memory. */
static void site_open(struct site *s, const struct redis_private *at, uint64_t amount, bool old)
{
    struct uuid id;
    *s = (struct site){ .count = 0 };
    assert_int_equal(loop_new(0, &loop, NULL), MAAS_OK);
    uuid_random(&id);
    for (size_t i = 0; i < GATES; i++) {
        struct limiter_config config = { .gateways_max = GATES,
                                         .buckets_max = 100,
                                         .wait_ms = 500 };
        struct limiter *limiter;
        uuid_random(&config.lessee);
        assert_int_equal(limiter_new(&config, &limiter, NULL), MAAS_OK);
        gate_open(&s->gates[i], loop, limiter, at, 500, 500);
        s->buckets[i] =
            places_bucket(&s->gates[i], &id, amount, old ? 1 : clock_real_us() + 5000000);
    }
}

static void site_close(struct site *s)
{
    while (s->count > 0)
        limits_settle(&s->held[--s->count], 0);
    for (size_t i = 0; i < GATES; i++)
        gate_close(&s->gates[i]);
    loop_free(loop);
    for (size_t i = 0; i < GATES; i++) {
        bucket_unref(s->buckets[i]);
        limiter_free(s->gates[i].limiter);
    }
}

static struct ask enter(struct site *s, size_t gate)
{
    struct gate *g = &s->gates[gate];
    const struct limits_want want = { &s->buckets[gate], 1, 5, AWAY_LOCAL };
    struct limits_hold *hold = &s->held[s->count];
    struct ask a = { .waiter = { .done = ask_done, .hold = hold } };
    hold->count = 0;
    limits_try(g->port, &want, clock_mono_ns(), hold, &a.verdict);
    a.answered = a.verdict.outcome != LIMITS_WAIT;
    if (!a.answered) {
        limits_wait(g->port, &a.waiter, &want, clock_mono_ns());
        assert_true(loop_until(loop, 2000, ask_is_answered, &a));
    }
    s->count += a.verdict.outcome == LIMITS_YES;
    return a;
}

static size_t enter_all(struct site *s)
{
    size_t before = s->count, refused = 0;
    while (refused < 60 && s->count < HELD_MAX) {
        refused += enter(s, any(GATES)).verdict.outcome != LIMITS_YES;
        loop_for(loop, refused % 20 == 19 ? 30 : 0);
    }
    return s->count - before;
}

static void leave(struct site *s, size_t n)
{
    while (n-- > 0)
        limits_settle(&s->held[--s->count], 0);
}

static void three_gateways_together_admit_the_limit_and_no_more(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, &server, 20, false);
    assert_int_equal(enter_all(&s), 20);
    struct ask last = enter(&s, 0);
    assert_int_equal(last.verdict.outcome, LIMITS_NO);
    assert_int_equal(last.verdict.measure, MEASURE_CONCURRENCY);
    assert_int_equal(last.verdict.limit, 20);
    assert_int_equal(last.verdict.remaining, 0);
    assert_in_range(last.verdict.retry_after_ms, 1, 1000);
    leave(&s, 12);
    assert_int_equal(enter_all(&s), 12);
    loop_for(loop, 2000); /* longer than a lease: they are renewed */
    assert_int_equal(enter_all(&s), 0);
    leave(&s, 20);
    loop_for(loop, 1000); /* places that nobody needs go to whom they serve */
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(enter(&s, 1).verdict.outcome, LIMITS_YES);
    assert_int_not_equal(enter(&s, 0).verdict.outcome, LIMITS_YES);
    site_close(&s);
}

static void a_lowered_limit_holds_across_gateways_within_a_second(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, &server, 12, false);
    assert_int_equal(enter_all(&s), 12);
    for (size_t i = 0; i < GATES; i++)
        atomic_store(&s.buckets[i]->amount, 4);
    loop_for(loop, 600);
    leave(&s, 6);
    assert_int_equal(enter_all(&s), 0);
    leave(&s, 6);
    loop_for(loop, 600);
    assert_int_equal(enter_all(&s), 4);
    site_close(&s);
}

static void a_gateway_that_died_leaks_nothing_for_longer_than_its_lease(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, &server, 9, false);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(enter(&s, 0).verdict.outcome, LIMITS_YES);
    assert_int_equal(enter(&s, 1).verdict.outcome, LIMITS_NO);
    limits_port_free(s.gates[0].port); /* nobody renews for it any more */
    uint64_t start_ns = clock_mono_ns();
    while (enter(&s, 1).verdict.outcome != LIMITS_YES) {
        loop_for(loop, 20);
        assert_true(clock_mono_ns() - start_ns < 3000000000ull);
    }
    assert_true(clock_mono_ns() - start_ns > 500000000ull);
    leave(&s, s.count);
    s.gates[0].port = NULL;
    site_close(&s);
}

static void a_flushed_redis_admits_no_more_than_the_limit(void **state)
{
    (void)state;
    char text[64];
    struct site s;
    site_open(&s, &server, 20, true);
    loop_for(loop, 1600);
    assert_int_equal(enter_all(&s), 20);
    redis_private_ask(&server, "FLUSHALL", text, sizeof(text));
    assert_int_equal(enter_all(&s), 0);
    leave(&s, 5);
    assert_in_range(enter_all(&s), 0, 5);
    loop_for(loop, 2200); /* a lease after the flush all is known */
    (void)enter_all(&s);
    assert_int_equal(s.count, 20);
    site_close(&s);
}

static void without_redis_each_gateway_has_its_share(void **state)
{
    (void)state;
    struct redis_private none;
    struct site s;
    redis_private_init(&none);
    site_open(&s, &none, 20, true);
    struct ask first = enter(&s, 0);
    assert_int_equal(first.verdict.outcome, LIMITS_YES);
    assert_true(first.verdict.local);
    assert_int_equal(enter_all(&s), 17); /* 3 times 20 / 3 in all */
    leave(&s, 18);
    site_close(&s);
    redis_private_release(&none);
}

static void a_plan_may_refuse_or_admit_all_while_redis_is_away(void **state)
{
    (void)state;
    struct redis_private none;
    struct site s;
    redis_private_init(&none);
    site_open(&s, &none, 1, true);
    struct limits_want want = { &s.buckets[0], 1, 1, AWAY_CLOSED };
    struct limits_verdict verdict;
    struct limits_hold hold = { 0 };
    limits_try(s.gates[0].port, &want, clock_mono_ns(), &hold, &verdict);
    assert_int_equal(verdict.outcome, LIMITS_AWAY);
    want.away = AWAY_OPEN;
    for (int i = 0; i < 5; i++) {
        limits_try(s.gates[0].port, &want, clock_mono_ns(), &hold, &verdict);
        assert_int_equal(verdict.outcome, LIMITS_YES);
        limits_settle(&hold, 0);
    }
    site_close(&s);
    redis_private_release(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_taken_up_to_what_is_granted_and_the_limit),
        cmocka_unit_test(what_is_asked_follows_the_peak_and_lowers_the_grant_at_once),
        cmocka_unit_test(threads_never_hold_more_than_was_granted),
        cmocka_unit_test(the_script_and_its_model_agree),
        cmocka_unit_test(three_gateways_together_admit_the_limit_and_no_more),
        cmocka_unit_test(a_lowered_limit_holds_across_gateways_within_a_second),
        cmocka_unit_test(a_gateway_that_died_leaks_nothing_for_longer_than_its_lease),
        cmocka_unit_test(a_flushed_redis_admits_no_more_than_the_limit),
        cmocka_unit_test(without_redis_each_gateway_has_its_share),
        cmocka_unit_test(a_plan_may_refuse_or_admit_all_while_redis_is_away),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
