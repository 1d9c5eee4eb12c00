/*
 * test_registry.c: the thread, its views and a real PostgreSQL that is changed, killed and frozen.
 * The loop runs on the test's own thread, for as long as a step needs; only the last test has loops
 * on threads of their own.
 */
#include "registry/registry_private.h"
#include "support/pg_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pg_private *server;
static struct limiter *limiter;

struct bench {
    struct registry *registry;
    struct loop *loop;
    struct pg *pg;
    struct registry_view *view;
    struct timer give_up;
    unsigned answered, wanted;
};

struct asked {
    struct view_waiter waiter;
    struct bench *bench;
    bool done, revoked;
    enum view_answer answer;
    char key_id[KEY_ID_LEN + 1];
};

static const struct registry_config defaults = { .poll_ms = 250,
                                                 .call_timeout_ms = 500,
                                                 .stale_max_ms = 300000,
                                                 .keys_max = 1000,
                                                 .miss_cache_ms = 10000,
                                                 .misses_per_s = 100 };

static uint64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* ---- the bench */

static void on_give_up(struct timer *timer)
{
    loop_stop(timer->loop);
}

static void turn(struct bench *b, uint64_t ms)
{
    timer_start(b->loop, &b->give_up, ms);
    loop_run(b->loop);
    timer_stop(&b->give_up);
}

static struct registry *registry_of(struct registry_config config)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct registry *registry = NULL;
    maas_error error = MAAS_ERROR_INIT;
    config.conninfo = pg_private_conninfo(server, "maas_gateway", conninfo);
    config.limiter = limiter;
    if (registry_start(&config, 5000, &registry, &error) != MAAS_OK)
        fail_msg("%s", error.text);
    return registry;
}

static void open_loop(struct bench *b)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    b->give_up.fire = on_give_up;
    assert_int_equal(loop_new(0, &b->loop, NULL), MAAS_OK);
    pg_private_conninfo(server, "maas_gateway", conninfo);
    assert_int_equal(pg_new(b->loop, conninfo, 2000, &b->pg, NULL), MAAS_OK);
    assert_int_equal(registry_view_new(b->registry, b->loop, b->pg, &b->view, NULL), MAAS_OK);
}

static struct bench *bench_new(struct registry_config config)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->registry = registry_of(config);
    open_loop(b);
    return b;
}

static void bench_free(struct bench *b)
{
    registry_stop(b->registry);
    registry_view_free(b->view);
    pg_free(b->pg);
    loop_free(b->loop);
    free(b);
}

static void on_asked(struct view_waiter *waiter, enum view_answer answer, struct principal *p)
{
    struct asked *a = (struct asked *)(void *)waiter;
    assert_false(a->done);
    assert_int_equal(p != NULL, answer == VIEW_FOUND);
    a->done = true;
    a->answer = answer;
    if (p) {
        a->revoked = p->revoked;
        memcpy(a->key_id, p->key_id, sizeof a->key_id);
    }
    if (++a->bench->answered == a->bench->wanted)
        loop_stop(a->bench->loop);
}

static void ask(struct bench *b, const char *id, struct asked *a)
{
    *a = (struct asked){ .waiter = { .done = on_asked }, .bench = b };
    view_ask(b->view, id, loop_now_ns(b->loop), &a->waiter);
    assert_false(a->done); /* never from inside the call */
}

static void wait_for(struct bench *b, unsigned answers)
{
    b->answered = 0;
    b->wanted = answers;
    turn(b, 5000);
    assert_int_equal(b->answered, answers);
}

/* The answer for a key, by look-up when it is not cached. */
static enum view_answer look(struct bench *b, const char *id, bool *revoked)
{
    struct principal *p = NULL;
    struct asked a;
    enum view_answer answer = view_key(b->view, id, clock_mono_ns(), &p);
    if (answer != VIEW_ASK) {
        *revoked = p && p->revoked;
        return answer;
    }
    ask(b, id, &a);
    wait_for(b, 1);
    *revoked = a.revoked;
    return a.answer;
}

static enum view_answer cached(struct bench *b, const char *id)
{
    struct principal *p = NULL;
    return view_key(b->view, id, clock_mono_ns(), &p);
}

static struct registry_counts counts(const struct bench *b)
{
    struct registry_counts c;
    registry_counts(b->registry, &c);
    return c;
}

/* Turns the loop until the key is seen as revoked; how long that took. */
static uint64_t ms_until_revoked(struct bench *b, const char *id)
{
    uint64_t start = now_ms();
    bool revoked = false;
    while (!revoked && now_ms() - start < 5000) {
        turn(b, 5);
        assert_int_equal(look(b, id, &revoked), VIEW_FOUND);
    }
    assert_true(revoked);
    return now_ms() - start;
}

static void change(const char *script)
{
    pg_private_run(server, script);
}

static void revoke_key(const char *id)
{
    char script[160];
    snprintf(script, sizeof script,
             "UPDATE maas.api_keys SET state = 'revoked', revoked_at = now() WHERE key_id = '%s'",
             id);
    change(script);
}

/* Each test has keys of its own: k<test><n>, of tenant acme or other. */
static void make_keys(const char *stem, const char *tenant, int count)
{
    char script[400];
    snprintf(script, sizeof script,
             "INSERT INTO maas.api_keys (key_id, tenant_id, name, mac, pepper_version, scopes) "
             "SELECT '%s' || lpad(n::text, 4, '0'), t.id, 'k', sha256('k'), 2, "
             "'{infer:house-*,usage:read}' FROM maas.tenants t, generate_series(0, %d) n "
             "WHERE t.slug = '%s'",
             stem, count - 1, tenant);
    change(script);
}

/* ---- keys */

static void a_key_is_looked_up_once_and_then_cached(void **state)
{
    (void)state;
    make_keys("once", "acme", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "once0000", &revoked), VIEW_FOUND);
    struct principal *p = NULL;
    assert_int_equal(view_key(b->view, "once0000", clock_mono_ns(), &p), VIEW_FOUND);
    assert_int_equal(counts(b).key_lookups, 1);
    assert_int_equal(counts(b).keys_cached, 1);
    assert_string_equal(p->key_id, "once0000");
    assert_string_equal(p->tenant_slug, "acme");
    assert_string_equal(p->plan, "default");
    assert_int_equal(p->tenant_state, TENANT_ACTIVE);
    assert_int_equal(p->pepper_version, 2);
    assert_int_equal(p->body_max, 8 << 20);
    assert_int_equal(p->v2_body_max, 64 << 20);
    assert_int_equal(p->max_rows, 10000);
    assert_int_equal(p->bucket_count, 1);
    assert_true(scope_allows_infer(&p->scopes, STR("house-1")));
    assert_false(scope_allows_infer(&p->scopes, STR("other")));
    assert_true(scope_allows(&p->scopes, SCOPE_USAGE_READ));
    assert_false(scope_allows(&p->scopes, SCOPE_TRAIN));
    uint8_t mac[KEY_MAC_LEN];
    char *hex = pg_private_ask(server, "SELECT encode(sha256('k'), 'hex')");
    assert_true(hex_decode(str_of(hex), mac, sizeof mac));
    assert_memory_equal(p->mac, mac, sizeof mac);
    free(hex);
    bench_free(b);
}

static void one_query_serves_all_who_wait_for_a_key(void **state)
{
    (void)state;
    make_keys("many", "acme", 1);
    struct bench *b = bench_new(defaults);
    struct asked a[10];
    for (size_t i = 0; i < COUNT_OF(a); i++)
        ask(b, "many0000", &a[i]);
    view_cancel(b->view, &a[4].waiter);
    wait_for(b, 9);
    for (size_t i = 0; i < COUNT_OF(a); i++)
        assert_int_equal(a[i].done, i != 4);
    view_cancel(b->view, &a[0].waiter); /* answered already: nothing */
    assert_int_equal(counts(b).key_lookups, 1);
    bench_free(b);
}

static void a_key_that_is_wanted_is_known_later_and_nobody_is_told(void **state)
{
    (void)state;
    make_keys("want", "acme", 1);
    struct bench *b = bench_new(defaults);
    struct asked a;
    for (size_t i = 0; i < 3; i++)
        view_want(b->view, "want0000", loop_now_ns(b->loop));
    ask(b, "want0000", &a); /* joins the query that is under way */
    wait_for(b, 1);
    assert_int_equal(a.answer, VIEW_FOUND);
    view_want(b->view, "none0000", loop_now_ns(b->loop));
    uint64_t start = now_ms();
    while (cached(b, "none0000") == VIEW_ASK && now_ms() - start < 2000)
        turn(b, 5);
    assert_int_equal(cached(b, "none0000"), VIEW_ABSENT);
    assert_int_equal(counts(b).key_lookups, 2);
    bench_free(b);
}

static void an_absent_key_is_remembered_until_it_is_made(void **state)
{
    (void)state;
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "born0000", &revoked), VIEW_ABSENT);
    assert_int_equal(cached(b, "born0000"), VIEW_ABSENT);
    make_keys("born", "acme", 1);
    uint64_t start = now_ms();
    while (cached(b, "born0000") == VIEW_ABSENT && now_ms() - start < 2000)
        turn(b, 5);
    assert_true(now_ms() - start < 1000);
    assert_int_equal(look(b, "born0000", &revoked), VIEW_FOUND);
    struct principal *p = NULL;
    assert_int_equal(look(b, "gone0000", &revoked), VIEW_ABSENT);
    assert_int_equal(view_key(b->view, "gone0000", clock_mono_ns() + 9900000000u, &p), VIEW_ABSENT);
    assert_int_equal(view_key(b->view, "gone0000", clock_mono_ns() + 10100000000u, &p), VIEW_ASK);
    bench_free(b);
}

static void the_cache_keeps_what_was_used_last_and_no_more_than_its_share(void **state)
{
    (void)state;
    make_keys("lruk", "acme", 40);
    struct registry_config config = defaults;
    config.keys_max = 16;
    struct bench *b = bench_new(config);
    bool revoked;
    char id[KEY_ID_LEN + 1];
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "lruk%04d", i);
        assert_int_equal(look(b, id, &revoked), VIEW_FOUND);
        assert_int_equal(cached(b, "lruk0000"), VIEW_FOUND); /* used all the time */
    }
    assert_int_equal(counts(b).keys_cached, 16);
    assert_int_equal(cached(b, "lruk0039"), VIEW_FOUND);
    assert_int_equal(cached(b, "lruk0001"), VIEW_ASK);
    bench_free(b);
}

static void a_tenants_rate_is_a_second_bucket_and_a_key_may_have_its_own(void **state)
{
    (void)state;
    make_keys("rate", "acme", 1);
    change("INSERT INTO maas.plans (name, rate, window_ms, burst, tenant_rate, tenant_window_ms, "
           "tenant_burst, body_max) VALUES ('big', 5, 1000, 5, 50, 60000, 70, 2048);"
           "UPDATE maas.tenants SET plan_id = (SELECT id FROM maas.plans WHERE name = 'big') "
           "WHERE slug = 'acme'");
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "rate0000", &revoked), VIEW_FOUND);
    struct principal *p = NULL;
    assert_int_equal(view_key(b->view, "rate0000", clock_mono_ns(), &p), VIEW_FOUND);
    assert_int_equal(p->bucket_count, 2);
    assert_string_equal(p->plan, "big");
    const struct limit own = {
        .scope = LIMIT_KEY, .measure = MEASURE_REQUESTS, .id = p->key, .rate = { 5, 1000, 5 }
    };
    struct bucket *same = bucket_get(limiter, &own);
    assert_ptr_equal(same, p->buckets[0]);
    bucket_unref(same);
    const struct limit all = { .scope = LIMIT_TENANT,
                               .measure = MEASURE_REQUESTS,
                               .id = p->tenant,
                               .rate = { 50, 60000, 70 } };
    same = bucket_get(limiter, &all);
    assert_ptr_equal(same, p->buckets[1]);
    bucket_unref(same);

    change("UPDATE maas.plans SET body_max = 4096 WHERE name = 'big'");
    uint64_t start = now_ms();
    while (p->body_max != 4096 && now_ms() - start < 2000) {
        turn(b, 5);
        assert_int_equal(look(b, "rate0000", &revoked), VIEW_FOUND);
        assert_int_equal(view_key(b->view, "rate0000", clock_mono_ns(), &p), VIEW_FOUND);
    }
    assert_true(now_ms() - start < 1000);
    change("UPDATE maas.tenants SET plan_id = (SELECT id FROM maas.plans WHERE name = 'default')");
    bench_free(b);
}

/* ---- changes */

static void a_revocation_is_carried_by_its_notification(void **state)
{
    (void)state;
    make_keys("note", "acme", 1);
    struct registry_config config = defaults;
    config.poll_ms = 10000; /* the poll cannot be it */
    struct bench *b = bench_new(config);
    bool revoked;
    assert_int_equal(look(b, "note0000", &revoked), VIEW_FOUND);
    assert_false(revoked);
    revoke_key("note0000");
    uint64_t took = ms_until_revoked(b, "note0000");
    print_message("by notification: %d ms\n", (int)took);
    assert_true(took < 1000);
    bench_free(b);
}

static void a_lost_notification_costs_one_poll(void **state)
{
    (void)state;
    make_keys("poll", "acme", 1);
    char *source =
        pg_private_ask(server, "SELECT pg_get_functiondef('maas.registry_note'::regproc)");
    change("CREATE OR REPLACE FUNCTION maas.registry_note() RETURNS trigger LANGUAGE plpgsql "
           "SECURITY DEFINER AS $$ BEGIN INSERT INTO maas.registry_changes (kind, id) VALUES "
           "('key', NEW.key_id); RETURN NULL; END $$");
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "poll0000", &revoked), VIEW_FOUND);
    revoke_key("poll0000");
    uint64_t took = ms_until_revoked(b, "poll0000");
    print_message("by poll: %d ms\n", (int)took);
    assert_true(took < 1000);
    bench_free(b);
    change(source);
    free(source);
}

static void a_revocation_arrives_though_every_connection_was_killed(void **state)
{
    (void)state;
    make_keys("kill", "acme", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "kill0000", &revoked), VIEW_FOUND);
    change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'maas_gateway' "
           "AND query NOT LIKE '%key_lookup%'");
    revoke_key("kill0000");
    uint64_t took = ms_until_revoked(b, "kill0000");
    print_message("with the listener killed: %d ms\n", (int)took);
    assert_true(took < 1000);
    assert_true(registry_is_fresh(b->registry));
    bench_free(b);
}

static void a_change_during_a_look_up_makes_it_look_again(void **state)
{
    (void)state;
    make_keys("race", "acme", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "warm0000", &revoked), VIEW_ABSENT); /* the connection is up */
    uint64_t before = counts(b).key_lookups;
    pg_private_freeze(server);
    struct asked a;
    ask(b, "race0000", &a);
    struct change c = { .kind = CHANGE_KEY };
    memcpy(c.key_id, "race0000", KEY_ID_LEN);
    view_notify(b->view, &c, 1, NULL);
    turn(b, 20);
    pg_private_thaw(server);
    wait_for(b, 1);
    assert_int_equal(a.answer, VIEW_FOUND);
    assert_int_equal(counts(b).key_lookups, before + 2);
    bench_free(b);
}

static void a_suspended_tenant_loses_its_keys_and_others_keep_theirs(void **state)
{
    (void)state;
    make_keys("susp", "acme", 1);
    make_keys("keep", "other", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "susp0000", &revoked), VIEW_FOUND);
    assert_int_equal(look(b, "keep0000", &revoked), VIEW_FOUND);
    change("UPDATE maas.tenants SET state = 'suspended' WHERE slug = 'acme'");
    uint64_t start = now_ms();
    while (cached(b, "susp0000") == VIEW_FOUND && now_ms() - start < 2000)
        turn(b, 5);
    assert_true(now_ms() - start < 1000);
    assert_int_equal(cached(b, "keep0000"), VIEW_FOUND);
    assert_int_equal(look(b, "susp0000", &revoked), VIEW_FOUND);
    struct principal *p = NULL;
    assert_int_equal(view_key(b->view, "susp0000", clock_mono_ns(), &p), VIEW_FOUND);
    assert_int_equal(p->tenant_state, TENANT_SUSPENDED);
    change("UPDATE maas.tenants SET state = 'active' WHERE slug = 'acme'");
    bench_free(b);
}

static void a_flood_of_changes_drops_everything_rather_than_something(void **state)
{
    (void)state;
    make_keys("flod", "other", 3000);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "flod2999", &revoked), VIEW_FOUND);
    change("UPDATE maas.api_keys SET state = 'revoked', revoked_at = now() WHERE key_id LIKE "
           "'flod%'");
    assert_true(ms_until_revoked(b, "flod2999") < 1500);
    char *newest = pg_private_ask(server, "SELECT maas.registry_seq()");
    for (int i = 0; i < 200 && registry_seq(b->registry) != strtoull(newest, NULL, 10); i++)
        turn(b, 5);
    assert_int_equal(registry_seq(b->registry), strtoull(newest, NULL, 10));
    free(newest);
    bench_free(b);
}

static void a_change_log_that_went_backwards_empties_the_caches(void **state)
{
    (void)state;
    make_keys("back", "acme", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "back0000", &revoked), VIEW_FOUND);
    uint64_t snapshots = counts(b).snapshots;
    change("ALTER TABLE maas.api_keys DISABLE TRIGGER registry");
    revoke_key("back0000");
    change("ALTER TABLE maas.api_keys ENABLE TRIGGER registry;"
           "TRUNCATE maas.registry_changes RESTART IDENTITY");
    assert_true(ms_until_revoked(b, "back0000") < 1000);
    turn(b, 100);
    assert_true(counts(b).snapshots > snapshots);
    bench_free(b);
}

/* ---- the budget */

static void ids_that_do_not_exist_reach_postgres_at_the_stated_rate(void **state)
{
    (void)state;
    struct registry_config config = defaults;
    config.misses_per_s = 20;
    struct bench *b = bench_new(config);
    struct asked *a = calloc(300, sizeof *a);
    assert_non_null(a);
    bool revoked;
    assert_int_equal(look(b, "zero0000", &revoked), VIEW_ABSENT);
    char id[KEY_ID_LEN + 1];
    uint64_t start = now_ms();
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "none%04d", i);
        ask(b, id, &a[i]);
    }
    wait_for(b, 300);
    uint64_t took = now_ms() - start;
    unsigned busy = 0;
    for (int i = 0; i < 300; i++)
        busy += a[i].answer == VIEW_BUSY;
    assert_true(busy > 200);
    assert_in_range(took, 400, 800); /* busy after call_timeout_ms, not for ever */
    assert_in_range(counts(b).key_lookups, 20, 20 + 20 * took / 1000 + 2);
    free(a);
    bench_free(b);
}

static void real_keys_do_not_spend_the_budget(void **state)
{
    (void)state;
    make_keys("real", "acme", 300);
    struct registry_config config = defaults;
    config.misses_per_s = 20;
    struct bench *b = bench_new(config);
    struct asked *a = calloc(300, sizeof *a);
    assert_non_null(a);
    char id[KEY_ID_LEN + 1];
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "real%04d", i);
        ask(b, id, &a[i]);
    }
    wait_for(b, 300);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(a[i].answer, VIEW_FOUND);
        assert_int_equal(strtol(a[i].key_id + 4, NULL, 10), i);
    }
    free(a);
    bench_free(b);
}

/* ---- Postgres away */

static void while_postgres_is_down_cached_keys_live_on(void **state)
{
    (void)state;
    make_keys("down", "acme", 2);
    struct registry_config config = defaults;
    config.stale_max_ms = 3000;
    struct bench *b = bench_new(config);
    bool revoked;
    assert_int_equal(look(b, "down0000", &revoked), VIEW_FOUND);
    assert_true(registry_is_fresh(b->registry));
    pg_private_down(server);
    uint64_t start = now_ms();
    while (registry_is_fresh(b->registry) && now_ms() - start < 3000)
        turn(b, 10);
    print_message("away after %d ms\n", (int)(now_ms() - start));
    assert_true(now_ms() - start < 1500);
    assert_int_equal(cached(b, "down0000"), VIEW_FOUND);
    assert_true(registry_is_usable(b->registry));
    assert_int_equal(look(b, "down0001", &revoked), VIEW_BUSY);
    assert_int_equal(view_snapshot(b->view)->count, counts(b).deployments);
    while (registry_is_usable(b->registry) && now_ms() - start < 6000)
        turn(b, 10);
    assert_in_range(now_ms() - start, 2500, 4000);
    assert_int_equal(cached(b, "down0000"), VIEW_BUSY); /* nothing lives for ever */
    pg_private_up(server);
    start = now_ms();
    while (!registry_is_fresh(b->registry) && now_ms() - start < 5000)
        turn(b, 10);
    assert_int_equal(cached(b, "down0000"), VIEW_FOUND);
    turn(b, 1500); /* the loop's own connection */
    assert_int_equal(look(b, "down0001", &revoked), VIEW_FOUND);
    bench_free(b);
}

static void a_frozen_postgres_is_away_and_stops_neither_loop_nor_stop(void **state)
{
    (void)state;
    make_keys("froz", "acme", 1);
    struct bench *b = bench_new(defaults);
    bool revoked;
    assert_int_equal(look(b, "froz0000", &revoked), VIEW_FOUND);
    pg_private_freeze(server);
    uint64_t start = now_ms();
    while (registry_is_fresh(b->registry) && now_ms() - start < 5000) {
        uint64_t turn_start = now_ms();
        turn(b, 10);
        assert_true(now_ms() - turn_start < 100);
        assert_int_equal(cached(b, "froz0000"), VIEW_FOUND);
    }
    assert_true(now_ms() - start < 2500);
    struct asked a;
    ask(b, "newk0000", &a); /* on its way when the view goes */
    turn(b, 10);
    view_cancel(b->view, &a.waiter);
    start = now_ms();
    registry_stop(b->registry);
    assert_true(now_ms() - start < 1500);
    registry_view_free(b->view);
    pg_free(b->pg);
    loop_free(b->loop);
    free(b);
    assert_false(a.done);
    pg_private_thaw(server);
}

static void it_starts_without_postgres_and_finds_it_later(void **state)
{
    (void)state;
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct registry_config config = defaults;
    config.conninfo = pg_private_conninfo(server, "maas_gateway", conninfo);
    config.limiter = limiter;
    struct registry *registry = NULL;
    maas_error error = MAAS_ERROR_INIT;
    pg_private_down(server);
    assert_int_equal(registry_start(&config, 300, &registry, &error), MAAS_E_UNAVAILABLE);
    assert_non_null(registry);
    assert_non_null(strstr(error.text, "cannot connect"));
    assert_null(registry_snapshot(registry));
    assert_false(registry_is_fresh(registry));
    assert_false(registry_is_usable(registry));
    pg_private_up(server);
    for (int i = 0; i < 300 && !registry_is_fresh(registry); i++)
        usleep(10000);
    struct snapshot *s = registry_snapshot(registry);
    assert_non_null(s);
    snapshot_unref(s);
    registry_stop(registry);
}

/* ---- deployments */

static bool resolves(struct bench *b, const char *slug, const char *name)
{
    char statement[96];
    snprintf(statement, sizeof statement, "SELECT id FROM maas.tenants WHERE slug = '%s'", slug);
    char *text = pg_private_ask(server, statement);
    struct uuid tenant;
    assert_true(uuid_parse(str_of(text), &tenant));
    free(text);
    return snapshot_resolve(view_snapshot(b->view), &tenant, str_of(name)) != NULL;
}

static void told(void *arg, struct snapshot *s)
{
    _Atomic uint64_t *seq = arg;
    atomic_store(seq, s->seq);
}

static void deployments_and_grants_reach_the_view(void **state)
{
    (void)state;
    struct bench *b = bench_new(defaults);
    _Atomic uint64_t told_seq = 0;
    registry_on_snapshot(b->registry, told, &told_seq);
    assert_true(resolves(b, "acme", "house"));
    assert_false(resolves(b, "other", "house")); /* platform's, granted to acme */
    assert_true(resolves(b, "other", "own"));
    assert_false(resolves(b, "acme", "own"));
    assert_false(resolves(b, "acme", "missing"));
    const struct deployment *d = NULL;
    for (uint32_t i = 0; i < view_snapshot(b->view)->count; i++)
        if (strcmp(view_snapshot(b->view)->deployments[i].name, "house") == 0)
            d = &view_snapshot(b->view)->deployments[i];
    assert_non_null(d);
    assert_string_equal(d->task, "regression");
    assert_string_equal(d->plugin, "maas.linreg");
    assert_string_equal(d->version_text, "1");
    assert_string_equal(d->options_json, "{\"a\": 1}");
    assert_int_equal(d->artifact_bytes, 4);
    assert_true(uuid_is_zero(&d->owner));
    assert_int_equal(d->grant_count, 1);
    uint8_t digest[32];
    char *hex = pg_private_ask(server, "SELECT encode(sha256('abcd'), 'hex')");
    assert_true(hex_decode(str_of(hex), digest, sizeof digest));
    assert_memory_equal(d->artifact, digest, sizeof digest);
    free(hex);

    change("INSERT INTO maas.model_grants SELECT d.id, t.id FROM maas.deployments d, "
           "maas.tenants t WHERE d.name = 'house' AND t.slug = 'other'");
    uint64_t start = now_ms();
    while (!resolves(b, "other", "house") && now_ms() - start < 3000)
        turn(b, 5);
    assert_true(now_ms() - start < 1000);
    while (atomic_load(&told_seq) < view_snapshot(b->view)->seq && now_ms() - start < 10000)
        turn(b, 5); /* it is told right after the view could see it */
    assert_true(atomic_load(&told_seq) >= view_snapshot(b->view)->seq);
    change("UPDATE maas.deployments SET state = 'retired' WHERE name = 'house'");
    start = now_ms();
    while (resolves(b, "other", "house") && now_ms() - start < 3000)
        turn(b, 5);
    assert_true(now_ms() - start < 1000);
    change("UPDATE maas.deployments SET state = 'active' WHERE name = 'house'");
    bench_free(b);
}

static bool allows(struct bench *b, const char *plugin, uint8_t first_byte)
{
    uint8_t sha256[32] = { first_byte };
    return snapshot_allows(view_snapshot(b->view), plugin, sha256);
}

static void turn_until_allows(struct bench *b, const char *plugin, uint8_t first_byte, bool yes)
{
    uint64_t start = now_ms();
    while (allows(b, plugin, first_byte) != yes && now_ms() - start < 3000)
        turn(b, 5);
    assert_true(now_ms() - start < 1000);
}

static void the_digests_of_plugins_are_in_force_while_they_are_allowed(void **state)
{
    (void)state;
    struct bench *b = bench_new(defaults);
    assert_false(allows(b, "a.plugin", 1));
    change("INSERT INTO maas.plugins (id, sha256, installed_by) VALUES"
           " ('a.plugin', decode(rpad('01', 64, '0'), 'hex'), 'test'),"
           " ('a.plugin', decode(rpad('02', 64, '0'), 'hex'), 'test'),"
           " ('b.plugin', decode(rpad('03', 64, '0'), 'hex'), 'test')");
    turn_until_allows(b, "a.plugin", 1, true);
    assert_true(allows(b, "a.plugin", 2) && allows(b, "b.plugin", 3));
    assert_false(allows(b, "a.plugin", 3) || allows(b, "b.plugin", 1) || allows(b, "", 1));
    change("UPDATE maas.plugins SET state = 'revoked', revoked_at = now()"
           " WHERE sha256 = decode(rpad('01', 64, '0'), 'hex')");
    turn_until_allows(b, "a.plugin", 1, false);
    assert_true(allows(b, "a.plugin", 2));
    bench_free(b);
}

/* ---- several loops on threads */

struct runner {
    struct bench bench;
    pthread_t thread;
    struct timer again;
    struct asked asked;
    _Atomic bool sees_revoked;
};

static void on_again(struct timer *timer)
{
    struct runner *r = (struct runner *)(void *)((char *)timer - offsetof(struct runner, again));
    struct principal *p = NULL;
    if (r->asked.done && r->asked.revoked)
        atomic_store(&r->sees_revoked, true);
    if ((!r->asked.bench || r->asked.done) &&
        view_key(r->bench.view, "thrd0000", loop_now_ns(r->bench.loop), &p) == VIEW_ASK)
        ask(&r->bench, "thrd0000", &r->asked);
    timer_start(r->bench.loop, timer, 1);
}

static void *run_loop(void *arg)
{
    struct runner *r = arg;
    timer_start(r->bench.loop, &r->again, 1);
    loop_run(r->bench.loop);
    timer_stop(&r->again);
    return NULL;
}

static void every_loop_hears_of_a_change(void **state)
{
    (void)state;
    make_keys("thrd", "acme", 1);
    struct runner *r = calloc(3, sizeof *r);
    assert_non_null(r);
    struct registry *registry = registry_of(defaults);
    for (int i = 0; i < 3; i++) {
        r[i].bench.registry = registry;
        r[i].again.fire = on_again;
        open_loop(&r[i].bench);
        pthread_create(&r[i].thread, NULL, run_loop, &r[i]);
    }
    for (int i = 0; i < 20; i++) {
        change("UPDATE maas.api_keys SET name = name WHERE key_id = 'thrd0000';"
               "UPDATE maas.deployments SET cost_base = cost_base WHERE name = 'house'");
        usleep(5000);
    }
    revoke_key("thrd0000");
    usleep(1000000);
    for (int i = 0; i < 3; i++)
        assert_true(atomic_load(&r[i].sees_revoked));
    registry_stop(registry);
    for (int i = 0; i < 3; i++) {
        loop_stop(r[i].bench.loop);
        pthread_join(r[i].thread, NULL);
        registry_view_free(r[i].bench.view);
        pg_free(r[i].bench.pg);
        loop_free(r[i].bench.loop);
    }
    free(r);
}

static int start(void **state)
{
    (void)state;
    struct limiter_config config = { .gateways_max = 1, .buckets_max = 100000, .wait_ms = 10 };
    assert_int_equal(limiter_new(&config, &limiter, NULL), MAAS_OK);
    server = pg_private_start();
    pg_private_migrate(server);
    change("INSERT INTO maas.tenants (slug, name, plan_id) SELECT s, s, p.id FROM maas.plans p, "
           "  unnest(ARRAY['acme', 'other']) s;"
           "INSERT INTO maas.artifacts (sha256, bytes, content) VALUES (sha256('abcd'), 4, 'abcd');"
           "INSERT INTO maas.models (name, task) VALUES ('m', 'regression');"
           "INSERT INTO maas.model_versions (model_id, plugin, options, artifact_sha256) "
           "  SELECT id, 'maas.linreg', '{\"a\": 1}', sha256('abcd') FROM maas.models;"
           "INSERT INTO maas.deployments (name, model_version_id, visibility) "
           "  SELECT 'house', id, 'granted' FROM maas.model_versions;"
           "INSERT INTO maas.deployments (tenant_id, name, model_version_id, visibility) "
           "  SELECT t.id, 'own', v.id, 'private' FROM maas.tenants t, maas.model_versions v "
           "  WHERE t.slug = 'other';"
           "INSERT INTO maas.model_grants SELECT d.id, t.id FROM maas.deployments d, "
           "  maas.tenants t WHERE d.name = 'house' AND t.slug = 'acme'");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    pg_private_stop(server);
    limiter_free(limiter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_looked_up_once_and_then_cached),
        cmocka_unit_test(one_query_serves_all_who_wait_for_a_key),
        cmocka_unit_test(a_key_that_is_wanted_is_known_later_and_nobody_is_told),
        cmocka_unit_test(an_absent_key_is_remembered_until_it_is_made),
        cmocka_unit_test(the_cache_keeps_what_was_used_last_and_no_more_than_its_share),
        cmocka_unit_test(a_tenants_rate_is_a_second_bucket_and_a_key_may_have_its_own),
        cmocka_unit_test(a_revocation_is_carried_by_its_notification),
        cmocka_unit_test(a_lost_notification_costs_one_poll),
        cmocka_unit_test(a_revocation_arrives_though_every_connection_was_killed),
        cmocka_unit_test(a_change_during_a_look_up_makes_it_look_again),
        cmocka_unit_test(a_suspended_tenant_loses_its_keys_and_others_keep_theirs),
        cmocka_unit_test(a_flood_of_changes_drops_everything_rather_than_something),
        cmocka_unit_test(a_change_log_that_went_backwards_empties_the_caches),
        cmocka_unit_test(ids_that_do_not_exist_reach_postgres_at_the_stated_rate),
        cmocka_unit_test(real_keys_do_not_spend_the_budget),
        cmocka_unit_test(while_postgres_is_down_cached_keys_live_on),
        cmocka_unit_test(a_frozen_postgres_is_away_and_stops_neither_loop_nor_stop),
        cmocka_unit_test(it_starts_without_postgres_and_finds_it_later),
        cmocka_unit_test(deployments_and_grants_reach_the_view),
        cmocka_unit_test(the_digests_of_plugins_are_in_force_while_they_are_allowed),
        cmocka_unit_test(every_loop_hears_of_a_change),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
