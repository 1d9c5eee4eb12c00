/*
 * refill_rate.c: what a rate asks of Redis, and what the answer means.
 *
 * An answer tells the level that Redis was left with. Other gateways can only lower it, time raises
 * it at the limit's own rate: so from (when the call was sent) - (level / rate) on, counted at that
 * rate, runs an upper bound of what Redis can hold. It is one number, `empty_ns`; it answers
 * requests that cannot pass without asking Redis for each, and says when to come back.
 */
#include "limits/port.h"

#define GUARD_NS       1000000ull /* the caller's clock may be one turn old */
#define HOLD_NS        5000000ull /* an emptied bucket is asked this seldom */
#define PREFETCH_LEAST 2          /* below this demand a token in stock would expire unspent */

static uint64_t lifetime_ns(const struct bucket *b)
{
    uint64_t lease_ns = b->plan.lease_us * 1000;
    if (lease_ns == 0) /* single tokens: for those who wait */
        return 1000000ull * b->limiter->config.wait_ms;
    return lease_ns - (lease_ns / 8 < GUARD_NS ? lease_ns / 8 : GUARD_NS);
}

static uint64_t hold_until(const struct bucket *b, bool emptied, uint64_t now_ns)
{
    uint64_t quarter = b->plan.lease_us * 1000 / 4;
    return emptied ? now_ns + (quarter < HOLD_NS ? quarter : HOLD_NS) : 0;
}

static void granted_to(struct bucket *b, uint64_t want, uint64_t granted, uint64_t level,
                       uint64_t sent_ns, uint64_t now_ns)
{
    if (granted > 0)
        lease_install(&b->lease, (uint32_t)granted, sent_ns + lifetime_ns(b), now_ns);
    b->handed = lease_raw(&b->lease);
    bool stock = b->plan.lease_us > 0 && demand_want(&b->demand, &b->plan) >= PREFETCH_LEAST;
    atomic_store_explicit(&b->low_mark, stock ? (uint32_t)(b->handed / 4) + 1 : 0,
                          memory_order_relaxed);
    atomic_store_explicit(&b->empty_ns, (int64_t)sent_ns - (int64_t)gcra_level_ns(&b->plan, level),
                          memory_order_relaxed);
    bool emptied = granted < want && level < b->plan.den;
    atomic_store_explicit(&b->hold_ns, hold_until(b, emptied, now_ns), memory_order_relaxed);
    atomic_store_explicit(&b->answered_ns, sent_ns, memory_order_relaxed);
    local_sleep(&b->local);
}

/* Not shared before that: all gateways begin at the same moment. What was asked last was answered
 * by a Redis that is away, as it were. */
static void alone_for(struct limits_port *port, uint64_t us, uint64_t now_ns)
{
    port->refused_until_ns[BUCKET_RATE] = now_ns + us * 1000;
}

static void on_answer(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct refill_batch *batch = arg;
    bool fits = status == MAAS_OK && refill_reply_fits(batch, reply, SCRIPT_ANSWERS, -1);
    if (refill_reply_counts(batch, BUCKET_RATE, status, fits)) {
        uint64_t now_ns = loop_now_ns(batch->port->loop);
        for (size_t i = 0; i < batch->count; i++) {
            const struct redis_reply *items = &reply->items[i * SCRIPT_ANSWERS];
            if (items[0].integer < 0)
                alone_for(batch->port, (uint64_t)items[1].integer, now_ns);
            else
                granted_to(batch->asks[i].bucket, batch->asks[i].want, (uint64_t)items[0].integer,
                           (uint64_t)items[1].integer, batch->sent_ns, now_ns);
        }
    }
    refill_batch_end(batch);
}

static uint64_t rate_want(struct bucket *b, uint64_t now_ns)
{
    uint64_t raw = lease_raw(&b->lease), hand = lease_tokens(&b->lease, now_ns);
    uint64_t waiting = atomic_load_explicit(&b->waiting_cost, memory_order_relaxed);
    demand_note(&b->demand, b->handed > raw ? b->handed - raw : 0, now_ns, b->plan.lease_us * 1000);
    b->handed = raw;
    uint64_t want = b->plan.lease_us ? demand_want(&b->demand, &b->plan) : 0;
    if (waiting > hand && want < waiting - hand)
        want = waiting - hand;
    if (want < b->least)
        want = b->least;
    return want < b->plan.cost_max ? want : b->plan.cost_max;
}

void rate_send(struct refill_batch *batch)
{
    struct str keys[1 + SCRIPT_BUCKETS_MAX] = { STR(SCRIPT_HEARD_KEY) };
    struct str args[1 + SCRIPT_ARGS * SCRIPT_BUCKETS_MAX];
    char text[SCRIPT_BUCKETS_MAX][2][WORD_MAX], grace[WORD_MAX];
    args[0] = word_of(grace, port_grace_us(batch->port));
    for (size_t i = 0; i < batch->count; i++) {
        struct bucket *b = batch->asks[i].bucket;
        struct str *words = &args[1 + i * SCRIPT_ARGS];
        batch->asks[i].want = rate_want(b, batch->sent_ns);
        keys[1 + i] = b->key;
        for (size_t k = 0; k < PLAN_WORDS; k++)
            words[k] = b->plan_words[k];
        words[PLAN_WORDS] = word_of(text[i][0], batch->asks[i].want);
        words[PLAN_WORDS + 1] = word_of(text[i][1], b->least);
    }
    redis_script_call(batch->port->rate_script, keys, 1 + batch->count, args,
                      1 + batch->count * SCRIPT_ARGS, on_answer, batch);
}
