/*
 * limits.h: admission: every limit of a request at once, all or nothing.
 *
 * A limit is a number for one measure at one scope:
 *
 *     rate          requests or units in a window, with a burst   leases from Redis (gcra.h)
 *     concurrency   requests at a time                            leases from Redis (places.h)
 *     quota         units in a day or a month                     leases from PostgreSQL (quota.h)
 *
 * All are spent from what the process has in hand; what is in hand is leased ahead of need. A
 * limiter belongs to the process; its buckets are shared by all loops through atomics. A port
 * belongs to one loop: it holds that loop's connections and its waiting requests. The decision
 * (limits_try) takes the time as an argument.
 */
#ifndef MAAS_LIMITS_H
#define MAAS_LIMITS_H

#include "base/base.h"
#include "net/loop.h"
#include "store/pg.h"
#include "store/redis.h"

struct limiter;     /* [any] */
struct limits_port; /* [loop] */
struct bucket;      /* one limit at one scope */

/* A rate limit: `rate` tokens per `window_ms` on average, never more than `burst` at once. */
struct rate {
    uint64_t rate;      /* tokens per window, >= 1 */
    uint32_t window_ms; /* 1000, 60000 … */
    uint64_t burst;     /* tokens, >= 1 */
};
bool rate_eq(const struct rate *a, const struct rate *b);

enum scope_of_limit { LIMIT_GLOBAL, LIMIT_TENANT, LIMIT_KEY, LIMIT_MODEL, LIMIT_TENANT_MODEL };
enum limit_measure {
    MEASURE_REQUESTS,    /* rate: one a request */
    MEASURE_UNITS,       /* rate: what the request may cost at most, settled after */
    MEASURE_CONCURRENCY, /* requests at a time */
    MEASURE_DAY,         /* quota: units, likewise settled */
    MEASURE_MONTH
};

/* What identifies a bucket, and its numbers. */
struct limit {
    enum scope_of_limit scope;
    enum limit_measure measure;
    struct uuid id;      /* of the tenant, key or deployment; zero for global */
    struct uuid id2;     /* LIMIT_TENANT_MODEL: the deployment; else zero */
    struct rate rate;    /* concurrency and quota: `rate` is the amount, the rest is unused */
    uint64_t created_us; /* wall clock: a younger rate limit starts full, an older one that is
                            missing in Redis starts empty */
};

struct limiter_config {
    uint32_t gateways_max;  /* N of the local share when Redis is away */
    uint32_t buckets_max;   /* least recently used go beyond this */
    uint32_t wait_ms;       /* the longest a request waits for Redis (10) */
    uint32_t quota_wait_ms; /* the longest a request waits for PostgreSQL; 0: 250 */
    struct uuid lessee;     /* who leases: this incarnation of this gateway, never used again */
};

/* Freed in this order: the ports (their loops may run on), the connections, the loops, the buckets'
 * last references, the limiter. */
maas_status MUST_USE limiter_new(const struct limiter_config *config, struct limiter **out,
                                 maas_error *error);
void limiter_free(struct limiter *limiter);
/* redis NULL: there is none, rates and concurrency are decided locally. pg NULL: there is none,
 * quotas refuse. At most 64 ports. */
maas_status MUST_USE limits_port_new(struct limiter *limiter, struct loop *loop,
                                     struct redis *redis, struct pg *pg, struct limits_port **out,
                                     maas_error *error);
void limits_port_free(struct limits_port *port); /* whoever still waits is decided locally */

/*
 * The bucket of a limit; made on first use, found by (scope, measure, ids, window) afterwards. The
 * caller holds a reference and keeps the pointer beside its cached key, so that a request does no
 * look-up. A changed rate gives a new bucket under the same Redis key; a changed concurrency or
 * quota changes the bucket. NULL: no memory, or buckets_max are in use. [any]
 */
struct bucket *bucket_get(struct limiter *limiter, const struct limit *limit);
struct bucket *bucket_ref(struct bucket *bucket);
void bucket_unref(struct bucket *bucket);

#define LIMITS_MAX 24 /* buckets of one request */

/* What happens to a request whose limit cannot be asked for, when nothing is in hand. */
enum limits_away {
    AWAY_LOCAL, /* rate and concurrency: this gateway's share; quota: refused */
    AWAY_CLOSED,
    AWAY_OPEN /* admitted; usage is still metered */
};

struct limits_want {
    struct bucket *const *buckets;
    size_t count;
    uint64_t units; /* the most that the request can cost */
    enum limits_away away;
};

struct limits_verdict {
    /* AWAY: refused because a limit cannot be asked for now. */
    enum { LIMITS_YES, LIMITS_NO, LIMITS_WAIT, LIMITS_AWAY } outcome;
    /* The tightest bucket, for the headers and, on NO and AWAY, the one that refused. Borrowed. */
    const struct bucket *tightest;
    enum scope_of_limit scope;
    enum limit_measure measure;
    uint64_t limit;     /* its tokens per window */
    uint32_t window_s;  /* its window, rounded up; 0 for concurrency */
    uint64_t remaining; /* whole tokens left at a good estimate: lease in hand + what the lessor
                           said was left */
    uint64_t reset_ms;  /* until it is full again */
    uint64_t retry_after_ms; /* on NO: when it would be admitted, at least 1; UINT64_MAX: never, it
                                costs more than the limit holds at once */
    bool local;              /* decided without the lessor, by this gateway's share */
};

/* What a request was admitted with and has to give back. Filled on YES; empty when zeroed. */
struct limits_hold {
    uint32_t count;
    struct limits_held {
        struct bucket *bucket; /* a reference */
        uint32_t cost, generation[2], tokens[2];
    } items[LIMITS_MAX];
};

/*
 * Takes what the request costs from every bucket or from none. WAIT: a lease is on its way; call
 * limits_wait. Never blocks, never allocates. now_ns is CLOCK_MONOTONIC, as read this turn. No
 * buckets: YES, with `tightest` NULL. What a rate holds at once is its burst less a tenth (gcra.h
 * says why), all of it below a burst of 20. `hold` may be NULL when no bucket is of concurrency:
 * then all was spent. [loop]
 */
void limits_try(struct limits_port *port, const struct limits_want *want, uint64_t now_ns,
                struct limits_hold *hold, struct limits_verdict *out);

/* The request ended, having cost `units` (at most what was reserved; 0: it was not charged). Gives
 * back the rest and its place among those at work, and empties the hold. [any] */
void limits_settle(struct limits_hold *hold, uint64_t units);

/*
 * Parks a request until its answer is known: done is called on this loop with YES, NO or AWAY,
 * within wait_ms (quota_wait_ms where a quota is waited for) + one turn, never from inside
 * limits_wait. The waiter's memory is the caller's, `done` and `hold` (which outlives it) its only
 * members to set; limits_cancel before it goes away (a client that left; harmless when it does not
 * wait). References to the buckets are held meanwhile. On YES that races a cancel rate tokens are
 * spent. done may free the waiter, and may try, wait and cancel. [loop]
 */
struct limits_waiter {
    void (*done)(struct limits_waiter *waiter, const struct limits_verdict *verdict);
    struct limits_hold *hold;
    struct limits_waiter *next, *prev; /* private from here; next is NULL when it does not wait */
    struct bucket *buckets[LIMITS_MAX];
    struct limits_want want;
    uint64_t start_ns;
    struct bucket *blocked; /* the bucket whose refill it waits for … */
    uint32_t answers;       /* … and the answers it had seen then */
};
void limits_wait(struct limits_port *port, struct limits_waiter *waiter,
                 const struct limits_want *want, uint64_t now_ns);
void limits_cancel(struct limits_port *port, struct limits_waiter *waiter);

/*
 * Quota leases that are not spent go back: all of this limiter's, in one transaction, and the
 * lessee is closed: it never gets another. After the ports are closed and every hold is settled.
 * [control]
 */
struct sql;
maas_status MUST_USE limits_return(struct limiter *limiter, struct sql *sql, maas_error *error);

struct limits_counts { /* [any] relaxed */
    uint64_t admitted, rejected, waited, refills, refill_timeouts, local_decisions, redis_calls,
        quota_calls;
};
void limits_counts(const struct limiter *limiter, struct limits_counts *out);

#endif
