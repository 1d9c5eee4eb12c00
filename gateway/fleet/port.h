/*
 * port.h: one loop's view of the workers: routes (route.c) and their lanes (lane.c). Private to
 * fleet/. [loop]
 *
 * A route is a pool as this loop sees it; at most one of a deployment's routes is its front, which
 * takes its requests:
 *
 *     APART    not the front: its pool is not yet switched to, or no longer
 *     SERVES   the front
 *     REFUSES  the front, but all workers of its pool keep failing
 *     ASKED    the front of a deployment without a pool: requests wait here until one is loaded
 */
#ifndef MAAS_FLEET_PORT_H
#define MAAS_FLEET_PORT_H

#include "fleet/link.h"
#include "fleet/slots.h"
#include "fleet/suspects.h"

#define LANES_MAX 16   /* workers of one pool */
#define FRONTS    1024 /* buckets of the table by deployment, a power of two */

enum route_state { ROUTE_APART, ROUTE_SERVES, ROUTE_REFUSES, ROUTE_ASKED };

struct lane { /* one worker */
    struct fleet_port *port;
    struct link *link;
    struct watch *watch;
    struct slots slots;
    bool closing, dirty;
    uint64_t used_ns; /* what link.used_ns was told last */
    struct timer hang;
    uint64_t hang_job;
    struct lane *next;
};

struct fleet_route {
    struct pool_id id;
    enum route_state state;
    struct fleet_port *port;
    struct fleet_route *next, *next_front;
    struct lane *lanes[LANES_MAX];
    uint32_t lane_count;
    struct job *waiting_head, *waiting_tail; /* in the order of their arrival */
    uint32_t waiting;
};

struct fleet_port {
    struct fleet *fleet;
    struct loop *loop;
    struct fleet_route *routes;
    struct fleet_route *fronts[FRONTS];
    struct lane *lanes;
    uint64_t arrivals; /* numbers requests */
    uint32_t queue_max;
    struct crowds *crowds;
    struct port_counts {
        _Atomic uint64_t answers, merged, rows, call_parts, late, exhausted, crowded, condemned;
    } counts;
};
#define CALL_PARTS                                                                                 \
    UINT64_C(720720) /* of one call: its members' shares of it are whole numbers, or nearly */

/* ---- route.c */
void waiting_insert(struct fleet_route *route, struct job *job); /* where its arrival belongs */
void waiting_remove(struct fleet_route *route, struct job *job);
void route_flush(struct fleet_route *route); /* sends what waits, as long as there is room */
/* The deployment's front, which is asked for when there is none. */
struct fleet_route *route_front_or_ask(struct fleet_port *port, const struct uuid *deployment);
void route_lane_opened(struct fleet_route *route, struct lane *lane);
void port_drop_lane(struct lane *lane); /* out of all routes */

/* ---- lane.c */
void job_end(struct fleet_port *port, struct job *job, enum job_end end,
             const struct complete_frame *frame, const uint8_t *payload);
/* Into the ring of the least loaded lane; false: none has room. */
bool route_submit(struct fleet_route *route, struct job *job);
void lane_open(struct fleet_route *route, struct link *link); /* takes the reference */
/* These take a message's reference, too; nothing when no lane has this link. */
void lane_close(struct fleet_port *port, struct link *link);
void lane_lost(struct fleet_port *port, struct link *link);
void lane_free(struct lane *lane);
void port_add_turns(struct fleet_port *port);

#endif
