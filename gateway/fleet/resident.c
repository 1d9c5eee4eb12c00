/*
 * resident.c: which deployments are loaded. Two bounds: their number (`resident_max`) and the
 * memory of their workers together. A candidate that finds no room waits until the deployment that
 * was used least recently has been drained and ended; one that is pinned is never ended for
 * another. Candidates start in the order in which they were wanted, at most `starts_max` at a time,
 * so a storm of loads leaves the machine to those who serve.
 *
 * Memory is measured, when a worker becomes ready and every MEASURE_NS: what a plugin says of
 * itself is not asked. Before it was ever measured, a version is taken for its artifact's bytes and
 * FRESH. What serves and has grown is unloaded by the same rule as what must make room.
 *
 * A swap runs its two pools at a time whatever the bounds say: it must not unload another's model.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "fleet/memory.h"
#include "fleet/pool.h"

#define MEASURE_NS UINT64_C(2000000000)
#define FRESH      (UINT64_C(2) << 20) /* bytes of a worker with a small model */

struct census {
    uint32_t starting, resident, leaving;
    uint64_t bytes, leaving_bytes;
};

static bool is_swap(const struct pool *pool)
{
    return pool->service->candidate == pool && pool->service->serving;
}

/* ---- memory */

static void measure_pool(struct fleet *fleet, struct pool *pool)
{
    struct service *service = pool->service;
    uint64_t most = 0;
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
        struct worker *w = &pool->workers[i];
        w->memory = w->link ? memory_of(w->link->pid) : 0;
        most = w->memory > most ? w->memory : most;
    }
    if (pool->state != POOL_SERVING || most == 0)
        return;
    service->seen.version = pool->id.version;
    service->seen.bytes = most;
}

static void measure(struct fleet *fleet, uint64_t now)
{
    uint64_t sum = 0;
    if (fleet->measured_ns && now - fleet->measured_ns < MEASURE_NS)
        return;
    fleet->measured_ns = now;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next) {
        measure_pool(fleet, pool);
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
            sum += pool->workers[i].memory;
    }
    fleet->changed |= atomic_exchange(&fleet->memory, sum) != sum; /* the rows tell it */
}

/* What its workers will hold. */
static uint64_t estimate(const struct fleet *fleet, const struct pool *pool)
{
    const struct service *service = pool->service;
    bool seen = service->seen.bytes && uuid_eq(&service->seen.version, &pool->id.version);
    uint64_t one = seen ? service->seen.bytes : pool->spec->artifact_bytes + FRESH;
    return one * fleet->config.workers_per_model;
}

static uint64_t held(const struct fleet *fleet, const struct pool *pool)
{
    uint64_t sum = 0, expected = pool->state == POOL_STARTING ? estimate(fleet, pool) : 0;
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
        sum += pool->workers[i].memory;
    return sum > expected ? sum : expected;
}

/* ---- who is there */

static struct census census(const struct fleet *fleet)
{
    struct census c = { 0 };
    for (const struct pool *pool = fleet->pools; pool; pool = pool->next) {
        uint64_t bytes = pool->state == POOL_WAITING ? 0 : held(fleet, pool);
        c.starting += pool->state == POOL_STARTING;
        c.leaving += pool->state == POOL_CLOSING;
        c.resident += pool->state != POOL_WAITING && !is_swap(pool);
        c.bytes += bytes;
        c.leaving_bytes += pool->state == POOL_CLOSING ? bytes : 0;
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

/* False: all that serve are pinned or are being replaced. */
static bool unload_one(struct fleet *fleet, struct census *c, uint64_t now)
{
    struct pool *victim = NULL;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        if (pool->state == POOL_SERVING && !pool->service->candidate &&
            !pool->service->spec->pinned && (!victim || used_ns(pool) < used_ns(victim)))
            victim = pool;
    if (!victim)
        return false;
    uint64_t bytes = held(fleet, victim);
    LOG(LOG_INFO, "deployment.unloaded", F_STR("model", victim->spec->name),
        F_UINT("idle_ms", (now - used_ns(victim)) / 1000000), F_UINT("bytes", bytes));
    atomic_fetch_add(&fleet->evictions, 1);
    victim->service->asked = false;
    pool_close(fleet, victim, now);
    c->leaving++;
    c->leaving_bytes += bytes;
    return true;
}

/* ---- the two bounds */

static void refuse_large(struct fleet *fleet, struct pool *pool, uint64_t bytes, uint64_t now)
{
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason),
             "it needs %" PRIu64 " bytes, and all workers together may hold %" PRIu64
             " (workers.resident_memory_max)",
             bytes, fleet->config.resident_memory_max);
    service_fail(fleet, pool->service, false, reason, now);
}

/* Nobody has asked for it: it is loaded by its first request, as others are. */
static void give_up(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    pool->service->asked = pool->service->eager = false;
    pool_close(fleet, pool, now);
}

/* Whether it may start now; if not, somebody leaves for it, or it is refused. `places` counts those
 * that have found no place in this step. */
static bool find_room(struct fleet *fleet, struct pool *pool, struct census *c, uint32_t *places,
                      uint64_t now)
{
    const uint64_t most = fleet->config.resident_memory_max, bytes = estimate(fleet, pool);
    const uint32_t cap = fleet->config.resident_max;
    bool moved = true, full = (cap && c->resident >= cap) || c->bytes + bytes > most;
    if (is_swap(pool) || (!full && bytes <= most))
        return true;
    if (pool->service->eager || bytes > most) {
        if (pool->service->eager)
            give_up(fleet, pool, now);
        else
            refuse_large(fleet, pool, bytes, now);
        return false;
    }
    if (cap && c->resident >= cap) {
        if (c->leaving < ++*places)
            moved = unload_one(fleet, c, now);
    } else if (c->bytes - c->leaving_bytes + bytes > most) {
        moved = unload_one(fleet, c, now);
    }
    if (!moved && c->leaving == 0 && c->starting == 0)
        service_fail(fleet, pool->service, true,
                     "what is loaded is pinned, and there is no more room", now);
    return false;
}

/* Those that serve have grown. */
static void shrink(struct fleet *fleet, struct census *c, uint64_t now)
{
    const uint64_t most = fleet->config.resident_memory_max;
    while (c->bytes - c->leaving_bytes > most && unload_one(fleet, c, now))
        ;
}

void resident_step(struct fleet *fleet, uint64_t now)
{
    measure(fleet, now);
    struct census c = census(fleet);
    uint32_t places = 0;
    shrink(fleet, &c, now);
    for (struct pool *pool = fleet->pools, *next; pool && c.starting < fleet->config.starts_max;
         pool = next) {
        next = pool->next;
        if (pool->state != POOL_WAITING || !find_room(fleet, pool, &c, &places, now))
            continue;
        c.resident += !is_swap(pool);
        c.bytes += estimate(fleet, pool);
        c.starting++;
        pool_move(fleet, pool, POOL_STARTING, now);
    }
}
