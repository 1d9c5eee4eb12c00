/*
 * bucket.h: what the files of this layer know of a bucket, a limiter and a port. Not for other
 * layers.
 */
#ifndef MAAS_LIMITS_BUCKET_H
#define MAAS_LIMITS_BUCKET_H

#include <pthread.h>

#include "limits/gcra.h"
#include "limits/lease.h"
#include "limits/limits.h"
#include "limits/local.h"
#include "limits/script.h"

#define PORTS_MAX      64
#define BUCKET_KEY_MAX 64
#define PLAN_WORDS     4
#define WORD_MAX       21 /* 20 digits and NUL */

/*
 * Whoever moves `refill` from IDLE to UNDERWAY holds the refill until its answer: it alone installs
 * leases and touches the members marked [refill]. The release that moves it back hands them on.
 */
enum refill { REFILL_IDLE, REFILL_UNDERWAY };

struct bucket {
    /* what a request reads and writes [any] */
    struct lease lease;
    _Atomic int64_t empty_ns;  /* Redis held at most (now - empty_ns) worth of tokens */
    _Atomic uint64_t hold_ns;  /* nothing in Redis before: not asked until then */
    _Atomic uint32_t low_mark; /* refill when fewer tokens are left; 0: only on need */
    _Atomic uint32_t refill;
    struct gcra_plan plan; /* immutable from here … */
    struct rate rate;
    struct local_plan local_plan;
    enum scope_of_limit scope;
    uint32_t window_s;
    struct limiter *limiter;
    struct str key, plan_words[PLAN_WORDS];
    struct uuid id;
    char key_text[BUCKET_KEY_MAX];
    char plan_text[PLAN_WORDS][WORD_MAX]; /* … to here */

    /* waiting and being away [any] */
    _Atomic uint64_t waiting_ports; /* bit i: port i has waiters to be woken */
    _Atomic uint64_t waiting_cost;
    _Atomic uint64_t answered_ns; /* when the last answered call was sent */
    _Atomic uint32_t answers;     /* refills that ended, well or not */
    struct local local;

    /* [refill] */
    struct bucket *next_refill;
    struct demand demand;
    uint64_t handed; /* lease_raw() after the last install */
    uint64_t least;

    _Atomic uint32_t refs;
    struct bucket *chain, *newer, *lru_older; /* under limiter->lock */
};

struct limiter {
    struct limiter_config config;
    pthread_mutex_t lock; /* the table and the list of ports; never held while calling out */
    struct bucket **table;
    size_t table_size, count;
    struct bucket *newest, *oldest;
    struct limits_port *ports[PORTS_MAX];
    struct limits_port *closed; /* memory of ports that were freed */
};

/* The bits of a mask of waiting_ports are told that a bucket of theirs has news. [any] */
void limiter_wake(struct limiter *limiter, uint64_t ports);
/* port.c: one port's part of the three calls below. */
void port_wake(struct limits_port *port); /* under limiter->lock */
void port_add_counts(const struct limits_port *port, struct limits_counts *sum);
struct limits_port **port_next_closed(struct limits_port *port);

#endif
