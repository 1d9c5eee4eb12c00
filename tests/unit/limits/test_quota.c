/*
 * test_quota.c: quotas: the units in memory, the function in PostgreSQL beside its model, gateways
 * that share a pot of a real PostgreSQL, and what deaths, lost answers and late calls do to it.
 */
#include "gate.h"
#include "limits/bucket.h"
#include "support/pg_private.h"

#include <inttypes.h>

static struct pg_private *server;
static struct sql *sql; /* as maas_gateway */
static struct loop *loop;
static uint64_t seed = 77;

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
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    server = pg_private_start();
    pg_private_migrate(server);
    CHECK(sql_open(pg_private_conninfo(server, "maas_gateway", conninfo), 5000, &sql, NULL) ==
          MAAS_OK);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    sql_close(sql);
    pg_private_stop(server);
    return 0;
}

static uint64_t ask_number(const char *statement)
{
    char *text = pg_private_ask(server, statement);
    uint64_t n = strtoull(text, NULL, 10);
    free(text);
    return n;
}

/* A tenant with a quota of this many units a day; its id. */
static struct uuid tenant_with(uint64_t amount)
{
    static unsigned number;
    char statement[512];
    struct uuid id;
    number++;
    (void)snprintf(statement, sizeof(statement),
                   "INSERT INTO maas.tenants (slug, name, plan_id) SELECT 't%u', 't', id FROM "
                   "maas.plans WHERE name = 'default';"
                   "INSERT INTO maas.limits (scope, tenant_id, measure, amount) SELECT 'tenant', "
                   "id, 'day', %" PRIu64 " FROM maas.tenants WHERE slug = 't%u'",
                   number, amount, number);
    pg_private_run(server, statement);
    (void)snprintf(statement, sizeof(statement), "SELECT id FROM maas.tenants WHERE slug = 't%u'",
                   number);
    char *text = pg_private_ask(server, statement);
    assert_true(uuid_parse(str_of(text), &id));
    free(text);
    return id;
}

static uint64_t granted_of(const struct uuid *tenant)
{
    char id[UUID_TEXT_MAX], statement[128];
    uuid_format(tenant, id);
    (void)snprintf(statement, sizeof(statement),
                   "SELECT sum(granted) FROM maas.quota_pots WHERE id = '%s'", id);
    return ask_number(statement);
}

/* ---- in memory */

enum { START = 1000, END = 2000 };

static uint64_t lease_in(struct quota *q, struct quota_pot *pot, struct quota_account *account,
                         uint64_t amount, uint64_t at_us, uint64_t want, uint64_t least)
{
    struct quota_ask ask;
    struct quota_answer answer = { .start_us = at_us / 1000 * 1000 };
    answer.end_us = answer.start_us + 1000;
    quota_prepare(q, 1, at_us, want, least, false, &ask);
    quota_lease(pot, account, amount, &ask, ask.start_us == answer.start_us, &answer);
    return quota_install(q, &ask, &answer);
}

static void units_are_spent_within_their_period_and_not_after(void **state)
{
    (void)state;
    struct quota q = { 0 };
    struct quota_pot pot = { 0 };
    struct quota_account account = { 0 };
    uint32_t generation;
    uint64_t left;
    assert_false(quota_take(&q, 1, START, &generation, &left));
    assert_int_equal(lease_in(&q, &pot, &account, 640, START, 100, 1), 10); /* 1/64 */
    assert_int_equal(quota_units(&q, END - 1), 10);
    assert_int_equal(quota_units(&q, END), 0);
    assert_int_equal(quota_units(&q, START - 1), 0);
    assert_true(quota_take(&q, 4, END - 1, &generation, &left));
    assert_int_equal(left, 6);
    assert_false(quota_take(&q, 7, START, &generation, &left));
    quota_give_back(&q, generation, 3);
    assert_int_equal(quota_units(&q, START), 9);
    assert_false(quota_take(&q, 1, END, &generation, &left));
    /* the next day: what comes back from the day before is lost */
    struct quota_pot next = { 0 };
    struct quota_account next_account = { 0 };
    assert_int_equal(lease_in(&q, &next, &next_account, 640, END, 100, 1), 10);
    quota_give_back(&q, generation, 1);
    assert_int_equal(quota_units(&q, END), 10);
}

static void a_doubted_quota_is_asked_again_before_more_is_spent(void **state)
{
    (void)state;
    struct quota q = { 0 };
    struct quota_pot pot = { 0 };
    struct quota_account account = { 0 };
    uint32_t generation;
    uint64_t left;
    assert_int_equal(lease_in(&q, &pot, &account, 6400, START, 100, 1), 100);
    assert_true(quota_take(&q, 30, START, &generation, &left));
    atomic_store(&q.doubted, true);
    assert_false(quota_take(&q, 1, START, &generation, &left));
    assert_int_equal(lease_in(&q, &pot, &account, 30, START, 50, 1),
                     0); /* lowered to what is spent */
    assert_int_equal(pot.granted, 30);
    assert_int_equal(quota_units(&q, START), 0);
    quota_give_back(&q, generation, 5); /* of what was at work still: it may be spent again */
    assert_int_equal(quota_units(&q, START), 5);
}

/* ---- the function beside its model */

struct lessee {
    struct uuid id;
    struct quota_account account;
    uint64_t serial;
};

static void words_of(const struct quota_ask *ask, const struct uuid *lessee,
                     const struct uuid *tenant, char text[9][UUID_TEXT_MAX], struct str out[11])
{
    static const char none[] = "00000000-0000-0000-0000-000000000000";
    const uint64_t numbers[] = { ask->serial, LIMIT_TENANT,  MEASURE_DAY, ask->at_us,
                                 ask->keep,   ask->start_us, ask->want,   ask->least };
    static const int at[] = { 1, 2, 5, 6, 7, 8, 9, 10 };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        (void)snprintf(text[i], UUID_TEXT_MAX, "%" PRIu64, numbers[i]);
        out[at[i]] = str_of(text[i]);
    }
    uuid_format(lessee, text[8]);
    out[0] = str_of(text[8]);
    out[4] = STR(none);
    static char tenant_text[UUID_TEXT_MAX];
    uuid_format(tenant, tenant_text);
    out[3] = str_of(tenant_text);
    if (!ask->known)
        out[7] = (struct str){ NULL, 0 };
}

static struct quota_answer call_sql(const struct quota_ask *ask, const struct uuid *lessee,
                                    const struct uuid *tenant)
{
    char text[9][UUID_TEXT_MAX];
    struct str values[11];
    struct sql_result *row = NULL;
    maas_error error = MAAS_ERROR_INIT;
    words_of(ask, lessee, tenant, text, values);
    if (sql_exec(sql,
                 "SELECT done, start_us, end_us, account, granted, rest FROM maas.quota_lease($1, "
                 "$2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                 values, 11, &row, &error) != MAAS_OK)
        fail_msg("%s", error.text);
    struct quota_answer a = { .done = str_eq(sql_cell(row, 0, 0), STR("t")) };
    uint64_t *numbers[] = { &a.start_us, &a.end_us, &a.account, &a.granted, &a.left };
    for (int i = 0; i < 5; i++)
        *numbers[i] = strtoull(sql_cell(row, 0, i + 1).data, NULL, 10);
    sql_result_free(row);
    return a;
}

static void one_call(struct lessee *l, struct quota_pot *pot, const struct uuid *tenant,
                     uint64_t amount, uint64_t start_us)
{
    l->serial += any(3);
    uint64_t keep =
        any(2) || l->account.granted == 0 ? l->account.granted : any(l->account.granted + 1);
    struct quota_ask ask = { .serial = 10 + l->serial - any(2),
                             .at_us = clock_real_us(),
                             .start_us = any(5) ? start_us : start_us - 1,
                             .keep = keep,
                             .known = any(4) != 0,
                             .want = any(20),
                             .least = any(3) };
    struct quota_answer model = { 0 }, got = call_sql(&ask, &l->id, tenant);
    quota_lease(pot, &l->account, amount, &ask, ask.start_us == got.start_us, &model);
    assert_int_equal(got.done, model.done);
    if (!got.done)
        return;
    assert_int_equal(got.account, model.account);
    assert_int_equal(got.granted, model.granted);
    assert_int_equal(got.left, model.left);
    assert_int_equal(got.end_us - got.start_us, 86400000000);
    assert_in_range(clock_real_us(), got.start_us, got.end_us);
}

static void the_function_and_its_model_agree(void **state)
{
    (void)state;
    for (int sequence = 0; sequence < 10; sequence++) {
        struct lessee lessees[3] = { { .serial = 0 } };
        struct quota_pot pot = { 0 };
        uint64_t amount = 50 + any(500), start_us = clock_real_us() / 86400000000 * 86400000000;
        struct uuid tenant = tenant_with(amount);
        for (size_t i = 0; i < 3; i++)
            uuid_random(&lessees[i].id);
        for (int i = 0; i < 80; i++) {
            one_call(&lessees[any(3)], &pot, &tenant, amount, start_us);
            assert_in_range(pot.granted, 0, amount);
        }
        assert_int_equal(granted_of(&tenant), pot.granted);
    }
}

static void periods_begin_in_the_zone_of_the_limit_or_the_tenant(void **state)
{
    (void)state;
    struct uuid tenant = tenant_with(10), lessee;
    uuid_random(&lessee);
    char id[UUID_TEXT_MAX], statement[300];
    uuid_format(&tenant, id);
    for (uint64_t serial = 1; serial < 4; serial++) {
        static const char *const zones[] = { "UTC", "Asia/Kolkata", "America/New_York" };
        (void)snprintf(statement, sizeof(statement),
                       serial == 3
                           ? "UPDATE maas.limits SET time_zone = '%s' WHERE tenant_id = '%s'"
                           : "UPDATE maas.tenants SET time_zone = '%s' WHERE id = '%s'",
                       zones[serial - 1], id);
        pg_private_run(server, statement);
        struct quota_ask ask = {
            .serial = serial, .at_us = clock_real_us(), .want = 1, .least = 1
        };
        struct quota_answer got = call_sql(&ask, &lessee, &tenant);
        (void)snprintf(statement, sizeof(statement),
                       "SELECT (extract(epoch FROM date_trunc('day', now(), '%s')) * "
                       "1000000)::bigint",
                       zones[serial - 1]);
        assert_true(got.done);
        assert_int_equal(got.start_us, ask_number(statement));
    }
}

static void a_closed_lessee_gets_nothing_and_a_mad_clock_neither(void **state)
{
    (void)state;
    struct uuid tenant = tenant_with(100), lessee;
    char id[UUID_TEXT_MAX];
    uuid_random(&lessee);
    uuid_format(&lessee, id);
    struct quota_ask ask = { .serial = 1, .at_us = clock_real_us(), .want = 2, .least = 2 };
    assert_true(call_sql(&ask, &lessee, &tenant).done);
    assert_int_equal(
        sql_exec(sql, "SELECT maas.quota_close($1)", &(struct str){ id, 36 }, 1, NULL, NULL),
        MAAS_OK);
    assert_int_equal(granted_of(&tenant), 0); /* nothing was billed */
    ask.serial = 2;
    assert_false(call_sql(&ask, &lessee, &tenant).done);
    assert_int_equal(granted_of(&tenant), 0);
    char text[9][UUID_TEXT_MAX];
    struct str values[11];
    ask.at_us += 3600000000ull;
    uuid_random(&lessee);
    words_of(&ask, &lessee, &tenant, text, values);
    assert_int_not_equal(sql_exec(sql,
                                  "SELECT maas.quota_lease($1, $2, $3, $4, $5, $6, $7, $8, $9, "
                                  "$10, $11)",
                                  values, 11, NULL, NULL),
                         MAAS_OK);
}

/* ---- gateways on one pot */

enum { GATES = 3, HELD_MAX = 256 };

struct site {
    struct gate gates[GATES];
    struct pg *pgs[GATES];
    struct bucket *buckets[GATES];
    struct uuid lessees[GATES];
    struct limits_hold hold;
};

static bool pg_up(void *arg)
{
    return pg_is_up(arg);
}

static void gateway_open(struct site *s, size_t i, const struct uuid *tenant, uint64_t amount)
{
    struct limiter_config config = {
        .gateways_max = GATES, .buckets_max = 100, .wait_ms = 10, .quota_wait_ms = 2000
    };
    struct gate *g = &s->gates[i];
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    uuid_random(&config.lessee);
    s->lessees[i] = config.lessee;
    *g = (struct gate){ .loop = loop };
    assert_int_equal(limiter_new(&config, &g->limiter, NULL), MAAS_OK);
    assert_int_equal(
        pg_new(loop, pg_private_conninfo(server, "maas_gateway", conninfo), 1000, &s->pgs[i], NULL),
        MAAS_OK);
    assert_int_equal(limits_port_new(g->limiter, loop, NULL, s->pgs[i], &g->port, NULL), MAAS_OK);
    assert_true(loop_until(loop, 3000, pg_up, s->pgs[i]));
    s->buckets[i] = bucket_get(g->limiter, &(struct limit){ .scope = LIMIT_TENANT,
                                                            .measure = MEASURE_DAY,
                                                            .id = *tenant,
                                                            .rate.rate = amount });
}

static void site_open(struct site *s, const struct uuid *tenant, uint64_t amount)
{
    *s = (struct site){ .hold = { 0 } };
    assert_int_equal(loop_new(0, &loop, NULL), MAAS_OK);
    for (size_t i = 0; i < GATES; i++)
        gateway_open(s, i, tenant, amount);
}

static void site_close(struct site *s, bool returned)
{
    for (size_t i = 0; i < GATES; i++) {
        limits_port_free(s->gates[i].port);
        pg_free(s->pgs[i]);
    }
    loop_free(loop);
    for (size_t i = 0; i < GATES; i++) {
        if (returned)
            assert_int_equal(limits_return(s->gates[i].limiter, sql, NULL), MAAS_OK);
        bucket_unref(s->buckets[i]);
        limiter_free(s->gates[i].limiter);
    }
}

/* A request that may cost `units`. */
static struct limits_verdict spend(struct site *s, size_t gate, uint64_t units,
                                   struct limits_hold *hold)
{
    const struct limits_want want = { &s->buckets[gate], 1, units, AWAY_LOCAL };
    struct ask a = { .waiter = { .done = ask_done, .hold = hold } };
    hold->count = 0;
    limits_try(s->gates[gate].port, &want, clock_mono_ns(), hold, &a.verdict);
    a.answered = a.verdict.outcome != LIMITS_WAIT;
    if (!a.answered) {
        limits_wait(s->gates[gate].port, &a.waiter, &want, clock_mono_ns());
        assert_true(loop_until(loop, 4000, ask_is_answered, &a));
    }
    return a.verdict;
}

/* Requests that may cost `price` and cost 1, until so many in a row are refused. */
static uint64_t spend_all(struct site *s, uint64_t price)
{
    uint64_t spent = 0;
    for (int refused = 0; refused < 20;) {
        if (spend(s, any(GATES), price, &s->hold).outcome == LIMITS_YES) {
            spent++;
            limits_settle(&s->hold, 1);
            refused = 0;
        } else {
            refused++;
        }
    }
    return spent;
}

static void three_gateways_spend_the_quota_and_no_unit_more(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(1000);
    site_open(&s, &tenant, 1000);
    uint64_t spent = spend_all(&s, 2);
    assert_in_range(spent, 990, 1000);
    struct limits_verdict last = spend(&s, 0, 900, &s.hold);
    assert_int_equal(last.outcome, LIMITS_NO);
    assert_int_equal(last.measure, MEASURE_DAY);
    assert_int_equal(last.limit, 1000);
    assert_in_range(last.window_s, 86400, 86400);
    assert_in_range(last.reset_ms, 1, 86400000);
    assert_int_equal(spend(&s, 0, 1001, &s.hold).retry_after_ms, UINT64_MAX);
    site_close(&s, true);
    assert_int_equal(granted_of(&tenant), spent); /* what was in hand went back */
}

static void units_that_nobody_spends_go_back_to_the_pot(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(640);
    site_open(&s, &tenant, 640);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(spend(&s, 0, 8, &s.hold).outcome, LIMITS_YES);
        limits_settle(&s.hold, 1);
    }
    assert_true(granted_of(&tenant) > 30);
    loop_for(loop, QUOTA_IDLE_MS + 1500);
    assert_int_equal(granted_of(&tenant), 30);
    site_close(&s, true);
    assert_int_equal(granted_of(&tenant), 30);
}

static void a_changed_quota_is_in_force_at_once(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(100000);
    char id[UUID_TEXT_MAX], statement[200];
    struct limit limit = { LIMIT_TENANT, MEASURE_DAY, tenant, { { 0 } }, { .rate = 40 }, 0 };
    site_open(&s, &tenant, 100000);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(spend(&s, 0, 1, &s.hold).outcome, LIMITS_YES);
        limits_settle(&s.hold, 1);
    }
    uuid_format(&tenant, id);
    (void)snprintf(statement, sizeof(statement),
                   "UPDATE maas.limits SET amount = 40 WHERE tenant_id = '%s'", id);
    pg_private_run(server, statement);
    bucket_unref(bucket_get(s.gates[0].limiter, &limit)); /* as when the key is read anew */
    assert_int_equal(spend(&s, 0, 1, &s.hold).outcome, LIMITS_NO);
    assert_int_equal(granted_of(&tenant), 50);
    limit.rate.rate = 60;
    (void)snprintf(statement, sizeof(statement),
                   "UPDATE maas.limits SET amount = 60 WHERE tenant_id = '%s'", id);
    pg_private_run(server, statement);
    bucket_unref(bucket_get(s.gates[0].limiter, &limit));
    assert_int_equal(spend_all(&s, 1), 10);
    site_close(&s, true);
}

static void a_lost_answer_costs_no_unit(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(64);
    site_open(&s, &tenant, 64);
    assert_int_equal(spend(&s, 0, 1, &s.hold).outcome, LIMITS_YES);
    limits_settle(&s.hold, 1);
    pg_private_freeze(server);
    assert_int_equal(spend(&s, 0, 3, &s.hold).outcome, LIMITS_AWAY);
    pg_private_thaw(server); /* what was sent may be done now */
    assert_true(loop_until(loop, 5000, pg_up, s.pgs[0]));
    uint64_t spent = 1 + spend_all(&s, 1);
    assert_int_equal(spent, 64);
    site_close(&s, true);
    assert_int_equal(granted_of(&tenant), spent);
}

static void without_postgres_a_quota_is_closed_unless_its_plan_says_otherwise(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(6400);
    site_open(&s, &tenant, 6400);
    assert_int_equal(spend(&s, 0, 50, &s.hold).outcome, LIMITS_YES);
    limits_settle(&s.hold, 10);
    pg_private_down(server);
    loop_for(loop, 200);
    assert_int_equal(spend(&s, 0, 40, &s.hold).outcome, LIMITS_YES); /* of what is in hand */
    limits_settle(&s.hold, 40);
    assert_int_equal(spend(&s, 0, 1, &s.hold).outcome, LIMITS_AWAY);
    const struct limits_want open = { &s.buckets[0], 1, 1, AWAY_OPEN };
    struct limits_verdict verdict;
    limits_try(s.gates[0].port, &open, clock_mono_ns(), &s.hold, &verdict);
    assert_int_equal(verdict.outcome, LIMITS_YES);
    limits_settle(&s.hold, 1);
    pg_private_up(server);
    assert_true(loop_until(loop, 5000, pg_up, s.pgs[0]));
    assert_int_equal(spend(&s, 0, 1, &s.hold).outcome, LIMITS_YES);
    limits_settle(&s.hold, 1);
    site_close(&s, true);
    assert_int_equal(granted_of(&tenant), 51);
}

static void bill(const struct uuid *spool, const struct uuid *tenant, uint64_t units)
{
    char spool_text[UUID_TEXT_MAX], tenant_text[UUID_TEXT_MAX], statement[700];
    uuid_format(spool, spool_text);
    uuid_format(tenant, tenant_text);
    (void)snprintf(statement, sizeof(statement),
                   "SELECT maas.usage_append('%s', 0, 1, ARRAY[%" PRIu64 "], ARRAY['%s'::uuid], "
                   "ARRAY['%s'::uuid], ARRAY['%s'::uuid], ARRAY['%s'::uuid], ARRAY['%s'::uuid], "
                   "'{1}', '{1}', '{%" PRIu64 "}', '{1}', '{1}', '{200}', '{1}')",
                   spool_text, clock_real_us(), tenant_text, tenant_text, tenant_text, tenant_text,
                   tenant_text, units);
    pg_private_run(server, statement);
}

static void a_dead_gateways_units_come_free_when_its_spool_was_taken_over(void **state)
{
    (void)state;
    struct site s;
    struct uuid tenant = tenant_with(640);
    char id[UUID_TEXT_MAX];
    site_open(&s, &tenant, 640);
    assert_int_equal(spend(&s, 0, 300, &s.hold).outcome, LIMITS_YES);
    limits_settle(&s.hold, 7);
    assert_int_equal(granted_of(&tenant), 300);
    bill(&s.lessees[0], &tenant, 7); /* the gateway is killed; somebody ships its spool … */
    uuid_format(&s.lessees[0], id);
    for (int again = 0; again < 2; again++) /* … and says so, perhaps twice */
        assert_int_equal(
            sql_exec(sql, "SELECT maas.quota_close($1)", &(struct str){ id, 36 }, 1, NULL, NULL),
            MAAS_OK);
    assert_int_equal(granted_of(&tenant), 7);
    site_close(&s, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_spent_within_their_period_and_not_after),
        cmocka_unit_test(a_doubted_quota_is_asked_again_before_more_is_spent),
        cmocka_unit_test(the_function_and_its_model_agree),
        cmocka_unit_test(periods_begin_in_the_zone_of_the_limit_or_the_tenant),
        cmocka_unit_test(a_closed_lessee_gets_nothing_and_a_mad_clock_neither),
        cmocka_unit_test(three_gateways_spend_the_quota_and_no_unit_more),
        cmocka_unit_test(units_that_nobody_spends_go_back_to_the_pot),
        cmocka_unit_test(a_changed_quota_is_in_force_at_once),
        cmocka_unit_test(a_lost_answer_costs_no_unit),
        cmocka_unit_test(without_postgres_a_quota_is_closed_unless_its_plan_says_otherwise),
        cmocka_unit_test(a_dead_gateways_units_come_free_when_its_spool_was_taken_over),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
