/*
 * route.c: where a deployment's requests go on this loop. The control thread says which pool is
 * whose front (port.h); a request goes to a lane of the front or waits in its list.
 *
 * A deployment that is not loaded gets a front of its own kind, ASKED, with the first request for
 * it. The control thread is asked once; what waits moves to the pool's route when that is switched
 * to, and is refused together with the front when it cannot be loaded. So a request waits for its
 * model within its own deadline, and the next one after a refusal asks anew.
 *
 * Every list of waiting requests is kept in the order of their arrival on this loop: a request that
 * is sent again, after its worker died or its pool was replaced, goes before those that came later.
 */
#include <stdlib.h>
#include <string.h>

#include "fleet/crowd.h"
#include "fleet/port.h"

/* ---- requests that wait for room or for a worker */

void waiting_insert(struct fleet_route *route, struct job *job)
{
    struct job *before = route->waiting_tail;
    while (before && before->arrival > job->arrival)
        before = before->prev;
    job->lane = NULL;
    job->route = route;
    job->prev = before;
    job->next = before ? before->next : route->waiting_head;
    *(job->next ? &job->next->prev : &route->waiting_tail) = job;
    *(before ? &before->next : &route->waiting_head) = job;
    route->waiting++;
}

void waiting_remove(struct fleet_route *route, struct job *job)
{
    *(job->prev ? &job->prev->next : &route->waiting_head) = job->next;
    *(job->next ? &job->next->prev : &route->waiting_tail) = job->prev;
    job->next = job->prev = NULL;
    route->waiting--;
}

static void waiting_refuse_all(struct fleet_route *route)
{
    while (route->waiting_head) {
        struct job *job = route->waiting_head;
        waiting_remove(route, job);
        job_end(route->port, job, JOB_NO_WORKER, NULL, NULL);
    }
}

/* Those that want another version than this pool's only. */
static void waiting_refuse_pinned(struct fleet_route *route)
{
    for (struct job *job = route->waiting_head, *next; job; job = next) {
        next = job->next;
        if (!job->pinned || job->pinned == route->id.number)
            continue;
        waiting_remove(route, job);
        job_end(route->port, job, JOB_NO_WORKER, NULL, NULL);
    }
}

static void waiting_move_all(struct fleet_route *from, struct fleet_route *to)
{
    while (from->waiting_head) {
        struct job *job = from->waiting_head;
        waiting_remove(from, job);
        waiting_insert(to, job);
    }
}

void route_flush(struct fleet_route *route)
{
    struct job *job;
    while ((job = route->waiting_head) && route_submit(route, job))
        waiting_remove(route, job);
}

/* ---- fronts */

static struct fleet_route **front_bucket(struct fleet_port *port, const struct uuid *deployment)
{
    return &port->fronts[hash_bytes(deployment, sizeof(*deployment)) & (FRONTS - 1)];
}

static struct fleet_route *front_of(const struct fleet_port *port, const struct uuid *deployment)
{
    size_t at = hash_bytes(deployment, sizeof(*deployment)) & (FRONTS - 1);
    struct fleet_route *route = port->fronts[at];
    while (route && !uuid_eq(&route->id.deployment, deployment))
        route = route->next_front;
    return route;
}

static void front_add(struct fleet_route *route)
{
    struct fleet_route **bucket = front_bucket(route->port, &route->id.deployment);
    route->next_front = *bucket;
    *bucket = route;
}

static void front_remove(struct fleet_route *route)
{
    struct fleet_route **at = front_bucket(route->port, &route->id.deployment);
    while (*at != route)
        at = &(*at)->next_front;
    *at = route->next_front;
}

/* All moves there are; being a front is a matter of the state. ASKED is for life. */
static void route_move(struct fleet_route *route, enum route_state to)
{
    static const bool legal[4][4] = {
        [ROUTE_APART] = { [ROUTE_SERVES] = true },
        [ROUTE_SERVES] = { [ROUTE_APART] = true, [ROUTE_REFUSES] = true },
        [ROUTE_REFUSES] = { [ROUTE_APART] = true, [ROUTE_SERVES] = true },
    };
    CHECK(legal[route->state][to]);
    if (route->state == ROUTE_APART)
        front_add(route);
    if (to == ROUTE_APART)
        front_remove(route);
    route->state = to;
}

/* ---- life */

static struct fleet_route *route_new(struct fleet_port *port, const struct pool_id *pool,
                                     enum route_state state)
{
    struct fleet_route *route = calloc(1, sizeof(*route));
    CHECK(route);
    route->id = *pool;
    route->port = port;
    route->state = state;
    route->next = port->routes;
    port->routes = route;
    return route;
}

static void route_free(struct fleet_route *route)
{
    struct fleet_route **at = &route->port->routes;
    CHECK(!route->waiting && !route->lane_count);
    if (route->state != ROUTE_APART)
        front_remove(route);
    while (*at != route)
        at = &(*at)->next;
    *at = route->next;
    free(route);
}

struct fleet_route *route_front_or_ask(struct fleet_port *port, const struct uuid *deployment)
{
    struct fleet_route *route = front_of(port, deployment);
    if (route)
        return route;
    route = route_new(port, &(struct pool_id){ .deployment = *deployment }, ROUTE_ASKED);
    front_add(route);
    fleet_ask(port->fleet, deployment);
    return route;
}

void route_lane_opened(struct fleet_route *route, struct lane *lane)
{
    CHECK(route->lane_count < LANES_MAX);
    route->lanes[route->lane_count++] = lane;
    if (route->state == ROUTE_REFUSES)
        route_move(route, ROUTE_SERVES);
}

void port_drop_lane(struct lane *lane)
{
    for (struct fleet_route *route = lane->port->routes; route; route = route->next)
        for (uint32_t i = 0; i < route->lane_count; i++)
            if (route->lanes[i] == lane)
                route->lanes[i--] = route->lanes[--route->lane_count];
}

/* ---- what the control thread tells */

static struct fleet_route *route_of_pool(const struct fleet_port *port, const struct pool_id *pool)
{
    for (struct fleet_route *route = port->routes; route; route = route->next)
        if (route->state != ROUTE_ASKED && route->id.generation == pool->generation &&
            uuid_eq(&route->id.deployment, &pool->deployment))
            return route;
    return NULL;
}

static struct fleet_route *route_need(struct fleet_port *port, const struct pool_id *pool)
{
    struct fleet_route *route = route_of_pool(port, pool);
    return route ? route : route_new(port, pool, ROUTE_APART);
}

/* What waited goes at once, before the next message may close the lanes again. */
static void route_switch(struct fleet_port *port, const struct pool_id *pool)
{
    struct fleet_route *old = front_of(port, &pool->deployment), *route = route_need(port, pool);
    if (old == route)
        return;
    if (old && old->state != ROUTE_ASKED)
        route_move(old, ROUTE_APART);
    if (old)
        waiting_move_all(old, route);
    if (old && old->state == ROUTE_ASKED)
        route_free(old);
    route_move(route, ROUTE_SERVES);
    waiting_refuse_pinned(route);
    route_flush(route);
}

static void route_down(struct fleet_route *route)
{
    if (!route || route->state != ROUTE_SERVES)
        return;
    route_move(route, ROUTE_REFUSES);
    waiting_refuse_all(route);
}

static void route_away(struct fleet_route *route)
{
    if (!route || route->state == ROUTE_APART)
        return;
    route_move(route, ROUTE_APART);
    if (route->waiting)
        waiting_move_all(route, route_front_or_ask(route->port, &route->id.deployment));
}

static void route_refuse(struct fleet_route *front)
{
    if (!front || front->state != ROUTE_ASKED)
        return;
    waiting_refuse_all(front);
    route_free(front);
}

static void route_gone(struct fleet_route *route)
{
    if (!route)
        return;
    route_away(route);
    route_free(route);
}

void port_on_message(struct loop_post *post)
{
    struct lane_message *m = (struct lane_message *)(void *)post;
    struct fleet_port *port = m->port;
    switch (m->event) {
    case LANE_OPEN:
        lane_open(route_need(port, &m->pool), m->link);
        break;
    case LANE_CLOSE:
        lane_close(port, m->link);
        break;
    case LANE_LOST:
        lane_lost(port, m->link);
        break;
    case ROUTE_SWITCH:
        route_switch(port, &m->pool);
        break;
    case ROUTE_DOWN:
        route_down(route_of_pool(port, &m->pool));
        break;
    case ROUTE_AWAY:
        route_away(route_of_pool(port, &m->pool));
        break;
    case ROUTE_REFUSE:
        route_refuse(front_of(port, &m->pool.deployment));
        break;
    case ROUTE_GONE:
        route_gone(route_of_pool(port, &m->pool));
        break;
    }
    free(m);
}

/* ---- public */

struct fleet_route *fleet_route(struct fleet_port *port, const struct uuid *deployment)
{
    return route_front_or_ask(port, deployment);
}

uint32_t fleet_serving(const struct fleet_port *port, const struct uuid *deployment)
{
    const struct fleet_route *route = front_of(port, deployment);
    return route && route->state == ROUTE_SERVES ? route->id.number : 0;
}

bool fleet_route_serves(const struct fleet_route *route)
{
    return route->state == ROUTE_SERVES;
}

maas_status fleet_port_new(struct fleet *fleet, struct loop *loop, struct fleet_port **out,
                           maas_error *error)
{
    struct fleet_port *port = calloc(1, sizeof(*port));
    if (!port)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a fleet port");
    port->fleet = fleet;
    port->loop = loop;
    port->queue_max = fleet_queue_max(fleet);
    port->crowds = crowds_new(fleet_tenant_queue_max(fleet));
    if (!port->crowds) {
        free(port);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a fleet port");
    }
    port_add_turns(port);
    fleet_register_port(fleet, loop_index(loop), port, loop);
    *out = port;
    return MAAS_OK;
}

void fleet_port_free(struct fleet_port *port)
{
    if (!port)
        return;
    while (port->lanes)
        lane_free(port->lanes);
    while (port->routes) {
        struct fleet_route *route = port->routes;
        port->routes = route->next;
        free(route);
    }
    crowds_free(port->crowds);
    free(port);
}
