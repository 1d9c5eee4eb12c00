/*
 * link.h: what the control thread and the loops share of one worker, and the messages between them.
 * Private to fleet/.
 */
#ifndef MAAS_FLEET_LINK_H
#define MAAS_FLEET_LINK_H

#include <stdatomic.h>

#include "fleet/fleet.h"

/* One worker process as both planes know it. Counted: the control thread and each loop's lane hold
 * one reference. */
struct link {
    _Atomic uint32_t refs;
    struct channel *channel;
    int pid;
    _Atomic uint32_t drained; /* loops that have nothing in flight after a close */
    _Atomic bool
        kill; /* a loop asks for the end of this worker: it hangs or its channel is broken */
    _Atomic uint64_t used_ns; /* when a loop last sent to it, to some milliseconds */
};
void link_unref(struct link *link);

/* One deployed version in its pool, as the loops are told of it. Copied into each route. */
struct pool_id {
    struct uuid deployment, version;
    uint32_t number;     /* of the version */
    uint32_t generation; /* no two pools of a process have the same */
    uint32_t slot;       /* of the model in its workers */
    char text[12];       /* of the number */
};

enum lane_event {
    LANE_OPEN,    /* a worker is ready: takes requests of its pool */
    LANE_CLOSE,   /* no new requests; count `drained` when the last is done */
    LANE_LOST,    /* the process is gone */
    ROUTE_SWITCH, /* the deployment is served by this pool from now on */
    ROUTE_DOWN,   /* all its workers keep failing: refuse at once */
    ROUTE_AWAY,   /* the pool is unloaded: who wants the deployment must ask for it again */
    ROUTE_REFUSE, /* what was asked for cannot be had; only `deployment` of the pool is filled */
    ROUTE_GONE,   /* the pool is over */
};

struct lane_message {
    struct loop_post post;
    struct fleet_port *port;
    enum lane_event event;
    struct pool_id pool;
    struct link *link; /* a reference that passes to the receiver, for LANE_ events */
};

/* Control side: sends an event to every loop (each gets its own reference to link). */
void fleet_tell(struct fleet *fleet, enum lane_event event, const struct pool_id *pool,
                struct link *link);
/* Loop side: on its loop. */
void port_on_message(struct loop_post *post);
/* [any] makes the control thread look at its links. */
void fleet_poke(struct fleet *fleet);
/* [any] A deployment without a route is wanted: answered by ROUTE_SWITCH or ROUTE_REFUSE. */
void fleet_ask(struct fleet *fleet, const struct uuid *deployment);
void fleet_count_hostile(struct fleet *fleet);
struct suspects;
struct suspects *fleet_suspects(const struct fleet *fleet);
uint32_t fleet_queue_max(const struct fleet *fleet);
uint32_t fleet_tenant_queue_max(const struct fleet *fleet);
uint32_t fleet_hang_grace_ms(const struct fleet *fleet);
void fleet_register_port(struct fleet *fleet, uint32_t index, struct fleet_port *port,
                         struct loop *loop);

#endif
