/*
 * fair.h: which of the requests that wait is next. Weighted fair between tenants by what their
 * requests cost to compute, in the order of arrival within a tenant, with caps that belong to a
 * tenant alone. Data and `now` in, a decision out: no clock, no channel, no memory of requests.
 * [one thread]
 */
#ifndef MAAS_WORKER_FAIR_H
#define MAAS_WORKER_FAIR_H

#include "base/base.h"

struct fair_limits {
    uint32_t tenants; /* that are known at once; 1 to FAIR_TENANTS_MAX */
    uint32_t frames;  /* that one tenant may have waiting */
    size_t bytes;     /* likewise; a single request may be larger, when it is its tenant's only */
    size_t all_bytes; /* of all tenants together */
};
#define FAIR_TENANTS_MAX 4096u
#define FAIR_WEIGHT_MAX  1000u

/* What a waiting request is to the scheduler: a member of the caller's struct, filled by him but
 * for the last five. Lent from push until pop. */
struct fair_item {
    size_t bytes;
    uint64_t deadline_ns; /* 0: none */
    struct fair_item *next;
    uint64_t charged_ns; /* what its tenant was charged for it so far */
    uint64_t tag, since; /* its tenant's when it was popped */
    uint32_t tenant;     /* the scheduler's number for it, from pop until settle */
};

enum fair_verdict {
    FAIR_TAKEN,
    FAIR_REFUSED, /* the tenant's own cap is reached */
    FAIR_FULL     /* no room for anybody: to be left where it is, and asked again later */
};
enum fair_due {
    FAIR_DUE,
    FAIR_PASSED,  /* its deadline is over */
    FAIR_HOPELESS /* it would be over before the shortest run of late could end */
};

struct fair;
struct fair *fair_new(const struct fair_limits *limits); /* NULL: no memory */
void fair_free(struct fair *fair);                       /* not the items */

/* weight: its share beside the others'; 0 is 1. Only FAIR_TAKEN keeps anything. */
enum fair_verdict fair_push(struct fair *fair, const struct uuid *tenant, uint32_t weight,
                            struct fair_item *item);

/* Takes the next in line, or NULL; its tenant is charged what a request costs on average until
 * fair_settle says more. O(log tenants). Each item popped is settled or put back. */
struct fair_item *fair_pop(struct fair *fair);
/* The next of the tenant of `item`, which is popped and not yet settled. */
struct fair_item *fair_pop_beside(struct fair *fair, const struct fair_item *item);
/* Undoes a pop. Several are undone in the reverse order of their pops. */
void fair_put_back(struct fair *fair, struct fair_item *item);
/* What it has cost, in place of what was charged. The item is the caller's again. */
void fair_settle(struct fair *fair, struct fair_item *item, uint64_t cost_ns);
bool fair_is_empty(const struct fair *fair);

/* ---- deadlines: begin it at all? `now_ns` and deadlines are of one clock. */
enum fair_due fair_due(struct fair *fair, const struct fair_item *item, uint64_t now_ns);
/* A run of one request took so long; merged: a run of several. */
void fair_ran(struct fair *fair, uint64_t ns, bool merged);
uint64_t fair_estimate_ns(const struct fair *fair);

#endif
