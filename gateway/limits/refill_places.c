/*
 * refill_places.c: what concurrency asks of Redis: how many places this gateway holds from now on.
 */
#include "limits/port.h"

#define GUARD_NS    10000000ull /* the caller's clock may be a turn old; a lease is 150 times that */
#define YOUNGEST_US (1ull << 52) /* younger than any memory of Redis, and exact in Lua */
#define HOLD_NS     20000000ull  /* a limit without room is asked this seldom */

static void granted_to(struct bucket *b, uint64_t want, uint64_t granted, uint64_t room,
                       uint64_t sent_ns, uint64_t now_ns)
{
    places_grant(&b->places, (uint32_t)granted, sent_ns + PLACES_LEASE_MS * NS_PER_MS - GUARD_NS);
    atomic_store_explicit(&b->room, room, memory_order_relaxed);
    atomic_store_explicit(&b->hold_ns, granted < want ? now_ns + HOLD_NS : 0, memory_order_relaxed);
    atomic_store_explicit(&b->answered_ns, sent_ns, memory_order_relaxed);
}

static void on_answer(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct refill_batch *batch = arg;
    bool fits = status == MAAS_OK && refill_reply_fits(batch, reply, PLACES_ANSWERS, -1);
    if (refill_reply_counts(batch, BUCKET_PLACES, status, fits)) {
        uint64_t now_ns = loop_now_ns(batch->port->loop);
        for (size_t i = 0; i < batch->count; i++) {
            const struct redis_reply *items = &reply->items[i * PLACES_ANSWERS];
            if (items[0].integer >= 0)
                granted_to(batch->asks[i].bucket, batch->asks[i].want, (uint64_t)items[0].integer,
                           (uint64_t)items[1].integer, batch->sent_ns, now_ns);
            tend_begin(batch->port, batch->asks[i].bucket);
        }
    }
    refill_batch_end(batch);
}

/* A gateway that is alone need not wait for what others may hold of a Redis without memory. */
static uint64_t created_of(const struct bucket *b)
{
    return b->limiter->config.gateways_max <= 1 ? YOUNGEST_US : b->limit.created_us;
}

/* What was at work is told after what is granted was lowered: see places.h. */
static void words_of(struct refill_batch *batch, size_t i, struct str words[PLACES_ARGS],
                     char text[PLACES_ARGS][WORD_MAX])
{
    struct bucket *b = batch->asks[i].bucket;
    uint32_t used = 0;
    uint64_t waiting = atomic_load_explicit(&b->waiting_cost, memory_order_relaxed);
    uint64_t limit = atomic_load(&b->amount), us = batch->sent_ns / 1000;
    uint64_t want = places_ask(&b->places, waiting, limit, &used);
    b->serial = us > b->serial ? us : b->serial + 1;
    b->asked_amount = limit;
    batch->asks[i].want = want;
    const uint64_t values[PLACES_ARGS] = { limit, used, want, b->serial, created_of(b) };
    for (size_t k = 0; k < PLACES_ARGS; k++)
        words[k] = word_of(text[k], values[k]);
}

void places_send(struct refill_batch *batch)
{
    const struct limiter *limiter = batch->port->limiter;
    struct str keys[1 + SCRIPT_BUCKETS_MAX] = { STR(SCRIPT_HEARD_KEY) };
    struct str args[1 + PLACES_ARGS * SCRIPT_BUCKETS_MAX] = { str_of(limiter->lessee_text) };
    char text[SCRIPT_BUCKETS_MAX][PLACES_ARGS][WORD_MAX];
    for (size_t i = 0; i < batch->count; i++) {
        keys[1 + i] = batch->asks[i].bucket->key;
        words_of(batch, i, &args[1 + i * PLACES_ARGS], text[i]);
    }
    redis_script_call(batch->port->places_script, keys, 1 + batch->count, args,
                      1 + batch->count * PLACES_ARGS, on_answer, batch);
}
