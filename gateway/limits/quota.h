/*
 * quota.h: units of a day or a month: what this process holds of a pot in PostgreSQL. Pure; time is
 * an argument.
 *
 * The pot of a quota and period counts what was handed out: `granted`, never more than the quota. A
 * lessee (one incarnation of one gateway) takes blocks of it ahead of need, spends them from
 * memory, and its account in PostgreSQL says how much it holds or has spent.
 *
 * WHY A QUOTA IS NEVER EXCEEDED. Every unit that is spent was in some lessee's account first, and
 * the accounts of a pot sum up to `granted`. An account goes down in three ways only: the lessee
 * says that it holds less (it has put the units away before it says so); it ends and says what it
 * spent; it is dead (the lock of its spool is free) and everything that its spool holds was billed:
 * then the account becomes what was billed, since a delivered answer is in the spool before its
 * last byte leaves. Nothing of this rests on Redis, on a clock that all share, or on the order in
 * which messages arrive:
 *
 *   · a call says what the lessee holds (`keep`, absolute) and what it wants, so a call whose
 * answer was lost costs nothing: the next one sets the account right; · each call has a serial
 * above the last; the account ignores lower ones, so a call that arrives late does nothing. A
 * closed lessee's calls do nothing. · the period is that of the gateway's clock, and a unit is
 * spent only while that clock stands in the period of the pot it came from. Clocks that differ
 * spend from different pots, each of which is bounded.
 *
 * The block is what was spent in the last two seconds, at most 1/64 of what is left, at least what
 * a request waits for: near exhaustion single requests are asked for.
 *
 * Rejected: a counter in Redis between the pot and the gateways, with an epoch per life of Redis'
 * memory. It saves PostgreSQL some of 64·ln(quota) small transactions a period, and costs the proof
 * an unreliable party: every flush, restart and failover of Redis would open an epoch that all
 * lessees must close before its units are usable again.
 */
#ifndef MAAS_LIMITS_QUOTA_H
#define MAAS_LIMITS_QUOTA_H

#include <stdatomic.h>

#include "base/base.h"

#define QUOTA_HAND_MAX (1u << 30) /* units in hand at most */
#define QUOTA_IDLE_MS  5000u      /* units that nobody spends go back after that */

/* [any] but where it says otherwise; zeroed: nothing in hand. */
struct quota {
    _Atomic uint64_t word; /* generation << 32 | units; the period's bounds are written between two
                              generations, so whoever took from a word has read its bounds */
    _Atomic uint64_t start_us, end_us; /* wall clock: spend only within */
    _Atomic uint64_t left;             /* of the pot, as last told */
    _Atomic uint64_t spent;            /* taken so far */
    _Atomic bool doubted; /* the quota was changed: not spent before it is asked again */
    _Atomic bool
        unsure; /* a call's answer was lost: the account may hold more than is known here */
    /* [refill] whoever holds the bucket's refill */
    uint64_t keep;                         /* this lessee's account: in hand, at work and spent */
    bool known;                            /* keep is known; false before the first answer */
    uint64_t serial;                       /* of the last call */
    uint64_t noted_spent, noted_ns, per_s; /* demand */
};

struct quota_ask { /* what is asked of PostgreSQL */
    uint64_t serial, at_us, start_us, keep, want, least;
    bool known;
};
struct quota_answer {
    bool done; /* false: a later call was there, or the lessee is closed */
    uint64_t start_us, end_us;
    uint64_t account; /* of the lessee, with what was granted now */
    uint64_t granted, left;
};

uint32_t quota_units(const struct quota *quota, uint64_t real_us);
/* All of `cost` or nothing; out_generation is for giving back. */
bool quota_take(struct quota *quota, uint32_t cost, uint64_t real_us, uint32_t *out_generation,
                uint64_t *out_left);
/* Nothing when the period has changed meanwhile. */
void quota_give_back(struct quota *quota, uint32_t generation, uint32_t units);

/* [refill] `want` 0: only says what is held. Units put away: those of a period that is over, all of
 * them when `all` or when the quota is doubted. */
void quota_prepare(struct quota *quota, uint64_t now_ns, uint64_t real_us, uint64_t want,
                   uint64_t least, bool all, struct quota_ask *out);
/* [refill] What was granted is in hand now. Returns how much that was. */
uint64_t quota_install(struct quota *quota, const struct quota_ask *ask,
                       const struct quota_answer *answer);
/* [refill] Units a second that were spent lately. */
uint64_t quota_demand(struct quota *quota, uint64_t now_ns);
/* When the hand is empty and nothing is at work: what was spent of the current period's account. */
uint64_t quota_put_away(struct quota *quota);

/* ---- the function in PostgreSQL, in C: the model its tests and the simulator compare with */

struct quota_account {
    bool exists;
    uint64_t granted, serial;
};
struct quota_pot { /* of one period */
    uint64_t granted;
};
void quota_lease(struct quota_pot *pot, struct quota_account *account, uint64_t amount,
                 const struct quota_ask *ask, bool same_period, struct quota_answer *out);

#endif
