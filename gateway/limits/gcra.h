/*
 * gcra.h: the mathematics of a rate limit: pure functions, no clock, no memory. [any]
 *
 * A limit of r tokens a second and burst b is a bucket that holds at most b' tokens and fills at r.
 * (GCRA and the token bucket are one algorithm; the level is stored instead of the theoretical
 * arrival time because it keeps its meaning when the rate changes.) Everything is an integer: a
 * bucket counts ticks, `den` ticks are a token and `num` ticks accrue in a microsecond. All values
 * stay below 2^51 so that the same sums in Lua's doubles are exact.
 *
 * WHY LEASES KEEP THE BOUND. Gateways spend tokens from leases. A token granted at g is spent at s
 * with g <= s <= g + T, T being the lifetime of a lease. What is spent in a window [t, t+W] was
 * thus granted in [t-T, t+W], and the bucket grants at most b' + r*(W+T) in a window of length W+T.
 * With
 *
 *     b' = b - r*T      that is      b - r*T + r*W + r*T = b + r*W,
 *
 * whatever the number of gateways and however late or early they spend. The size of a lease does
 * not appear in it, only its age. T = min(1 s, b/10r), so exactness costs at most a tenth of the
 * burst. The argument needs three things: T is counted from before the call was sent (s <= sent + T
 * <= g + T); an unspent token is never returned to the bucket; and all lessees of a bucket agree on
 * T, which they do because T follows from r and b alone.
 *
 * Where b/10 < 2 or T would be under 5 ms, T is 0 and b' = b: tokens are taken for the requests
 * that wait for them, none in stock. A request then is admitted at the instant of its grant; it
 * learns of it one reply later.
 */
#ifndef MAAS_LIMITS_GCRA_H
#define MAAS_LIMITS_GCRA_H

#include "limits/limits.h"

#define GCRA_TOKENS_MAX (1u << 30) /* of one call, one lease, one request */

/* What follows from a rate. Immutable. */
struct gcra_plan {
    uint64_t num;       /* ticks a microsecond adds */
    uint64_t den;       /* ticks of one token */
    uint64_t cap;       /* ticks the bucket holds: b' */
    uint64_t lease_us;  /* T; 0: single tokens */
    uint64_t lease_max; /* tokens of a lease that no request waits for */
    uint64_t cost_max;  /* whole tokens of cap: a request that costs more never passes */
    double token_ns;    /* for estimates: nanoseconds of one token */
    double tokens_per_ns;
};

/*
 * Zeros count as 1. A burst that takes longer than 2^42 us (50 days) to fill is cut to that; where
 * ticks would grow past 2^50 the rate is rounded down, by less than 0.5 % (fills in 50 days) or
 * 0.04 % (in a day).
 */
void gcra_plan_of(const struct rate *rate, struct gcra_plan *out);

/* Nanoseconds in which n tokens accrue, rounded up. n <= cost_max. */
uint64_t gcra_wait_ns(const struct gcra_plan *plan, uint64_t n);
/* Nanoseconds in which `level` ticks accrue, rounded up. */
uint64_t gcra_level_ns(const struct gcra_plan *plan, uint64_t level);

/* ---- what the script does in Redis, in C: the model its tests compare it with */

struct gcra_state { /* the value of a bucket's key; `den` 0: there is none */
    uint64_t level, den, at_us;
};
struct gcra_heard { /* since when Redis was asked without a gap; zeroed: never */
    uint64_t since_us, last_us;
};
#define GCRA_GAP_US   500000u /* nobody asked for so long: nobody could */
#define GCRA_GRACE_US 500000u /* then, so long, all go on alone; one gateway need not wait */
void gcra_hear(struct gcra_heard *heard, uint64_t now_us);

struct gcra_ask {
    uint64_t want;       /* tokens */
    uint64_t least;      /* grant nothing rather than fewer */
    uint64_t created_us; /* when the limit came into being */
};
struct gcra_answer {
    uint64_t granted;
    uint64_t level;    /* ticks left */
    uint64_t young_us; /* not 0: not shared for so long; nothing was granted */
};
/* Slack between the clocks of who stamps `created_us` and Redis. */
#define GCRA_CREATED_SLACK_US 1000000u
/* After gcra_hear at the same time. */
void gcra_take(struct gcra_state *state, const struct gcra_plan *plan,
               const struct gcra_heard *heard, uint64_t grace_us, uint64_t now_us,
               const struct gcra_ask *ask, struct gcra_answer *out);

/* ---- how much to ask for: tokens spent per lease lifetime, measured when a refill is sent */

struct demand {
    uint64_t start_ns, current, previous;
};
void demand_note(struct demand *demand, uint64_t spent, uint64_t now_ns, uint64_t span_ns);
/* Half a lifetime's demand, so that nearly all of it is spent before it expires; 1..lease_max. */
uint64_t demand_want(const struct demand *demand, const struct gcra_plan *plan);

#endif
