/*
 * refill.c: leases: which buckets ask, and who hears of the answer. What each kind asks and what
 * its answer means is in refill_rate.c, refill_places.c and refill_quota.c.
 *
 * A bucket has one refill under way, whichever loop started it; everyone else waits for that
 * answer. A loop's refills of one turn go out as one call per kind. Those ahead of need wait up to
 * 1 ms for company or for one that is needed, which takes them along: that is what keeps a thousand
 * busy keys at a few hundred calls a second.
 */
#include "limits/port.h"

#include <stdlib.h>

#define FLUSH_MS   1
#define REFUSED_NS 100000000ull /* after an error answer */

bool refill_start(struct limits_port *port, struct bucket *b, uint64_t least, bool urgent)
{
    if (urgent)
        port->urgent = true;
    uint32_t idle = REFILL_IDLE;
    if (!atomic_compare_exchange_strong(&b->refill, &idle, REFILL_UNDERWAY))
        return false;
    b->least = least;
    b->next_refill = NULL;
    if (!port->pending && !urgent)
        timer_start(port->loop, &port->flush_timer, FLUSH_MS);
    *port->pending_end = bucket_ref(b);
    port->pending_end = &b->next_refill;
    return true;
}

static struct bucket *pending_pop(struct limits_port *port)
{
    struct bucket *b = port->pending;
    port->pending = b->next_refill;
    if (!port->pending)
        port->pending_end = &port->pending;
    return b;
}

uint64_t refill_hand_on(struct bucket *b)
{
    atomic_store(&b->refill, REFILL_IDLE);
    atomic_fetch_add(&b->answers, 1);
    uint64_t ports = atomic_exchange(&b->waiting_ports, 0);
    bucket_unref(b);
    return ports;
}

void refill_wake(struct limits_port *port, uint64_t ports)
{
    uint64_t own = 1ull << port->slot;
    if (ports & own)
        port->rescan = true;
    limiter_wake(port->limiter, ports & ~own);
}

void refill_end(struct limits_port *port, struct bucket *b)
{
    refill_wake(port, refill_hand_on(b));
}

void refill_drop(struct limits_port *port)
{
    uint64_t ports = 0;
    port->urgent = false;
    while (port->pending)
        ports |= refill_hand_on(pending_pop(port));
    refill_wake(port, ports);
}

/* ---- batches for Redis */

void refill_batch_end(struct refill_batch *batch)
{
    uint64_t ports = 0;
    for (size_t i = 0; i < batch->count; i++)
        ports |= refill_hand_on(batch->asks[i].bucket);
    refill_wake(batch->port, ports);
    free(batch);
}

bool refill_reply_fits(const struct refill_batch *batch, const struct redis_reply *reply,
                       size_t numbers, int64_t least)
{
    if (reply->kind != REDIS_ARRAY || reply->count != batch->count * numbers)
        return false;
    for (size_t i = 0; i < reply->count; i++) {
        if (reply->items[i].kind != REDIS_INT || reply->items[i].integer < least)
            return false;
    }
    for (size_t i = 0; i < batch->count; i++) { /* the first of them is what was granted */
        int64_t granted = reply->items[i * numbers].integer;
        if (granted > 0 && (uint64_t)granted > batch->asks[i].want)
            return false;
    }
    return true;
}

bool refill_reply_counts(struct refill_batch *batch, enum bucket_kind kind, maas_status status,
                         bool fits)
{
    struct limits_port *port = batch->port;
    if (status == MAAS_E_DEADLINE)
        count_up(&port->refill_timeouts);
    if (status != MAAS_OK || port->closed)
        return false;
    if (!fits) /* an error */
        port->refused_until_ns[kind] = loop_now_ns(port->loop) + REFUSED_NS;
    return fits;
}

static struct refill_batch *batch_of(struct limits_port *port, struct refill_batch *batch,
                                     struct bucket *b, uint64_t now_ns)
{
    if (!batch && port_can_ask(port, b->kind, now_ns) && (batch = malloc(sizeof(*batch))))
        *batch = (struct refill_batch){ .port = port, .sent_ns = now_ns };
    if (batch) {
        batch->asks[batch->count++].bucket = b;
        count_up(&port->refills);
    } else {
        refill_end(port, b);
    }
    return batch;
}

static void batch_send(struct refill_batch *batch)
{
    count_up(&batch->port->calls);
    if (batch->asks[0].bucket->kind == BUCKET_PLACES)
        places_send(batch);
    else
        rate_send(batch);
}

void refill_flush(struct limits_port *port)
{
    uint64_t now_ns = loop_now_ns(port->loop);
    struct refill_batch *batches[BUCKET_KINDS] = { NULL };
    while (port->pending) {
        struct bucket *b = pending_pop(port);
        struct refill_batch **batch = &batches[b->kind];
        if (b->kind == BUCKET_QUOTA) {
            quota_send(port, b);
            continue;
        }
        *batch = batch_of(port, *batch, b, now_ns);
        if (*batch && (*batch)->count == SCRIPT_BUCKETS_MAX) {
            batch_send(*batch);
            *batch = NULL;
        }
    }
    for (size_t kind = 0; kind < BUCKET_KINDS; kind++)
        if (batches[kind])
            batch_send(batches[kind]);
    port->urgent = false;
    timer_stop(&port->flush_timer);
}
