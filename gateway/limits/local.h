/*
 * local.h: the bucket of this gateway alone, for while Redis is away: r/N and max(1, b/N), empty at
 * the start. One atomic; time is an argument. [any]
 */
#ifndef MAAS_LIMITS_LOCAL_H
#define MAAS_LIMITS_LOCAL_H

#include <stdatomic.h>

#include "limits/limits.h"

struct local_plan {        /* immutable */
    uint64_t token_ns_num; /* nanoseconds of a token are num / den */
    uint64_t token_ns_den;
    uint64_t burst; /* tokens */
};
void local_plan_of(const struct rate *rate, uint32_t gateways, struct local_plan *out);

struct local {                /* zeroed: asleep */
    _Atomic uint64_t full_ns; /* when it is full again; 0: asleep */
};

/* Redis answered: the next outage starts from an empty bucket again. */
void local_sleep(struct local *local);
/* Takes `cost`, counting from empty at `since_ns` when it was asleep. False: out_wait_ns says how
 * long until it would pass, UINT64_MAX if never from this bucket. */
bool local_take(struct local *local, const struct local_plan *plan, uint64_t cost,
                uint64_t since_ns, uint64_t now_ns, uint64_t *out_wait_ns);
void local_give_back(struct local *local, const struct local_plan *plan, uint64_t cost);
uint64_t local_tokens(const struct local *local, const struct local_plan *plan, uint64_t now_ns);

#endif
