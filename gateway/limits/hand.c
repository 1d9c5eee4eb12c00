/*
 * hand.c: the three kinds of limits as one: tokens in hand that are taken and given back. What the
 * kinds do not share (where a refill comes from) is in refill.c and its neighbours.
 */
#include "limits/bucket.h"

uint32_t bucket_cost(const struct bucket *b, uint64_t units)
{
    bool one = b->limit.measure == MEASURE_REQUESTS || b->limit.measure == MEASURE_CONCURRENCY;
    if (one)
        return 1;
    return units < QUOTA_HAND_MAX ? (uint32_t)units : QUOTA_HAND_MAX;
}

static uint64_t amount_of(const struct bucket *b)
{
    return atomic_load_explicit(&b->amount, memory_order_relaxed);
}

uint64_t hand_tokens(const struct bucket *b, const struct moment *at)
{
    switch (b->kind) {
    case BUCKET_PLACES: {
        uint64_t granted = places_granted(&b->places, at->now_ns), used = places_used(&b->places);
        uint64_t bound = granted < amount_of(b) ? granted : amount_of(b);
        return bound > used ? bound - used : 0;
    }
    case BUCKET_QUOTA:
        return quota_units(&b->quota, at->real_us);
    default:
        return lease_tokens(&b->lease, at->now_ns);
    }
}

static bool rate_take(struct bucket *b, uint32_t cost, const struct moment *at,
                      struct limits_held *out, uint64_t *out_left)
{
    struct lease_taken taken;
    if (!lease_take(&b->lease, cost, at->now_ns, &taken, out_left))
        return false;
    for (int i = 0; i < 2; i++) {
        out->generation[i] = taken.generation[i];
        out->tokens[i] = taken.tokens[i];
    }
    return true;
}

bool hand_take(struct bucket *b, uint32_t cost, const struct moment *at, struct limits_held *out,
               uint64_t *out_left)
{
    *out = (struct limits_held){ .bucket = b, .cost = cost };
    if (cost == 0) {
        *out_left = hand_tokens(b, at);
        return true;
    }
    switch (b->kind) {
    case BUCKET_PLACES:
        if (!places_take(&b->places, amount_of(b), at->now_ns))
            return false;
        *out_left = hand_tokens(b, at);
        return true;
    case BUCKET_QUOTA:
        out->tokens[0] = cost;
        return quota_take(&b->quota, cost, at->real_us, &out->generation[0], out_left);
    default:
        return rate_take(b, cost, at, out, out_left);
    }
}

/* What was taken from the lease that is in hand still; the newer slot's first or last is the same:
 * each goes back under its own expiry. */
static void rate_give_back(const struct limits_held *held, uint32_t cost)
{
    struct lease_taken back = { .generation = { held->generation[0], held->generation[1] } };
    for (int i = 0; i < 2; i++) {
        back.tokens[i] = held->tokens[i] < cost ? held->tokens[i] : cost;
        cost -= back.tokens[i];
    }
    lease_give_back(&held->bucket->lease, &back);
}

void hand_give_back(const struct limits_held *held, uint32_t cost)
{
    if (cost == 0)
        return;
    if (held->bucket->kind == BUCKET_PLACES)
        places_give_back(&held->bucket->places);
    else if (held->bucket->kind == BUCKET_QUOTA)
        quota_give_back(&held->bucket->quota, held->generation[0],
                        held->tokens[0] < cost ? held->tokens[0] : cost);
    else
        rate_give_back(held, cost);
}

uint64_t bucket_cost_max(const struct bucket *b)
{
    return b->kind == BUCKET_RATE ? b->plan.cost_max : amount_of(b);
}

uint64_t bucket_size(const struct bucket *b)
{
    return b->kind == BUCKET_RATE ? b->plan.cost_max : amount_of(b);
}

static uint64_t rate_remaining(const struct bucket *b, uint64_t in_hand, uint64_t now_ns)
{
    int64_t age_ns = (int64_t)now_ns - atomic_load_explicit(&b->empty_ns, memory_order_relaxed);
    double sum = (double)in_hand + (age_ns > 0 ? (double)age_ns * b->plan.tokens_per_ns : 0);
    return sum < (double)b->plan.cost_max ? (uint64_t)sum : b->plan.cost_max;
}

uint64_t bucket_remaining(const struct bucket *b, uint64_t in_hand, const struct moment *at)
{
    if (b->kind == BUCKET_RATE)
        return rate_remaining(b, in_hand, at->now_ns);
    uint64_t told = b->kind == BUCKET_PLACES
                        ? atomic_load_explicit(&b->room, memory_order_relaxed)
                        : atomic_load_explicit(&b->quota.left, memory_order_relaxed);
    return in_hand + told < amount_of(b) ? in_hand + told : amount_of(b);
}

bool bucket_is_idle(const struct bucket *b)
{
    if (b->kind == BUCKET_PLACES)
        return places_used(&b->places) == 0;
    return b->kind == BUCKET_RATE || (uint32_t)atomic_load(&b->quota.word) == 0;
}
