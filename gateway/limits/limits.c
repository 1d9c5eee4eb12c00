/*
 * limits.c: the decision about a request, and what it gives back at its end.
 *
 *   every bucket has its cost in hand          → take it from all           YES
 *   a lessor cannot have it yet                → say when                   NO
 *   some lack, and their lessors can be asked  → start their refills        WAIT
 *   some lack, and their lessors are away      → hand, or this gateway's share, or neither
 *
 * All are looked at before any is taken from, so a rejected request writes nothing that others
 * read; a race lost after the look gives back what was taken.
 *
 * Rejected: taking while looking (a tenant's bucket would flicker for everyone while one key is
 * over its limit); asking the lessor for each request that cannot pass (ready_ns() knows the
 * earliest time).
 */
#include "limits/port.h"

#define RACES_MAX     4
#define AWAY_HINT_MS  1000 /* not from the local share, but perhaps when the lessor is back */
#define CROWD_HINT_MS 1000 /* when a place comes free, nobody knows */

/* One decision. */
struct trial {
    struct limits_port *port;
    const struct limits_want *want;
    struct moment at;
    struct limits_held held[LIMITS_MAX];
    uint64_t left[LIMITS_MAX];
    size_t taken;
    bool local; /* something of it is this gateway's share */
};

static struct trial trial_of(struct limits_port *port, const struct limits_want *want,
                             uint64_t now_ns)
{
    CHECK(want->count <= LIMITS_MAX);
    return (struct trial){ .port = port, .want = want, .at = { now_ns, loop_real_us(port->loop) } };
}

static uint32_t cost_at(const struct trial *t, size_t i)
{
    return bucket_cost(t->want->buckets[i], t->want->units);
}

/* ---- verdicts */

static uint64_t until_ms(const struct bucket *b, uint64_t remaining, const struct moment *at)
{
    if (b->kind == BUCKET_PLACES)
        return 0;
    if (b->kind == BUCKET_RATE)
        return ms_up((uint64_t)((double)(b->plan.cost_max - remaining) * b->plan.token_ns));
    uint64_t end_us = atomic_load_explicit(&b->quota.end_us, memory_order_relaxed);
    return end_us > at->real_us ? (end_us - at->real_us + 999) / 1000 : 0;
}

static uint32_t window_of(const struct bucket *b)
{
    if (b->kind != BUCKET_QUOTA)
        return b->window_s;
    uint64_t start_us = atomic_load_explicit(&b->quota.start_us, memory_order_relaxed);
    return (uint32_t)((atomic_load_explicit(&b->quota.end_us, memory_order_relaxed) - start_us) /
                      1000000);
}

static void verdict_of(const struct trial *t, int outcome, const struct bucket *b,
                       uint64_t remaining, struct limits_verdict *out)
{
    *out = (struct limits_verdict){ .outcome = outcome,
                                    .tightest = b,
                                    .scope = b->limit.scope,
                                    .measure = b->limit.measure,
                                    .limit = b->kind == BUCKET_RATE ? b->limit.rate.rate
                                                                    : bucket_size(b),
                                    .window_s = window_of(b),
                                    .remaining = remaining,
                                    .reset_ms = until_ms(b, remaining, &t->at),
                                    .local = t->local };
}

/* The bucket of which the smallest part is left. */
static void verdict_yes(struct trial *t, struct limits_verdict *out)
{
    const struct limits_want *w = t->want;
    double fewest = 2;
    uint64_t remaining = 0;
    const struct bucket *tightest = NULL;
    for (size_t i = 0; i < w->count; i++) {
        uint64_t rest = bucket_remaining(w->buckets[i], t->left[i], &t->at);
        double part = (double)rest / (double)bucket_size(w->buckets[i]);
        if (part < fewest) {
            fewest = part;
            remaining = rest;
            tightest = w->buckets[i];
        }
    }
    count_up(&t->port->admitted);
    if (tightest)
        verdict_of(t, LIMITS_YES, tightest, remaining, out);
    else
        *out = (struct limits_verdict){ .outcome = LIMITS_YES };
}

static void verdict_no(struct trial *t, int outcome, const struct bucket *b, uint64_t wait_ns,
                       struct limits_verdict *out)
{
    count_up(&t->port->rejected);
    verdict_of(t, outcome, b, bucket_remaining(b, hand_tokens(b, &t->at), &t->at), out);
    out->retry_after_ms = wait_ns == UINT64_MAX ? UINT64_MAX : wait_ns ? ms_up(wait_ns) : 1;
}

/* ---- taking */

static void give_all_back(struct trial *t)
{
    while (t->taken > 0) {
        size_t i = --t->taken;
        if (t->left[i] == UINT64_MAX) /* of the local bucket of a rate */
            local_give_back(&t->want->buckets[i]->local, &t->want->buckets[i]->local_plan,
                            t->held[i].cost);
        else
            hand_give_back(&t->held[i], t->held[i].cost);
    }
}

static bool take_all(struct trial *t)
{
    for (t->taken = 0; t->taken < t->want->count; t->taken++) {
        size_t i = t->taken;
        if (!hand_take(t->want->buckets[i], cost_at(t, i), &t->at, &t->held[i], &t->left[i])) {
            give_all_back(t);
            return false;
        }
    }
    return true;
}

/* A spent request of a rate gives nothing back, so only the others are kept. */
static bool is_settled_later(const struct limits_held *held)
{
    return held->bucket->limit.measure != MEASURE_REQUESTS && held->cost > 0;
}

static void fill_hold(const struct trial *t, struct limits_hold *hold)
{
    if (!hold)
        return;
    hold->count = 0;
    for (size_t i = 0; i < t->taken; i++)
        if (is_settled_later(&t->held[i])) {
            bucket_ref(t->held[i].bucket);
            hold->items[hold->count++] = t->held[i];
        }
}

void limits_settle(struct limits_hold *hold, uint64_t units)
{
    while (hold->count > 0) {
        struct limits_held *held = &hold->items[--hold->count];
        bool place = held->bucket->kind == BUCKET_PLACES;
        uint32_t spent = place ? 0 : units < held->cost ? (uint32_t)units : held->cost;
        hand_give_back(held, held->cost - spent);
        bucket_unref(held->bucket);
    }
}

unsigned limits_lacking(const struct limits_want *want, const struct moment *at)
{
    unsigned lacking = 0;
    for (size_t i = 0; i < want->count; i++)
        lacking |= (unsigned)(hand_tokens(want->buckets[i], at) <
                              bucket_cost(want->buckets[i], want->units))
                   << i;
    return lacking;
}

/* When the lessor may have `need` tokens of this bucket, at the earliest. */
static uint64_t ready_ns(const struct bucket *b, uint64_t need)
{
    uint64_t hold = atomic_load_explicit(&b->hold_ns, memory_order_relaxed);
    if (b->kind != BUCKET_RATE)
        return hold;
    int64_t full = atomic_load_explicit(&b->empty_ns, memory_order_relaxed) +
                   (int64_t)gcra_wait_ns(&b->plan, need);
    return full > 0 && (uint64_t)full > hold ? (uint64_t)full : hold;
}

/* Ahead of need, when so few are left that they go while the next lease travels. */
static void refill_ahead(struct trial *t, size_t i)
{
    struct bucket *b = t->want->buckets[i];
    if (t->left[i] < atomic_load_explicit(&b->low_mark, memory_order_relaxed) &&
        atomic_load_explicit(&b->refill, memory_order_relaxed) == REFILL_IDLE &&
        t->at.now_ns >= ready_ns(b, 1) && port_can_ask(t->port, b->kind, t->at.now_ns))
        (void)refill_start(t->port, b, b->kind == BUCKET_QUOTA ? 0 : 1, false);
}

static bool try_hand(struct trial *t, struct limits_hold *hold, struct limits_verdict *out)
{
    for (int races = 0; races < RACES_MAX && !limits_lacking(t->want, &t->at); races++) {
        if (!take_all(t))
            continue;
        verdict_yes(t, out);
        fill_hold(t, hold);
        for (size_t i = 0; i < t->want->count; i++)
            refill_ahead(t, i);
        return true;
    }
    return false;
}

/* ---- a lessor away: whoever has nothing in hand asks for this gateway's share */

/* The local bucket is empty at this time: when Redis fell silent, or when it last answered for it.
 */
static uint64_t local_since(const struct trial *t, const struct bucket *b)
{
    uint64_t answered = atomic_load_explicit(&b->answered_ns, memory_order_relaxed);
    uint64_t away = t->port->away_since_ns[BUCKET_RATE];
    uint64_t since = away ? away : silent_since(t->port, t->at.now_ns);
    return since > answered ? since : answered;
}

static uint64_t share_of(const struct bucket *b)
{
    uint32_t gateways = b->limiter->config.gateways_max;
    uint64_t share = atomic_load(&b->amount) / (gateways ? gateways : 1);
    return share ? share : 1;
}

/* Without a lease. True: taken; the verdict of a false one is in the last two. */
static bool take_share(struct trial *t, size_t i, int *out_outcome, uint64_t *out_wait_ns)
{
    struct bucket *b = t->want->buckets[i];
    t->held[i] = (struct limits_held){ .bucket = b, .cost = cost_at(t, i) };
    *out_outcome = LIMITS_AWAY;
    *out_wait_ns = AWAY_HINT_MS * NS_PER_MS;
    if (t->want->away == AWAY_OPEN) {
        t->held[i].cost = 0;
        t->left[i] = 0;
        return true;
    }
    if (t->want->away == AWAY_CLOSED || b->kind == BUCKET_QUOTA)
        return false;
    *out_outcome = LIMITS_NO;
    if (b->kind == BUCKET_PLACES) {
        t->left[i] = 0;
        return places_take_alone(&b->places, share_of(b));
    }
    t->left[i] = UINT64_MAX;
    bool taken = local_take(&b->local, &b->local_plan, t->held[i].cost, local_since(t, b),
                            t->at.now_ns, out_wait_ns);
    if (*out_wait_ns == UINT64_MAX)
        *out_wait_ns = AWAY_HINT_MS * NS_PER_MS;
    return taken;
}

static void tell_local_lefts(struct trial *t)
{
    for (size_t i = 0; i < t->taken; i++) {
        const struct bucket *b = t->want->buckets[i];
        if (t->left[i] != UINT64_MAX)
            continue;
        t->left[i] = local_tokens(&b->local, &b->local_plan, t->at.now_ns);
        t->held[i].cost = 0; /* the share of a rate is not settled */
    }
}

static void try_without(struct trial *t, struct limits_hold *hold, struct limits_verdict *out)
{
    int outcome = LIMITS_NO;
    uint64_t wait_ns = 0;
    count_up(&t->port->local_decisions);
    t->local = true;
    for (t->taken = 0; t->taken < t->want->count; t->taken++) {
        size_t i = t->taken;
        if (!hand_take(t->want->buckets[i], cost_at(t, i), &t->at, &t->held[i], &t->left[i]) &&
            !take_share(t, i, &outcome, &wait_ns)) {
            const struct bucket *b = t->want->buckets[i];
            give_all_back(t);
            verdict_no(t, outcome, b, wait_ns, out);
            if (b->kind == BUCKET_RATE)
                out->remaining = local_tokens(&b->local, &b->local_plan, t->at.now_ns);
            return;
        }
    }
    tell_local_lefts(t);
    verdict_yes(t, out);
    fill_hold(t, hold);
}

/* ---- the decision */

/* What a refused request is told to wait. */
static uint64_t wait_of(const struct trial *t, const struct bucket *b, uint64_t ready)
{
    if (b->kind == BUCKET_RATE)
        return ready - t->at.now_ns;
    if (b->kind == BUCKET_PLACES)
        return CROWD_HINT_MS * NS_PER_MS;
    uint64_t end_us = atomic_load_explicit(&b->quota.end_us, memory_order_relaxed);
    return end_us > t->at.real_us ? (end_us - t->at.real_us) * 1000 : NS_PER_MS;
}

/* Some bucket lacks: refuse when its lessor cannot have it either, else ask. False: those that lack
 * cannot be asked. */
static bool ask_for_more(struct trial *t, struct limits_verdict *out)
{
    unsigned lacking = limits_lacking(t->want, &t->at);
    const struct bucket *worst = NULL;
    uint64_t need[LIMITS_MAX] = { 0 }, worst_ns = 0;
    bool any = false;
    for (size_t i = 0; i < t->want->count; i++) {
        struct bucket *b = t->want->buckets[i];
        if (!(lacking >> i & 1) || !port_can_ask(t->port, b->kind, t->at.now_ns))
            continue;
        uint64_t hand = hand_tokens(b, &t->at), cost = cost_at(t, i);
        need[i] = hand < cost ? cost - hand : 0;
        any |= need[i] > 0;
        uint64_t ready = ready_ns(b, need[i]);
        uint64_t wait_ns = need[i] > 0 && ready > t->at.now_ns ? wait_of(t, b, ready) : 0;
        if (wait_ns > worst_ns) {
            worst_ns = wait_ns;
            worst = b;
        }
    }
    if (worst) {
        verdict_no(t, LIMITS_NO, worst, worst_ns, out);
        return true;
    }
    for (size_t i = 0; i < t->want->count; i++) {
        if (need[i] > 0)
            (void)refill_start(t->port, t->want->buckets[i], need[i], true);
    }
    *out = (struct limits_verdict){ .outcome = LIMITS_WAIT };
    return any || lacking == 0; /* a race was lost: wait a turn */
}

static const struct bucket *never_holds(const struct limits_want *want)
{
    for (size_t i = 0; i < want->count; i++) {
        if (bucket_cost(want->buckets[i], want->units) > bucket_cost_max(want->buckets[i]))
            return want->buckets[i];
    }
    return NULL;
}

void limits_try(struct limits_port *port, const struct limits_want *want, uint64_t now_ns,
                struct limits_hold *hold, struct limits_verdict *out)
{
    struct trial t = trial_of(port, want, now_ns);
    const struct bucket *never = never_holds(want);
    if (never)
        verdict_no(&t, LIMITS_NO, never, UINT64_MAX, out);
    else if (!try_hand(&t, hold, out) && !ask_for_more(&t, out))
        try_without(&t, hold, out);
}

void limits_try_local(struct limits_port *port, const struct limits_want *want, uint64_t now_ns,
                      struct limits_hold *hold, struct limits_verdict *out)
{
    struct trial t = trial_of(port, want, now_ns);
    try_without(&t, hold, out);
}
