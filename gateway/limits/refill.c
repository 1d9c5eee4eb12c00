/*
 * refill.c: leases from Redis: which buckets ask, for how much, and what an answer means.
 *
 * A bucket has one refill under way, whichever loop started it; everyone else waits for that
 * answer. A loop's refills of one turn go out as one call. Those ahead of need wait up to 1 ms for
 * company or for one that is needed, which takes them along: that is what keeps a thousand busy
 * keys at a few hundred calls a second.
 *
 * An answer tells the level that Redis was left with. Other gateways can only lower it, time raises
 * it at the limit's own rate: so from (when the call was sent) - (level / rate) on, counted at that
 * rate, runs an upper bound of what Redis can hold. It is one number, `empty_ns`; it answers
 * requests that cannot pass without asking Redis for each, and says when to come back.
 */
#include "limits/port.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"

#define FLUSH_MS       1
#define GUARD_NS       1000000ull   /* the caller's clock may be one turn old */
#define HOLD_NS        5000000ull   /* an emptied bucket is asked this seldom */
#define REFUSED_NS     100000000ull /* after an error answer */
#define PREFETCH_LEAST 2            /* below this demand a token in stock would expire unspent */

struct batch {
    struct limits_port *port;
    uint64_t sent_ns;
    size_t count;
    struct {
        struct bucket *bucket;
        uint64_t want;
    } asks[SCRIPT_BUCKETS_MAX];
};

void refill_start(struct limits_port *port, struct bucket *b, uint64_t least, bool urgent)
{
    if (urgent)
        port->urgent = true;
    uint32_t idle = REFILL_IDLE;
    if (!atomic_compare_exchange_strong(&b->refill, &idle, REFILL_UNDERWAY))
        return;
    b->least = least;
    b->next_refill = NULL;
    if (!port->pending && !urgent)
        timer_start(port->loop, &port->flush_timer, FLUSH_MS);
    *port->pending_end = bucket_ref(b);
    port->pending_end = &b->next_refill;
}

static struct bucket *pending_pop(struct limits_port *port)
{
    struct bucket *b = port->pending;
    port->pending = b->next_refill;
    if (!port->pending)
        port->pending_end = &port->pending;
    return b;
}

/* Hands the refill on; returns the ports that wait for news of it. */
static uint64_t refill_end(struct bucket *b)
{
    atomic_store(&b->refill, REFILL_IDLE);
    atomic_fetch_add(&b->answers, 1);
    uint64_t ports = atomic_exchange(&b->waiting_ports, 0);
    bucket_unref(b);
    return ports;
}

static void wake(struct limits_port *port, uint64_t ports)
{
    uint64_t own = 1ull << port->slot;
    if (ports & own)
        port->rescan = true;
    limiter_wake(port->limiter, ports & ~own);
}

void refill_drop(struct limits_port *port)
{
    uint64_t ports = 0;
    port->urgent = false;
    while (port->pending)
        ports |= refill_end(pending_pop(port));
    wake(port, ports);
}

/* ---- the answer */

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

static void refill_granted(struct bucket *b, uint64_t want, uint64_t granted, uint64_t level,
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

static bool reply_fits(const struct batch *batch, const struct redis_reply *reply)
{
    if (reply->kind != REDIS_ARRAY || reply->count != batch->count * SCRIPT_ANSWERS)
        return false;
    for (size_t i = 0; i < reply->count; i++) {
        if (reply->items[i].kind != REDIS_INT || reply->items[i].integer < 0)
            return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        if ((uint64_t)reply->items[i * SCRIPT_ANSWERS].integer > batch->asks[i].want)
            return false;
    }
    return true;
}

static void on_answer(void *arg, maas_status status, const struct redis_reply *reply)
{
    struct batch *batch = arg;
    struct limits_port *port = batch->port;
    uint64_t now_ns = port->closed ? 0 : loop_now_ns(port->loop), ports = 0;
    bool fits = status == MAAS_OK && !port->closed && reply_fits(batch, reply);
    if (status == MAAS_OK && !fits)
        port->refused_until_ns = now_ns + REFUSED_NS;
    if (status == MAAS_E_DEADLINE)
        count_up(&port->refill_timeouts);
    for (size_t i = 0; i < batch->count; i++) {
        struct bucket *b = batch->asks[i].bucket;
        if (fits) {
            const struct redis_reply *items = &reply->items[i * SCRIPT_ANSWERS];
            refill_granted(b, batch->asks[i].want, (uint64_t)items[0].integer,
                           (uint64_t)items[1].integer, batch->sent_ns, now_ns);
        }
        ports |= refill_end(b);
    }
    wake(port, ports);
    free(batch);
}

/* ---- the call */

static uint64_t refill_want(struct bucket *b, uint64_t now_ns)
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

static struct str word_of(char text[WORD_MAX], uint64_t value)
{
    return (struct str){ text, (size_t)(text_uint(text, value) - text) };
}

static void batch_send(struct limits_port *port, struct batch *batch)
{
    struct str keys[1 + SCRIPT_BUCKETS_MAX] = { STR(SCRIPT_EPOCH_KEY) };
    struct str args[SCRIPT_ARGS * SCRIPT_BUCKETS_MAX];
    char text[SCRIPT_BUCKETS_MAX][2][WORD_MAX];
    for (size_t i = 0; i < batch->count; i++) {
        const struct bucket *b = batch->asks[i].bucket;
        struct str *words = &args[i * SCRIPT_ARGS];
        keys[1 + i] = b->key;
        for (size_t k = 0; k < PLAN_WORDS; k++)
            words[k] = b->plan_words[k];
        words[PLAN_WORDS] = word_of(text[i][0], batch->asks[i].want);
        words[PLAN_WORDS + 1] = word_of(text[i][1], b->least);
    }
    count_up(&port->calls);
    redis_script_call(port->script, keys, 1 + batch->count, args, batch->count * SCRIPT_ARGS,
                      on_answer, batch);
}

void refill_flush(struct limits_port *port)
{
    uint64_t now_ns = loop_now_ns(port->loop);
    while (port->pending) {
        struct batch *batch = port_is_shared(port, now_ns) ? malloc(sizeof(*batch)) : NULL;
        if (!batch) {
            refill_drop(port);
            break;
        }
        *batch = (struct batch){ .port = port, .sent_ns = now_ns };
        while (port->pending && batch->count < SCRIPT_BUCKETS_MAX) {
            struct bucket *b = pending_pop(port);
            batch->asks[batch->count].bucket = b;
            batch->asks[batch->count++].want = refill_want(b, now_ns);
            count_up(&port->refills);
        }
        batch_send(port, batch);
    }
    port->urgent = false;
    timer_stop(&port->flush_timer);
}
