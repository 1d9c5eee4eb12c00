/*
 * bucket.h: what the files of this layer know of a bucket, a limiter and a port. Not for other
 * layers.
 */
#ifndef MAAS_LIMITS_BUCKET_H
#define MAAS_LIMITS_BUCKET_H

#include <pthread.h>

#include "base/buf.h"
#include "limits/gcra.h"
#include "limits/lease.h"
#include "limits/limits.h"
#include "limits/local.h"
#include "limits/quota.h"
#include "limits/script.h"
#include "limits/places.h"

#define PORTS_MAX      64
#define BUCKET_KEY_MAX 128
#define PLAN_WORDS     4
#define WORD_MAX       21 /* 20 digits and NUL */

enum bucket_kind { BUCKET_RATE, BUCKET_PLACES, BUCKET_QUOTA, BUCKET_KINDS };

/*
 * Whoever moves `refill` from IDLE to UNDERWAY holds the refill until its answer: it alone installs
 * leases and touches the members marked [refill]. The release that moves it back hands them on.
 */
enum refill { REFILL_IDLE, REFILL_UNDERWAY };

struct bucket {
    /* what a request reads and writes [any] */
    enum bucket_kind kind;
    union { /* in hand */
        struct lease lease;
        struct places places;
        struct quota quota;
    };
    _Atomic int64_t empty_ns;  /* rate: Redis held at most (now - empty_ns) worth of tokens */
    _Atomic uint64_t hold_ns;  /* the lessor has nothing before: not asked until then */
    _Atomic uint32_t low_mark; /* refill when fewer tokens are left; 0: only on need */
    _Atomic uint32_t refill;
    _Atomic uint64_t amount; /* concurrency and quota: the limit, which may change */
    struct gcra_plan plan;   /* rate; immutable from here … */
    struct local_plan local_plan;
    struct limit limit;
    uint32_t window_s;
    struct limiter *limiter;
    struct str key, plan_words[PLAN_WORDS];
    char key_text[BUCKET_KEY_MAX];
    char plan_text[PLAN_WORDS][WORD_MAX]; /* … to here */

    /* waiting and being away [any] */
    _Atomic uint64_t waiting_ports; /* bit i: port i has waiters to be woken */
    _Atomic uint64_t waiting_cost;
    _Atomic uint64_t answered_ns; /* when the last answered call was sent */
    _Atomic uint64_t room;        /* concurrency: places nobody held, as last told */
    _Atomic uint32_t answers;     /* refills that ended, well or not */
    struct local local;

    /* [refill] */
    struct bucket *next_refill;
    struct demand demand;
    uint64_t handed; /* lease_raw() after the last install */
    uint64_t least, serial;
    bool put_all_away; /* quota: says what is held, wants nothing */

    /* the port that looks after it between requests (tend.c); NULL: none */
    struct limits_port *_Atomic tender;
    struct bucket *next_tended;       /* [that port's loop] */
    uint64_t asked_amount;            /* [refill] concurrency: the limit that Redis was told */
    uint64_t tended_spent, tended_ns; /* [that port's loop] */

    _Atomic uint32_t refs;
    struct bucket *chain, *newer, *lru_older; /* under limiter->lock */
};

struct limiter {
    struct limiter_config config;
    char lessee_text[UUID_TEXT_MAX];
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

/* A number as a word of a call; the text holds it. */
static inline struct str word_of(char text[WORD_MAX], uint64_t value)
{
    return (struct str){ text, (size_t)(text_uint(text, value) - text) };
}

/* ---- hand.c: what of a bucket is in hand, whatever its kind [any] */

struct moment {
    uint64_t now_ns, real_us;
};
/* What a request that may cost `units` takes of this bucket. */
uint32_t bucket_cost(const struct bucket *b, uint64_t units);
/* Tokens that can be taken now. */
uint64_t hand_tokens(const struct bucket *b, const struct moment *at);
bool hand_take(struct bucket *b, uint32_t cost, const struct moment *at, struct limits_held *out,
               uint64_t *out_left);
void hand_give_back(const struct limits_held *held, uint32_t cost);
/* The whole tokens of a bucket that no request can pass: 0 for those that have no such bound. */
uint64_t bucket_cost_max(const struct bucket *b);
/* How much the limit holds at most, and what is left of it at a good estimate. */
uint64_t bucket_size(const struct bucket *b);
uint64_t bucket_remaining(const struct bucket *b, uint64_t in_hand, const struct moment *at);
/* Nothing of it would be lost with the memory. */
bool bucket_is_idle(const struct bucket *b);

#endif
