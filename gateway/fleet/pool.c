/*
 * pool.c: the workers of one version, or of a group, from its wish to its end (pool.h has the
 * states). A candidate for a deployment that is served takes over when all its workers are ready,
 * so that no capacity is lost; where nothing serves, when the first is. A group has one worker.
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
        file_stamp(fleet, pool->members[0].spec->plugin, &pool->file);
}

/* ---- members */

static uint32_t room_of(const struct fleet *fleet)
{
    return fleet->config.group_max ? fleet->config.group_max : 1;
}

void pool_add(struct fleet *fleet, struct pool *pool, struct service *service)
{
    const struct deployment *d = service->spec;
    uint32_t slot = pool->member_count++;
    struct member *m = &pool->members[slot];
    CHECK(slot < room_of(fleet) && pool->state == POOL_WAITING && !service->candidate);
    m->id =
        (struct pool_id){ .deployment = d->id,
                          .version = d->version_id,
                          .number = d->version,
                          .generation = slot ? pool->members[0].id.generation : ++fleet->generation,
                          .slot = slot };
    snprintf(m->id.text, sizeof(m->id.text), "%u", d->version);
    m->service = service;
    m->snapshot = snapshot_ref(service->snapshot);
    m->spec = d;
    service->candidate = pool;
    service->again = false;
    service->pools++;
    fleet->changed = true;
}

struct member *pool_member(struct pool *pool, const struct service *service)
{
    uint32_t i = 0;
    while (i < pool->member_count && pool->members[i].service != service)
        i++;
    CHECK(i < pool->member_count);
    return &pool->members[i];
}

uint32_t pool_serves(const struct pool *pool)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->member_count; i++)
        n += pool->members[i].service->serving == pool;
    return n;
}

void pool_tell(struct fleet *fleet, const struct pool *pool, enum lane_event event,
               struct link *link)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        fleet_tell(fleet, event, &pool->members[i].id, link);
}

/* ---- life */

struct pool *pool_new(struct fleet *fleet, struct service *service, uint64_t now)
{
    struct pool *pool = calloc(1, sizeof(*pool)), **end = &fleet->pools;
    CHECK(pool);
    pool->members = calloc(room_of(fleet), sizeof(*pool->members));
    CHECK(pool->members);
    pool->since_ns = now;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        pool->workers[i].ready_fd = -1;
    while (*end)
        end = &(*end)->next;
    *end = pool;
    pool_add(fleet, pool, service);
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
    for (uint32_t i = 0; i < pool->member_count; i++) {
        pool->members[i].service->pools--;
        snapshot_unref(pool->members[i].snapshot);
    }
    free(pool->members);
    free(pool);
}

static void member_close(struct fleet *fleet, const struct pool *pool, const struct member *m)
{
    if (m->service->serving == pool) {
        m->service->serving = NULL;
        fleet_tell(fleet, ROUTE_AWAY, &m->id, NULL);
    }
    if (m->service->candidate == pool)
        m->service->candidate = NULL;
}

void pool_close(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        member_close(fleet, pool, &pool->members[i]);
    pool_move(fleet, pool, POOL_CLOSING, now);
}

void pool_leave(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    if (pool->state == POOL_SERVING && !pool_serves(pool))
        pool_close(fleet, pool, now);
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
    if (pool->state != POOL_STARTING ||
        (pool->members[0].service->serving && !all_ready(fleet, pool)))
        return;
    pool_move(fleet, pool, POOL_SERVING, now);
    for (uint32_t i = 0; i < pool->member_count; i++)
        service_switch(fleet, pool, &pool->members[i], now);
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
        pool_tell(fleet, pool, ROUTE_GONE, NULL);
        pool_free(fleet, pool);
        fleet->changed = true;
    }
}
