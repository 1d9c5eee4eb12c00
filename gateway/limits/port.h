/*
 * port.h: a port's inside: its waiters, and the refills that this loop sends. [loop] but for what
 * says otherwise. Not for other layers.
 */
#ifndef MAAS_LIMITS_PORT_H
#define MAAS_LIMITS_PORT_H

#include "limits/bucket.h"

struct limits_port {
    struct limiter *limiter;
    struct loop *loop;
    struct redis *redis; /* NULL: none */
    struct redis_script *script;
    bool greeted;  /* this connection knows the epoch */
    unsigned slot; /* in limiter->ports */
    bool closed;

    /* Both lists are rings through a waiter that only marks the ends. */
    struct limits_waiter waiting, scanning;
    struct timer give_up_timer;
    bool rescan; /* some waiter may have an answer */

    struct bucket *pending, **pending_end; /* refills to send, FIFO */
    bool urgent;                           /* a request waits for one of them */
    struct timer flush_timer;

    uint64_t away_since_ns;    /* 0: Redis answers */
    uint64_t refused_until_ns; /* Redis answered with an error: not asked before */

    struct loop_post post;
    _Atomic bool posted;

    /* one writer, read by all */
    _Atomic uint64_t admitted, rejected, waited, refills, refill_timeouts, local_decisions, calls;
    struct limits_port *next_closed;
};

static inline void count_up(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#define NS_PER_MS 1000000ull
static inline uint64_t ms_up(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

/* Redis may be asked. Notes when it went away. */
bool port_is_shared(struct limits_port *port, uint64_t now_ns);
/* What is not answered was asked so long ago: Redis was away already then. */
uint64_t silent_since(const struct limits_port *port, uint64_t now_ns);
/* refill.c: puts the bucket on the list unless a refill is under way already. */
void refill_start(struct limits_port *port, struct bucket *b, uint64_t least, bool urgent);
void refill_flush(struct limits_port *port); /* sends the list */
void refill_drop(struct limits_port *port);  /* ends the list's refills without asking */

/* limits.c: bit i: bucket i has less than `cost` in hand. */
unsigned limits_lacking(struct bucket *const *buckets, size_t count, uint64_t cost,
                        uint64_t now_ns);
/* limits.c: the decision without Redis: leases in hand, then the local buckets. */
void limits_try_local(struct limits_port *port, struct bucket *const *buckets, size_t count,
                      uint64_t cost, uint64_t now_ns, struct limits_verdict *out);
void line_scan(struct limits_port *port);  /* line.c: tries the line again */
void line_close(struct limits_port *port); /* decides everyone locally */

#endif
