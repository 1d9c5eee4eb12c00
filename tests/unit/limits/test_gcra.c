/* test_gcra.c: the mathematics of a limit with a moving clock: the bound, the use, the edges. */
#include "limits/gcra.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t seed = 88172645463325252ull;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static struct gcra_plan plan_of(uint64_t rate, uint32_t window_ms, uint64_t burst)
{
    struct gcra_plan plan;
    gcra_plan_of(&(struct rate){ rate, window_ms, burst }, &plan);
    return plan;
}

static void a_rate_becomes_ticks_without_rounding(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(100, 60000, 100);
    assert_int_equal(plan.num, 1);
    assert_int_equal(plan.den, 600000);
    assert_int_equal(plan.lease_us, 1000000); /* b/10r is 6 s */
    assert_int_equal(plan.cap, 100 * 600000 - 1000000);
    assert_int_equal(plan.cost_max, 98);
    assert_int_equal(plan.lease_max, 10);
    plan = plan_of(1000, 1000, 1000);
    assert_int_equal(plan.lease_us, 100000);
    assert_int_equal(plan.cost_max, 900);
    plan = plan_of(3, 1000, 30); /* a token is 333,333.3… us */
    assert_int_equal(plan.num * 1000000, plan.den * 3);
}

static void small_limits_take_single_tokens_and_keep_their_burst(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(10, 1000, 19);
    assert_int_equal(plan.lease_us, 0);
    assert_int_equal(plan.cost_max, 19);
    assert_int_equal(plan.lease_max, 1);
    plan = plan_of(10000, 1000, 100); /* 1 ms of stock is none */
    assert_int_equal(plan.lease_us, 0);
    assert_int_equal(plan.cost_max, 100);
}

static void every_rate_keeps_to_the_range_where_doubles_are_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t rate = 1 + (seed % 3 ? any(1000000) : any(UINT64_MAX));
        uint32_t window = (uint32_t)(1 + (any(2) ? any(86400000) : any(UINT32_MAX)));
        uint64_t burst = 1 + (any(2) ? any(1000000) : any(UINT64_MAX));
        struct gcra_plan p = plan_of(rate, window, burst);
        assert_true(p.num > 0 && p.den > 0);
        assert_true(p.cap < 1ull << 51 && p.cap >= p.den);
        assert_true(p.num < 1ull << 41);
        assert_true(p.cost_max >= 1 && p.cost_max <= GCRA_TOKENS_MAX);
        assert_true(p.lease_us <= 1000000);
        /* never faster than asked, and by less than 0.5 % slower */
        double asked = (double)(rate < 1ull << 40 ? rate : 1ull << 40) / (1000.0 * window);
        double got = (double)p.num / (double)p.den;
        assert_true(got <= asked * (1 + 1e-12));
        assert_true(got >= asked * 0.995);
    }
}

static void zeros_count_as_one(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(0, 0, 0);
    assert_int_equal(plan.num, 1);
    assert_int_equal(plan.den, 1000);
    assert_int_equal(plan.cost_max, 1);
}

static uint64_t take(struct gcra_state *s, const struct gcra_plan *p, uint64_t now, uint64_t want,
                     uint64_t least, uint64_t created)
{
    struct gcra_answer answer;
    const struct gcra_heard heard = { 1000000, now };
    gcra_take(s, p, &heard, 0, now, &(struct gcra_ask){ want, least, created }, &answer);
    return answer.granted;
}

static void a_missing_bucket_starts_empty_unless_its_limit_is_younger(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(10, 1000, 10);
    struct gcra_state old = { 0 }, young = { 0 }, unsure = { 0 }, later = { 0 };
    assert_int_equal(take(&old, &plan, 1000000, 10, 1, 0), 0);
    assert_int_equal(take(&young, &plan, 2500000, 10, 1, 2000001), 10);
    assert_int_equal(take(&unsure, &plan, 1000000, 10, 1, 2000000), 0);
    assert_int_equal(take(&later, &plan, 1000000 + 500000, 10, 1, 0), 5); /* half a second later */
}

static void fewer_than_the_least_are_not_granted(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(10, 1000, 10);
    struct gcra_state s = { .level = 4 * plan.den, .den = plan.den, .at_us = 5000000 };
    assert_int_equal(take(&s, &plan, 5000000, 8, 5, 0), 0);
    assert_int_equal(take(&s, &plan, 5000000, 8, 4, 0), 4);
    assert_int_equal(take(&s, &plan, 5099999, 8, 1, 0), 0);
    assert_int_equal(take(&s, &plan, 5100000, 8, 1, 0), 1); /* to the microsecond */
}

static void a_clock_that_steps_back_grants_nothing(void **state)
{
    (void)state;
    struct gcra_plan plan = plan_of(10, 1000, 10);
    struct gcra_state s = { .level = 2 * plan.den, .den = plan.den, .at_us = 9000000 };
    assert_int_equal(take(&s, &plan, 4000000, 10, 1, 0), 2);
    assert_int_equal(take(&s, &plan, 4000001, 10, 1, 0), 0);
}

static void a_changed_rate_keeps_whole_tokens_and_the_lower_cap(void **state)
{
    (void)state;
    struct gcra_plan was = plan_of(10, 1000, 15), is = plan_of(7, 1000, 9);
    struct gcra_state s = { .level = 5 * was.den + 1, .den = was.den, .at_us = 5000000 };
    assert_int_equal(take(&s, &is, 5000000, 3, 1, 0), 3);
    assert_int_equal(s.level, 2 * is.den);
    s = (struct gcra_state){ .level = 15 * was.den, .den = was.den, .at_us = 5000000 };
    assert_int_equal(take(&s, &is, 5000000, 20, 1, 0), 9);
}

static void what_a_wait_promises_is_there_after_it(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct gcra_plan p = plan_of(1 + any(5000), (uint32_t)(1 + any(100000)), 1 + any(500));
        struct gcra_state s = { .level = any(p.den), .den = p.den, .at_us = 7000000 };
        uint64_t n = 1 + any(p.cost_max);
        uint64_t wait_ns = gcra_wait_ns(&p, n) - gcra_level_ns(&p, s.level);
        assert_int_equal(take(&s, &p, 7000000 + wait_ns / 1000 + 2, n, n, 0), n);
    }
}

/* ---- the bound, by simulation: gateways that lease, spend late or early, and let leases lapse */

#define SPENDS_MAX 200000

struct world {
    struct gcra_plan plan;
    struct gcra_state redis;
    uint64_t now_us, spends_us[SPENDS_MAX];
    size_t spends;
    bool patient;        /* gateways conspire: after a pause all hold their tokens … */
    uint64_t release_us; /* … until then, shortly before the first expires */
};

struct gateway {
    uint64_t tokens, expires_us;
    uint64_t spend_at_us; /* it holds its tokens back until then */
};

static void spend_all(struct world *w, struct gateway *g)
{
    while (g->tokens > 0 && w->spends < SPENDS_MAX) {
        g->tokens--;
        w->spends_us[w->spends++] = w->now_us;
    }
}

/* One gateway's turn. What the network delays lies between sent and granted, and after it. */
static void turn(struct world *w, struct gateway *g)
{
    uint64_t life = w->plan.lease_us;
    if (g->tokens > 0 && w->now_us >= g->spend_at_us && w->now_us < g->expires_us)
        spend_all(w, g);
    if (g->tokens > 0 && w->now_us < g->expires_us)
        return;
    g->tokens = 0;
    uint64_t sent_us = w->now_us - any(life / 4 + 1);
    struct gcra_answer answer;
    gcra_take(
        &w->redis, &w->plan, &(struct gcra_heard){ 0, w->now_us }, 0, w->now_us,
        &(struct gcra_ask){ w->patient ? w->plan.lease_max : 1 + any(w->plan.lease_max), 1, 0 },
        &answer);
    g->tokens = answer.granted;
    if (w->patient && life)
        sent_us = w->now_us;
    g->expires_us = sent_us + life;
    if (w->patient)
        g->spend_at_us = w->release_us;
    else
        g->spend_at_us = any(3) ? g->expires_us - 1 - any(life / 8 + 1) : w->now_us;
    if (life == 0 || g->spend_at_us <= w->now_us)
        spend_all(w, g);
}

/* The most that any window held beyond b + r*W: windows begin and end at spends. For each end, the
 * worst begin is the one with the least begin * r - index, kept while walking. */
static double worst_excess(const struct world *w, double rate_us, double burst)
{
    double worst = -burst, best_begin = 1e300;
    for (size_t i = 0; i < w->spends; i++) {
        double line = (double)i - rate_us * (double)w->spends_us[i];
        if (line < best_begin)
            best_begin = line;
        double excess = line - best_begin + 1 - burst;
        if (excess > worst)
            worst = excess;
    }
    return worst;
}

static double simulate(struct world *w, const struct rate *rate, size_t gateways,
                       uint64_t length_us)
{
    struct gateway g[16] = { { 0, 0, 0 } };
    gcra_plan_of(rate, &w->plan);
    w->redis = (struct gcra_state){ .level = w->plan.cap, .den = w->plan.den, .at_us = 1000000000 };
    w->now_us = 1000000000;
    w->spends = 0;
    w->patient = any(2);
    w->release_us = 0;
    uint64_t end_us = w->now_us + length_us,
             pace = w->plan.lease_us ? w->plan.lease_us / (w->patient ? 32 : 4) : 20000;
    while (w->now_us < end_us && w->spends < SPENDS_MAX) {
        turn(w, &g[any(gateways)]);
        w->now_us += any(pace / gateways + 2);
        if (any(4000) == 0) { /* a pause fills the bucket */
            w->now_us += any(2 * w->plan.cap / w->plan.num);
            w->release_us = w->now_us + w->plan.lease_us / 8 * 7;
        }
    }
    return worst_excess(w, (double)rate->rate / (1000.0 * rate->window_ms), (double)rate->burst);
}

static void no_window_holds_more_than_burst_and_rate_whatever_leases_do(void **state)
{
    (void)state;
    static struct world w;
    double closest = -1e9;
    for (int i = 0; i < 150; i++) {
        struct rate rate = { 1 + any(3000), (uint32_t)(any(2) ? 1000 : 60000), 1 + any(3000) };
        double excess = simulate(&w, &rate, 1 + any(16), 20000000);
        assert_true(excess <= 1e-6);
        if (excess > closest)
            closest = excess;
    }
    assert_true(closest > -2); /* the bound is tight: the simulation comes within two tokens */
}

static void without_compensation_the_simulation_breaks_the_bound(void **state)
{
    (void)state;
    static struct world w;
    double worst = -1e9;
    for (int i = 0; i < 10; i++) {
        (void)simulate(&w, &(struct rate){ 1000, 1000, 1111 }, 16, 20000000); /* b' = 1000 */
        double excess = worst_excess(&w, 0.001, 1000);
        if (excess > worst)
            worst = excess;
    }
    assert_true(worst > 50);
}

static void under_demand_at_least_99_percent_of_the_rate_is_used(void **state)
{
    (void)state;
    static const struct rate rates[] = { { 1000, 1000, 1000 }, { 100, 1000, 100 },
                                         { 50, 1000, 20 },     { 10, 1000, 10 },
                                         { 100, 60000, 100 },  { 20000, 1000, 2000 } };
    for (size_t k = 0; k < COUNT_OF(rates); k++) {
        struct gcra_plan p;
        gcra_plan_of(&rates[k], &p);
        struct gcra_state redis = { .level = 0, .den = p.den, .at_us = 1000000 };
        uint64_t now_us = 1000000, spent = 0, length_us = 60000000;
        double token_us = 1000.0 * rates[k].window_ms / (double)rates[k].rate;
        while (now_us < 1000000 + length_us) { /* three gateways, one and a half times the rate */
            struct gcra_answer answer;
            gcra_take(&redis, &p, &(struct gcra_heard){ 0, now_us }, 0, now_us,
                      &(struct gcra_ask){ p.lease_max, 1, 0 }, &answer);
            spent += answer.granted;
            now_us += 1 + any((uint64_t)(token_us / 3 * 4 / 3 * 2));
        }
        assert_true((double)spent >= 0.99 * (double)length_us / token_us - 1);
    }
}

static void demand_follows_use_and_half_of_it_is_asked_for(void **state)
{
    (void)state;
    struct gcra_plan p = plan_of(10000, 1000, 10000); /* T 100 ms, leases up to 1,000 */
    const uint64_t span = 100000000;
    struct demand d = { .start_ns = 0 };
    assert_int_equal(demand_want(&d, &p), 1);
    demand_note(&d, 40, 50000000, span);
    assert_int_equal(demand_want(&d, &p), 20); /* grows within the span … */
    demand_note(&d, 60, 100000000, span);
    assert_int_equal(demand_want(&d, &p), 50); /* … and holds after it */
    demand_note(&d, 10, 1100000000, span);     /* a second in which ten were spent */
    assert_int_equal(demand_want(&d, &p), 1);
    demand_note(&d, 1000000, 1150000000, span);
    assert_int_equal(demand_want(&d, &p), p.lease_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_becomes_ticks_without_rounding),
        cmocka_unit_test(small_limits_take_single_tokens_and_keep_their_burst),
        cmocka_unit_test(every_rate_keeps_to_the_range_where_doubles_are_exact),
        cmocka_unit_test(zeros_count_as_one),
        cmocka_unit_test(a_missing_bucket_starts_empty_unless_its_limit_is_younger),
        cmocka_unit_test(fewer_than_the_least_are_not_granted),
        cmocka_unit_test(a_clock_that_steps_back_grants_nothing),
        cmocka_unit_test(a_changed_rate_keeps_whole_tokens_and_the_lower_cap),
        cmocka_unit_test(what_a_wait_promises_is_there_after_it),
        cmocka_unit_test(no_window_holds_more_than_burst_and_rate_whatever_leases_do),
        cmocka_unit_test(without_compensation_the_simulation_breaks_the_bound),
        cmocka_unit_test(under_demand_at_least_99_percent_of_the_rate_is_used),
        cmocka_unit_test(demand_follows_use_and_half_of_it_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
