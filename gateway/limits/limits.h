/*
 * limits.h: admission: every limit of a request at once, all or nothing, spent from leases taken
 * from Redis in advance.
 *
 * A limiter belongs to the process; its buckets are shared by all loops through atomics. A port
 * belongs to one loop: it holds that loop's Redis connection and its waiting requests. The decision
 * (limits_try) takes the time as an argument. The algorithm (GCRA with lease compensation, b' = b -
 * r*T) and its proof stand in gcra.h.
 */
#ifndef MAAS_LIMITS_H
#define MAAS_LIMITS_H

#include "base/base.h"
#include "net/loop.h"
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

struct limiter_config {
    uint32_t gateways_max; /* N of the local bucket when Redis is away */
    uint32_t buckets_max;  /* least recently used go beyond this */
    uint32_t wait_ms;      /* the longest a request waits for a refill (10) */
};

/* Freed in this order: the ports (their loops may run on), the Redis connections, the loops, the
 * buckets' last references, the limiter. */
maas_status MUST_USE limiter_new(const struct limiter_config *config, struct limiter **out,
                                 maas_error *error);
void limiter_free(struct limiter *limiter);
/* redis NULL: there is none, every decision is local. At most 64 ports. */
maas_status MUST_USE limits_port_new(struct limiter *limiter, struct loop *loop,
                                     struct redis *redis, struct limits_port **out,
                                     maas_error *error);
void limits_port_free(struct limits_port *port); /* whoever still waits is decided locally */

/*
 * The bucket of a scope; made on first use, found by (kind, id) afterwards. `created_us` is when
 * the limit came into being (wall clock): a younger limit starts full, an older one missing in
 * Redis starts empty. The caller holds a reference and keeps the pointer beside its cached key, so
 * that a request does no look-up. A changed rate gives a new bucket under the same Redis key. NULL:
 * no memory, or buckets_max are in use. [any]
 */
enum scope_of_limit { LIMIT_GLOBAL, LIMIT_TENANT, LIMIT_KEY, LIMIT_MODEL, LIMIT_TENANT_MODEL };
struct bucket *bucket_get(struct limiter *limiter, enum scope_of_limit scope, const struct uuid *id,
                          const struct rate *rate, uint64_t created_us);
struct bucket *bucket_ref(struct bucket *bucket);
void bucket_unref(struct bucket *bucket);

#define LIMITS_MAX 8 /* buckets of one request */

struct limits_verdict {
    enum { LIMITS_YES, LIMITS_NO, LIMITS_WAIT } outcome;
    /* The tightest bucket, for the headers and, on NO, the one that refused. Borrowed. */
    const struct bucket *tightest;
    enum scope_of_limit scope;
    uint64_t limit;     /* its tokens per window */
    uint32_t window_s;  /* its window, rounded up */
    uint64_t remaining; /* whole tokens left at a good estimate: lease in hand + what Redis said was
                           left */
    uint64_t reset_ms;  /* until it is full again */
    uint64_t retry_after_ms; /* on NO: when `cost` would be admitted, at least 1; UINT64_MAX: never,
                                it is more than the limit holds at once */
    bool local;              /* decided by the local bucket: Redis is away */
};

/*
 * Takes `cost` (>= 1) from every bucket or from none. WAIT: a lease is on its way; call
 * limits_wait. Never blocks, never allocates. now_ns is CLOCK_MONOTONIC, as read this turn. No
 * buckets: YES, with `tightest` NULL. What a limit holds at once is its burst less a tenth (gcra.h
 * says why), all of it below a burst of 20. [loop]
 */
void limits_try(struct limits_port *port, struct bucket *const *buckets, size_t count,
                uint64_t cost, uint64_t now_ns, struct limits_verdict *out);

/*
 * Parks a request until its answer is known: done is called on this loop with YES or NO, within
 * wait_ms + one turn, never from inside limits_wait. The waiter's memory is the caller's, `done`
 * its only member to set; limits_cancel before it goes away (a client that left; harmless when it
 * does not wait). References to the buckets are held meanwhile. On YES that races a cancel the
 * tokens are spent. done may free the waiter, and may try, wait and cancel. [loop]
 */
struct limits_waiter {
    void (*done)(struct limits_waiter *waiter, const struct limits_verdict *verdict);
    struct limits_waiter *next, *prev; /* private from here; next is NULL when it does not wait */
    struct bucket *buckets[LIMITS_MAX];
    size_t count;
    uint64_t cost, give_up_ns;
    struct bucket *blocked; /* the bucket whose refill it waits for … */
    uint32_t answers;       /* … and the answers it had seen then */
};
void limits_wait(struct limits_port *port, struct limits_waiter *waiter,
                 struct bucket *const *buckets, size_t count, uint64_t cost, uint64_t now_ns);
void limits_cancel(struct limits_port *port, struct limits_waiter *waiter);

struct limits_counts { /* [any] relaxed */
    uint64_t admitted, rejected, waited, refills, refill_timeouts, local_decisions, redis_calls;
};
void limits_counts(const struct limiter *limiter, struct limits_counts *out);

#endif
