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
    struct redis_script *rate_script, *places_script;
    struct pg *pg;          /* NULL: none */
    struct timer heartbeat; /* tells Redis that it is heard */
    unsigned slot;          /* in limiter->ports */
    bool closed;

    /* Both lists are rings through a waiter that only marks the ends. */
    struct limits_waiter waiting, scanning;
    struct timer give_up_timer;
    bool rescan; /* some waiter may have an answer */

    struct bucket *pending, **pending_end; /* refills to send, FIFO */
    bool urgent;                           /* a request waits for one of them */
    struct timer flush_timer;

    /* of the lessor of this kind (rates and places: Redis) */
    uint64_t away_since_ns[BUCKET_KINDS];    /* 0: it answers */
    uint64_t refused_until_ns[BUCKET_KINDS]; /* it answered with an error: not asked before */

    struct bucket *tended; /* buckets that this port looks after between requests */
    struct timer tend_timer;

    struct loop_post post;
    _Atomic bool posted;

    /* one writer, read by all */
    _Atomic uint64_t admitted, rejected, waited, refills, refill_timeouts, local_decisions, calls,
        quota_calls;
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

/* The lessor of this kind may be asked. Notes when it went away. */
bool port_can_ask(struct limits_port *port, enum bucket_kind kind, uint64_t now_ns);
/* How long limits stay unshared after Redis was not heard. */
uint64_t port_grace_us(const struct limits_port *port);
/* What is not answered was asked so long ago: Redis was away already then. */
uint64_t silent_since(const struct limits_port *port, uint64_t now_ns);

/* ---- refill.c: puts the bucket on the list; false: a refill is under way already. */
bool refill_start(struct limits_port *port, struct bucket *b, uint64_t least, bool urgent);
void refill_flush(struct limits_port *port); /* sends the list */
void refill_drop(struct limits_port *port);  /* ends the list's refills without asking */
/* The refill is over, well or not: hands it on and wakes who waits for news of it. */
void refill_end(struct limits_port *port, struct bucket *b);
void refill_wake(struct limits_port *port, uint64_t ports); /* and for a batch of them: */
uint64_t refill_hand_on(struct bucket *b);                  /* the ports to wake */

/* Ends all refills of a batch when it is freed. */
struct refill_batch {
    struct limits_port *port;
    uint64_t sent_ns;
    size_t count;
    struct {
        struct bucket *bucket;
        uint64_t want;
    } asks[SCRIPT_BUCKETS_MAX];
};
void refill_batch_end(struct refill_batch *batch);
/* The reply has `numbers` integers per bucket, each at least `least`. */
bool refill_reply_fits(const struct refill_batch *batch, const struct redis_reply *reply,
                       size_t numbers, int64_t least);
/* Notes what a reply from Redis says of Redis; false: there is nothing in it. */
bool refill_reply_counts(struct refill_batch *batch, enum bucket_kind kind, maas_status status,
                         bool fits);

/* ---- each kind's call */
void rate_send(struct refill_batch *batch);                  /* refill_rate.c */
void places_send(struct refill_batch *batch);                /* refill_places.c */
void quota_send(struct limits_port *port, struct bucket *b); /* refill_quota.c */

/* ---- tend.c: leases that are renewed or returned without a request */
void tend_begin(struct limits_port *port, struct bucket *b); /* nothing when somebody does */
void tend_end(struct limits_port *port);                     /* the port is closed */
void on_tend(struct timer *timer);

/* limits.c: bit i: bucket i has less than it costs in hand. */
unsigned limits_lacking(const struct limits_want *want, const struct moment *at);
/* limits.c: the decision without the lessors: leases in hand, then this gateway's share. */
void limits_try_local(struct limits_port *port, const struct limits_want *want, uint64_t now_ns,
                      struct limits_hold *hold, struct limits_verdict *out);
void line_scan(struct limits_port *port);  /* line.c: tries the line again */
void line_close(struct limits_port *port); /* decides everyone locally */

#endif
