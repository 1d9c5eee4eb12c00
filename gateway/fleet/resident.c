/*
 * resident.c: how many deployments are loaded, and which. With `resident_max` set, a candidate that
 * finds no room waits until the deployment that was used least recently has been drained and ended.
 * Candidates start in the order in which they were wanted, at most `starts_max` at a time, so a
 * storm of loads leaves the machine to those who serve.
 *
 * A swap runs its two pools at a time whatever the cap says: it must not unload another's model.
 */
#include "base/log.h"
#include "fleet/pool.h"

struct census {
    uint32_t starting, resident, leaving;
};

static bool is_swap(const struct pool *pool)
{
    return pool->service->candidate == pool && pool->service->serving;
}

static struct census census(const struct fleet *fleet)
{
    struct census c = { 0 };
    for (const struct pool *pool = fleet->pools; pool; pool = pool->next) {
        c.starting += pool->state == POOL_STARTING;
        c.leaving += pool->state == POOL_CLOSING;
        c.resident += pool->state != POOL_WAITING && !is_swap(pool);
    }
    return c;
}

uint32_t resident_room(const struct fleet *fleet)
{
    uint32_t taken = 0, cap = fleet->config.resident_max;
    for (const struct service *service = fleet->services; service; service = service->next)
        taken += service->asked || service->serving || service->candidate;
    return !cap ? UINT32_MAX : taken < cap ? cap - taken : 0;
}

static uint64_t used_ns(const struct pool *pool)
{
    uint64_t used = pool->since_ns;
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        const struct link *link = pool->workers[i].link;
        uint64_t at = link ? atomic_load_explicit(&link->used_ns, memory_order_relaxed) : 0;
        used = at > used ? at : used;
    }
    return used;
}

/* False: all that serve are being replaced. */
static bool unload_one(struct fleet *fleet, uint64_t now)
{
    struct pool *victim = NULL;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        if (pool->state == POOL_SERVING && !pool->service->candidate &&
            (!victim || used_ns(pool) < used_ns(victim)))
            victim = pool;
    if (!victim)
        return false;
    LOG(LOG_INFO, "deployment.unloaded", F_STR("model", victim->spec->name),
        F_UINT("idle_ms", (now - used_ns(victim)) / 1000000));
    atomic_fetch_add(&fleet->evictions, 1);
    victim->service->asked = false;
    pool_close(fleet, victim, now);
    return true;
}

void resident_step(struct fleet *fleet, uint64_t now)
{
    uint32_t cap = fleet->config.resident_max, without_room = 0;
    struct census c = census(fleet);
    for (struct pool *pool = fleet->pools; pool && c.starting < fleet->config.starts_max;
         pool = pool->next) {
        if (pool->state != POOL_WAITING)
            continue;
        if (!is_swap(pool) && cap && c.resident >= cap) {
            if (c.leaving < ++without_room)
                c.leaving += unload_one(fleet, now);
            continue;
        }
        c.resident += !is_swap(pool);
        c.starting++;
        pool_move(fleet, pool, POOL_STARTING, now);
    }
}
