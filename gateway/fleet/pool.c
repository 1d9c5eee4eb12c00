/*
 * pool.c: the workers of one version, from its wish to its end (pool.h has the states). A candidate
 * for a deployment that is served takes over when all its workers are ready, so that no capacity is
 * lost; where nothing serves, when the first is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fleet/pool.h"

void pool_move(struct fleet *fleet, struct pool *pool, enum pool_state to, uint64_t now)
{
    static const bool legal[4][4] = {
        [POOL_WAITING] = { [POOL_STARTING] = true, [POOL_CLOSING] = true },
        [POOL_STARTING] = { [POOL_SERVING] = true, [POOL_CLOSING] = true },
        [POOL_SERVING] = { [POOL_CLOSING] = true },
    };
    CHECK(legal[pool->state][to]);
    pool->state = to;
    pool->since_ns = now;
    fleet->changed = true;
    if (to == POOL_STARTING)
        file_stamp(fleet, pool->spec->plugin, &pool->file);
}

struct pool *pool_new(struct fleet *fleet, struct service *service, uint64_t now)
{
    struct pool *pool = calloc(1, sizeof(*pool)), **end = &fleet->pools;
    const struct deployment *d = service->spec;
    CHECK(pool);
    pool->id = (struct pool_id){ .deployment = d->id,
                                 .version = d->version_id,
                                 .number = d->version,
                                 .generation = ++fleet->generation };
    snprintf(pool->id.text, sizeof(pool->id.text), "%u", d->version);
    pool->service = service;
    pool->snapshot = snapshot_ref(service->snapshot);
    pool->spec = d;
    pool->since_ns = now;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        pool->workers[i].ready_fd = -1;
    while (*end)
        end = &(*end)->next;
    *end = pool;
    service->pools++;
    fleet->changed = true;
    return pool;
}

void pool_free(struct fleet *fleet, struct pool *pool)
{
    struct pool **at = &fleet->pools;
    while (*at != pool)
        at = &(*at)->next;
    *at = pool->next;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        worker_end(&pool->workers[i]);
    pool->service->pools--;
    snapshot_unref(pool->snapshot);
    free(pool);
}

void pool_close(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    struct service *service = pool->service;
    if (service->serving == pool) {
        service->serving = NULL;
        fleet_tell(fleet, ROUTE_AWAY, &pool->id, NULL);
    }
    if (service->candidate == pool)
        service->candidate = NULL;
    pool_move(fleet, pool, POOL_CLOSING, now);
}

void pool_try_again(struct pool *pool)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct worker *w = &pool->workers[i];
        if (w->state != WORKER_NONE || !w->refused)
            continue;
        memset(w->deaths, 0, sizeof(w->deaths));
        w->backoff_ms = 0;
        w->restart_ns = 0;
    }
}

bool pool_lives(const struct pool *pool)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        if (pool->workers[i].state == WORKER_READY || pool->workers[i].state == WORKER_STARTING)
            return true;
    return false;
}

static bool all_ready(const struct fleet *fleet, const struct pool *pool)
{
    uint32_t ready = 0;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        ready += pool->workers[i].state == WORKER_READY;
    return ready == fleet->config.workers_per_model;
}

void pool_on_ready(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    if (pool->state == POOL_STARTING && (!pool->service->serving || all_ready(fleet, pool)))
        service_switch(fleet, pool->service, now);
}

/* True when it is over. */
static bool pool_step(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    bool empty = true;
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
        struct worker *w = &pool->workers[i];
        if (pool->state == POOL_CLOSING)
            worker_retire(fleet, pool, w, now);
        else if (pool->state != POOL_WAITING && !worker_step(fleet, pool, w, now))
            return false; /* it failed: the next step goes on with its end */
        empty &= w->link == NULL;
    }
    return pool->state == POOL_CLOSING && empty;
}

void pools_step(struct fleet *fleet, uint64_t now)
{
    for (struct pool *pool = fleet->pools, *next; pool; pool = next) {
        next = pool->next;
        if (!pool_step(fleet, pool, now))
            continue;
        fleet_tell(fleet, ROUTE_GONE, &pool->id, NULL);
        pool_free(fleet, pool);
        fleet->changed = true;
    }
}
