/*
 * instead_of_fleet.h: what lane.c and route.c ask of fleet.c, for a test that plays the control
 * thread. Included by one file of a program. What the tests do differently (fleet_ask,
 * fleet_count_hostile) is theirs.
 */
#ifndef MAAS_TESTS_INSTEAD_OF_FLEET_H
#define MAAS_TESTS_INSTEAD_OF_FLEET_H

#include "fleet/link.h"
#include "fleet/suspects.h"

#include <stdlib.h>

struct fleet { /* whom lane.c asks for the end of a worker */
    struct loop *loop;
    uint32_t queue_max, tenant_queue_max, grace_ms; /* tenant_queue_max 0: any */
    uint32_t hostile;                               /* the test's count */
};

void fleet_poke(struct fleet *of)
{
    loop_stop(of->loop);
}

uint32_t fleet_queue_max(const struct fleet *of)
{
    return of->queue_max;
}

uint32_t fleet_tenant_queue_max(const struct fleet *of)
{
    return of->tenant_queue_max ? of->tenant_queue_max : UINT32_MAX;
}

/* One for the program: reachable to its end. */
struct suspects *fleet_suspects(const struct fleet *of)
{
    static struct suspects *all;
    (void)of;
    if (!all)
        all = suspects_new();
    CHECK(all);
    return all;
}

uint32_t fleet_hang_grace_ms(const struct fleet *of)
{
    return of->grace_ms;
}

void fleet_register_port(struct fleet *of, uint32_t index, struct fleet_port *its,
                         struct loop *loop)
{
    (void)of;
    (void)index;
    (void)its;
    (void)loop;
}

void link_unref(struct link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) == 1) {
        channel_free(link->channel);
        free(link);
    }
}

#endif
