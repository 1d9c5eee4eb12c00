/*
 * local.c: GCRA in one atomic word, for while Redis is away.
 *
 * `full_ns` is GCRA's theoretical arrival time: the bucket lacks (full_ns - now) / token tokens.
 * With N gateways that each run r/N and b/N from empty, all of them together admit at most r*t + b
 * after Redis went (N tokens where b < N), beside the leases in hand.
 *
 * Rejected: starting full (each outage would be worth a burst; one can be provoked); continuing
 * Redis' last known level (the other gateways spent from it too).
 */
#include "limits/local.h"

typedef unsigned __int128 wide;

void local_plan_of(const struct rate *rate, uint32_t gateways, struct local_plan *out)
{
    uint64_t n = gateways ? gateways : 1;
    uint64_t window_ns = 1000000ull * (rate->window_ms ? rate->window_ms : 1);
    uint64_t burst = rate->burst / n;
    if (burst == 0)
        burst = 1;
    *out = (struct local_plan){ .token_ns_num = window_ns * n,
                                .token_ns_den = rate->rate ? rate->rate : 1,
                                .burst = burst < (1u << 30) ? burst : (1u << 30) };
}

static uint64_t tokens_ns(const struct local_plan *plan, uint64_t tokens)
{
    wide ns = ((wide)tokens * plan->token_ns_num + plan->token_ns_den - 1) / plan->token_ns_den;
    return ns < (UINT64_MAX >> 2) ? (uint64_t)ns : UINT64_MAX >> 2;
}

void local_sleep(struct local *local)
{
    if (atomic_load_explicit(&local->full_ns, memory_order_relaxed) != 0)
        atomic_store_explicit(&local->full_ns, 0, memory_order_relaxed);
}

bool local_take(struct local *local, const struct local_plan *plan, uint64_t cost,
                uint64_t since_ns, uint64_t now_ns, uint64_t *out_wait_ns)
{
    if (cost > plan->burst) {
        *out_wait_ns = UINT64_MAX;
        return false;
    }
    uint64_t depth = tokens_ns(plan, plan->burst), price = tokens_ns(plan, cost);
    uint64_t full = atomic_load_explicit(&local->full_ns, memory_order_relaxed);
    for (;;) {
        uint64_t from = full ? full : since_ns + depth;
        uint64_t next = (from > now_ns ? from : now_ns) + price;
        if (next > now_ns + depth) {
            *out_wait_ns = next - depth - now_ns;
            atomic_compare_exchange_strong_explicit(&local->full_ns, &full, from,
                                                    memory_order_relaxed, memory_order_relaxed);
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&local->full_ns, &full, next,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}

void local_give_back(struct local *local, const struct local_plan *plan, uint64_t cost)
{
    uint64_t price = tokens_ns(plan, cost);
    uint64_t full = atomic_load_explicit(&local->full_ns, memory_order_relaxed);
    while (full > price &&
           !atomic_compare_exchange_weak_explicit(&local->full_ns, &full, full - price,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

uint64_t local_tokens(const struct local *local, const struct local_plan *plan, uint64_t now_ns)
{
    uint64_t full = atomic_load_explicit(&local->full_ns, memory_order_relaxed);
    uint64_t lacks_ns = full > now_ns ? full - now_ns : 0;
    uint64_t lacks = (uint64_t)(((wide)lacks_ns * plan->token_ns_den + plan->token_ns_num - 1) /
                                plan->token_ns_num);
    return lacks < plan->burst ? plan->burst - lacks : 0;
}
