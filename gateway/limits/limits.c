/*
 * limits.c: the decision about a request, and the requests that wait for one.
 *
 *   every bucket has `cost` in hand → take it from all           YES
 *   Redis away                      → lease or local bucket      YES or NO
 *   Redis cannot have it yet        → say when                   NO
 *   else                            → start what refills lack    WAIT
 *
 * All are looked at before any is taken from, so a rejected request writes nothing that others
 * read; a race lost after the look gives back what was taken.
 *
 * Rejected: taking while looking (a tenant's bucket would flicker for everyone while one key is
 * over its limit); asking Redis for each request that cannot pass (ready_ns() knows the earliest
 * time).
 */
#include "limits/port.h"

#define RACES_MAX    4
#define AWAY_HINT_MS 1000 /* not from the local bucket, but perhaps when Redis is back */

/* What one try has taken, per bucket. */
struct taken {
    struct lease_taken lease[LIMITS_MAX];
    uint64_t left[LIMITS_MAX];
};

/* ---- verdicts */

/* Whole tokens at a good estimate: `left` in hand and what Redis can still have. */
static uint64_t remaining_of(const struct bucket *b, uint64_t left, uint64_t now_ns)
{
    int64_t age_ns = (int64_t)now_ns - atomic_load_explicit(&b->empty_ns, memory_order_relaxed);
    double sum = (double)left + (age_ns > 0 ? (double)age_ns * b->plan.tokens_per_ns : 0);
    return sum < (double)b->plan.cost_max ? (uint64_t)sum : b->plan.cost_max;
}

static void verdict_of(struct limits_verdict *out, int outcome, const struct bucket *b,
                       uint64_t remaining)
{
    double lacks_ns = (double)(b->plan.cost_max - remaining) * b->plan.token_ns;
    out->outcome = outcome;
    out->tightest = b;
    out->scope = b->scope;
    out->limit = b->rate.rate;
    out->window_s = b->window_s;
    out->remaining = remaining;
    out->reset_ms = ms_up((uint64_t)lacks_ns);
    out->retry_after_ms = 0;
    out->local = false;
}

static void verdict_yes(struct limits_port *port, struct bucket *const *buckets, size_t count,
                        struct taken *taken, uint64_t now_ns, struct limits_verdict *out)
{
    size_t tightest = 0;
    uint64_t fewest = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t remaining = remaining_of(buckets[i], taken->left[i], now_ns);
        if (remaining < fewest) {
            fewest = remaining;
            tightest = i;
        }
    }
    count_up(&port->admitted);
    if (count > 0)
        verdict_of(out, LIMITS_YES, buckets[tightest], fewest);
    else
        *out = (struct limits_verdict){ .outcome = LIMITS_YES };
}

static void verdict_no(struct limits_port *port, const struct bucket *b, uint64_t remaining,
                       uint64_t wait_ns, struct limits_verdict *out)
{
    count_up(&port->rejected);
    verdict_of(out, LIMITS_NO, b, remaining);
    out->retry_after_ms = wait_ns == UINT64_MAX ? UINT64_MAX : wait_ns ? ms_up(wait_ns) : 1;
}

/* ---- leases */

static void give_back(struct bucket *const *buckets, size_t count, const struct taken *taken)
{
    for (size_t i = 0; i < count; i++)
        lease_give_back(&buckets[i]->lease, &taken->lease[i]);
}

static bool take_all(struct bucket *const *buckets, size_t count, uint64_t cost, uint64_t now_ns,
                     struct taken *out)
{
    for (size_t i = 0; i < count; i++) {
        if (!lease_take(&buckets[i]->lease, (uint32_t)cost, now_ns, &out->lease[i],
                        &out->left[i])) {
            give_back(buckets, i, out);
            return false;
        }
    }
    return true;
}

unsigned limits_lacking(struct bucket *const *buckets, size_t count, uint64_t cost, uint64_t now_ns)
{
    unsigned lacking = 0;
    for (size_t i = 0; i < count; i++)
        lacking |= (unsigned)(lease_tokens(&buckets[i]->lease, now_ns) < cost) << i;
    return lacking;
}

/* When Redis may have `need` tokens of this bucket, at the earliest. */
static uint64_t ready_ns(const struct bucket *b, uint64_t need)
{
    int64_t full = atomic_load_explicit(&b->empty_ns, memory_order_relaxed) +
                   (int64_t)gcra_wait_ns(&b->plan, need);
    uint64_t hold = atomic_load_explicit(&b->hold_ns, memory_order_relaxed);
    return full > 0 && (uint64_t)full > hold ? (uint64_t)full : hold;
}

/* Ahead of need, when so few are left that they go while the next lease travels. */
static void refill_ahead(struct limits_port *port, struct bucket *b, uint64_t left, uint64_t now_ns)
{
    if (left < atomic_load_explicit(&b->low_mark, memory_order_relaxed) &&
        atomic_load_explicit(&b->refill, memory_order_relaxed) == REFILL_IDLE &&
        now_ns >= ready_ns(b, 1) && port_is_shared(port, now_ns))
        refill_start(port, b, 1, false);
}

/* ---- Redis away: whoever has no lease in hand asks its local bucket */

/* The local bucket is empty at this time: when Redis fell silent, or when it last answered for it.
 */
static uint64_t local_since(const struct limits_port *port, const struct bucket *b, uint64_t now_ns)
{
    uint64_t answered = atomic_load_explicit(&b->answered_ns, memory_order_relaxed);
    uint64_t since = port->away_since_ns ? port->away_since_ns : silent_since(port, now_ns);
    return since > answered ? since : answered;
}

static bool take_somewhere(const struct limits_port *port, struct bucket *b, uint64_t cost,
                           uint64_t now_ns, struct lease_taken *out_lease, uint64_t *out_left,
                           uint64_t *out_wait_ns)
{
    if (lease_take(&b->lease, (uint32_t)cost, now_ns, out_lease, out_left))
        return true;
    *out_left = UINT64_MAX; /* taken from the local bucket */
    return local_take(&b->local, &b->local_plan, cost, local_since(port, b, now_ns), now_ns,
                      out_wait_ns);
}

void limits_try_local(struct limits_port *port, struct bucket *const *buckets, size_t count,
                      uint64_t cost, uint64_t now_ns, struct limits_verdict *out)
{
    struct taken taken;
    uint64_t wait_ns = 0;
    size_t i = 0;
    while (i < count && take_somewhere(port, buckets[i], cost, now_ns, &taken.lease[i],
                                       &taken.left[i], &wait_ns))
        i++;
    bool admitted = i == count;
    for (size_t k = 0; k < i; k++) {
        bool local = taken.left[k] == UINT64_MAX;
        if (local)
            taken.left[k] = local_tokens(&buckets[k]->local, &buckets[k]->local_plan, now_ns);
        if (!admitted && local)
            local_give_back(&buckets[k]->local, &buckets[k]->local_plan, cost);
        else if (!admitted)
            lease_give_back(&buckets[k]->lease, &taken.lease[k]);
    }
    count_up(&port->local_decisions);
    if (admitted) {
        verdict_yes(port, buckets, count, &taken, now_ns, out);
    } else {
        uint64_t hint = wait_ns == UINT64_MAX ? AWAY_HINT_MS * NS_PER_MS : wait_ns;
        verdict_no(port, buckets[i],
                   local_tokens(&buckets[i]->local, &buckets[i]->local_plan, now_ns), hint, out);
    }
    out->local = true;
}

/* ---- the decision */

/* Some bucket lacks: refuse when Redis cannot have it either, else ask for it. */
static void ask_for_more(struct limits_port *port, struct bucket *const *buckets, size_t count,
                         uint64_t cost, uint64_t now_ns, struct limits_verdict *out)
{
    unsigned lacking = limits_lacking(buckets, count, cost, now_ns);
    const struct bucket *worst = NULL;
    uint64_t need[LIMITS_MAX] = { 0 }, worst_ns = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(lacking >> i & 1))
            continue;
        uint64_t hand = lease_tokens(&buckets[i]->lease, now_ns);
        need[i] = hand < cost ? cost - hand : 0;
        uint64_t ready = ready_ns(buckets[i], need[i]);
        if (need[i] > 0 && ready > now_ns && ready - now_ns > worst_ns) {
            worst_ns = ready - now_ns;
            worst = buckets[i];
        }
    }
    if (worst) {
        uint64_t hand = lease_tokens(&worst->lease, now_ns);
        verdict_no(port, worst, remaining_of(worst, hand, now_ns), worst_ns, out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (need[i] > 0)
            refill_start(port, buckets[i], need[i], true);
    }
    *out = (struct limits_verdict){ .outcome = LIMITS_WAIT };
}

static const struct bucket *never_holds(struct bucket *const *buckets, size_t count, uint64_t cost)
{
    for (size_t i = 0; i < count; i++) {
        if (cost > buckets[i]->plan.cost_max)
            return buckets[i];
    }
    return NULL;
}

void limits_try(struct limits_port *port, struct bucket *const *buckets, size_t count,
                uint64_t cost, uint64_t now_ns, struct limits_verdict *out)
{
    CHECK(count <= LIMITS_MAX);
    struct taken taken;
    const struct bucket *never = never_holds(buckets, count, cost);
    if (never) {
        uint64_t hand = lease_tokens(&never->lease, now_ns);
        verdict_no(port, never, remaining_of(never, hand, now_ns), UINT64_MAX, out);
        return;
    }
    for (int races = 0; races < RACES_MAX && !limits_lacking(buckets, count, cost, now_ns);
         races++) {
        if (!take_all(buckets, count, cost, now_ns, &taken))
            continue;
        verdict_yes(port, buckets, count, &taken, now_ns, out);
        for (size_t i = 0; i < count; i++)
            refill_ahead(port, buckets[i], taken.left[i], now_ns);
        return;
    }
    if (port_is_shared(port, now_ns))
        ask_for_more(port, buckets, count, cost, now_ns, out);
    else
        limits_try_local(port, buckets, count, cost, now_ns, out);
}
