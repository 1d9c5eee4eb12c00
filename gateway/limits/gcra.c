/*
 * gcra.c: rate limits as integers.
 *
 * Ticks are chosen per limit: rate / window in lowest terms, so 100 per minute is 1 tick a
 * microsecond and 600,000 ticks a token, with no rounding at all. Products that may pass 64 bits
 * are taken in 128 here; in Lua the same products are compared before they are used, and a double
 * that is too large to be exact is also too large to matter.
 *
 * Rejected: the arrival time in microseconds as the state (rounding a token of 333.3 us up or down
 * drifts by 0.1 % and a token of 1.5 us by a third); doubles for the level (the bound would hold
 * only nearly); a fixed lease size (a hot key needs thousands, a quiet one wastes all but one).
 */
#include "limits/gcra.h"

#define TICKS_MAX    (1ull << 50)
#define FILL_MAX_US  (1ull << 42)
#define RATE_MAX     (1ull << 40)
#define BURST_MAX    (1ull << 38)
#define LEASE_US_MAX 1000000u
#define LEASE_US_MIN 5000u

typedef unsigned __int128 wide;

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t clamp(uint64_t x, uint64_t low, uint64_t high)
{
    return x > high ? (high < low ? low : high) : x < low ? low : x;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Fewer ticks a token, so that burst * den fits; the rate only ever rounds down. */
static void coarsen(struct gcra_plan *plan, uint64_t burst)
{
    wide ticks = (wide)burst * plan->den;
    if (ticks <= TICKS_MAX)
        return;
    uint64_t k = (uint64_t)((ticks + TICKS_MAX - 1) / TICKS_MAX);
    plan->den = (plan->den + k - 1) / k;
    plan->num /= k;
    CHECK(plan->num > 0);
}

static uint64_t lease_us_of(const struct gcra_plan *plan, uint64_t burst)
{
    uint64_t us = least(burst * plan->den / (10 * plan->num), LEASE_US_MAX);
    return burst < 20 || us < LEASE_US_MIN ? 0 : us;
}

void gcra_plan_of(const struct rate *rate, struct gcra_plan *out)
{
    struct gcra_plan plan = { .num = clamp(rate->rate, 1, RATE_MAX),
                              .den = 1000ull * (rate->window_ms ? rate->window_ms : 1) };
    uint64_t common = gcd(plan.num, plan.den);
    plan.num /= common;
    plan.den /= common;
    wide filled = (wide)FILL_MAX_US * plan.num / plan.den; /* tokens in 50 days */
    uint64_t burst = clamp(rate->burst, 1, filled < BURST_MAX ? (uint64_t)filled : BURST_MAX);
    coarsen(&plan, burst);
    plan.lease_us = lease_us_of(&plan, burst);
    plan.cap = burst * plan.den - plan.num * plan.lease_us;
    plan.lease_max = plan.lease_us ? clamp(burst / 10, 1, GCRA_TOKENS_MAX) : 1;
    plan.cost_max = least(plan.cap / plan.den, GCRA_TOKENS_MAX);
    plan.token_ns = (double)plan.den * 1000.0 / (double)plan.num;
    plan.tokens_per_ns = 1.0 / plan.token_ns;
    *out = plan;
}

uint64_t gcra_level_ns(const struct gcra_plan *plan, uint64_t level)
{
    return (uint64_t)(((wide)level * 1000 + plan->num - 1) / plan->num);
}

uint64_t gcra_wait_ns(const struct gcra_plan *plan, uint64_t n)
{
    return gcra_level_ns(plan, n * plan->den);
}

static uint64_t level_after(const struct gcra_plan *plan, uint64_t level, uint64_t from_us,
                            uint64_t now_us)
{
    wide sum = level + (now_us > from_us ? (wide)(now_us - from_us) * plan->num : 0);
    return sum < plan->cap ? (uint64_t)sum : plan->cap;
}

/* The stored level in this plan's ticks: whole tokens, when the rate changed. */
static uint64_t level_stored(const struct gcra_plan *plan, const struct gcra_state *state)
{
    if (state->den == plan->den)
        return state->level;
    wide level = (wide)(state->level / state->den) * plan->den;
    return level < plan->cap ? (uint64_t)level : plan->cap;
}

void gcra_hear(struct gcra_heard *heard, uint64_t now_us)
{
    if (heard->last_us == 0 || (now_us > heard->last_us && now_us - heard->last_us > GCRA_GAP_US))
        heard->since_us = now_us;
    heard->last_us = now_us;
}

void gcra_take(struct gcra_state *state, const struct gcra_plan *plan,
               const struct gcra_heard *heard, uint64_t grace_us, uint64_t now_us,
               const struct gcra_ask *ask, struct gcra_answer *out)
{
    uint64_t level, opens_us = heard->since_us + grace_us;
    *out = (struct gcra_answer){ .granted = 0 };
    if (state->den != 0 && state->at_us >= heard->since_us) {
        level = level_after(plan, level_stored(plan, state), state->at_us, now_us);
    } else if (ask->created_us > heard->since_us + GCRA_CREATED_SLACK_US) {
        level = plan->cap;
    } else if (now_us >= opens_us) {
        level = level_after(plan, 0, opens_us, now_us);
    } else {
        out->young_us = opens_us - now_us;
        return;
    }
    uint64_t left = level / plan->den;
    out->granted = left < ask->least ? 0 : least(left, ask->want);
    out->level = level - out->granted * plan->den;
    if (out->granted > 0)
        *state = (struct gcra_state){ .level = out->level, .den = plan->den, .at_us = now_us };
}

void demand_note(struct demand *demand, uint64_t spent, uint64_t now_ns, uint64_t span_ns)
{
    demand->current += spent;
    if (span_ns == 0 || now_ns < demand->start_ns + span_ns)
        return;
    uint64_t elapsed = now_ns - demand->start_ns;
    demand->previous = (uint64_t)((wide)demand->current * span_ns / elapsed);
    demand->current = 0;
    demand->start_ns = now_ns;
}

uint64_t demand_want(const struct demand *demand, const struct gcra_plan *plan)
{
    uint64_t high = demand->current > demand->previous ? demand->current : demand->previous;
    return clamp(high / 2, 1, plan->lease_max);
}
