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
 * A group is one thing to all this: used when one of its members is, and unloaded as a whole.
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

/* All that it shall serve is served already. */
static bool is_swap(const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        if (pool->members[i].service->candidate != pool || !pool->members[i].service->serving)
            return false;
    return true;
}

/* ---- memory */

/* A member's part is told apart by nobody: what is over a process of its own is shared out. */
static void note_seen(const struct pool *pool, uint64_t bytes)
{
    if (pool->member_count > 1)
        bytes = FRESH + (bytes > FRESH ? (bytes - FRESH) / pool->member_count : 0);
    for (uint32_t i = 0; i < pool->member_count; i++) {
        const struct member *m = &pool->members[i];
        if (m->service->serving != pool)
            continue;
        m->service->seen.version = m->id.version;
        m->service->seen.bytes = bytes;
    }
}

static void measure_pool(struct fleet *fleet, struct pool *pool)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
        struct worker *w = &pool->workers[i];
        w->memory = w->link ? memory_of(w->link->pid) : 0;
        most = w->memory > most ? w->memory : most;
    }
    if (pool->state == POOL_SERVING && most)
        note_seen(pool, most);
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

/* What one worker of its own would hold. */
static uint64_t alone(const struct service *service, const struct uuid *version)
{
    bool seen = service->seen.bytes && uuid_eq(&service->seen.version, version);
    return seen ? service->seen.bytes : service->spec->artifact_bytes + FRESH;
}

static uint64_t over_fresh(uint64_t bytes)
{
    return bytes > FRESH ? bytes - FRESH : 0;
}

/* What its workers will hold: of all members, or of those only that nothing serves yet, which is
 * what it will hold more than what it replaces. */
static uint64_t estimate(const struct fleet *fleet, const struct pool *pool, bool all)
{
    uint64_t sum = 0;
    bool served = false;
    if (pool->member_count == 1) {
        const struct member *m = &pool->members[0];
        bool counts = all || !m->service->serving || m->service->serving == pool;
        return counts ? alone(m->service, &m->id.version) * fleet->config.workers_per_model : 0;
    }
    for (uint32_t i = 0; i < pool->member_count; i++) {
        const struct member *m = &pool->members[i];
        bool elsewhere = m->service->serving && m->service->serving != pool;
        served |= elsewhere;
        sum += elsewhere && !all ? 0 : over_fresh(alone(m->service, &m->id.version));
    }
    return sum + (served && !all ? 0 : FRESH);
}

bool resident_fits(const struct fleet *fleet, const struct pool *pool, const struct pool *other,
                   const struct service *one)
{
    uint64_t bytes = estimate(fleet, pool, true);
    uint32_t count = pool->member_count + (one != NULL), cap = fleet->config.resident_max;
    if (one)
        bytes += over_fresh(alone(one, &one->spec->version_id));
    for (uint32_t i = 0; other && i < other->member_count; i++) {
        const struct member *m = &other->members[i];
        if (m->service->serving != other || m->service->candidate == pool)
            continue;
        bytes += over_fresh(alone(m->service, &m->service->spec->version_id));
        count++;
    }
    return bytes <= fleet->config.resident_memory_max && (!cap || count <= cap);
}

/* A candidate counts as what comes on top of what it replaces: a swap is above the bound. */
static uint64_t held(const struct fleet *fleet, const struct pool *pool)
{
    uint64_t sum = 0, expected = estimate(fleet, pool, false);
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
        sum += pool->workers[i].memory;
    if (pool->state != POOL_STARTING)
        return sum;
    bool replaces = expected < estimate(fleet, pool, true);
    return sum > expected && !replaces ? sum : expected;
}

/* ---- who is there */

uint32_t resident_count(const struct pool *pool)
{
    uint32_t n = 0;
    if (pool->state == POOL_SERVING)
        return pool_serves(pool);
    if (pool->state == POOL_CLOSING)
        return pool->member_count;
    for (uint32_t i = 0; i < pool->member_count; i++)
        n += !pool->members[i].service->serving;
    return n;
}

static struct census census(const struct fleet *fleet)
{
    struct census c = { 0 };
    for (const struct pool *pool = fleet->pools; pool; pool = pool->next) {
        if (pool->state == POOL_WAITING)
            continue;
        uint64_t bytes = held(fleet, pool);
        uint32_t count = resident_count(pool);
        bool leaves = pool->state == POOL_CLOSING;
        c.starting += pool->state == POOL_STARTING;
        c.resident += count;
        c.bytes += bytes;
        c.leaving += leaves ? count : 0;
        c.leaving_bytes += leaves ? bytes : 0;
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

/* Nobody of it is pinned or about to be replaced. */
static bool may_leave(const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->member_count; i++) {
        const struct service *service = pool->members[i].service;
        if (service->serving == pool && (service->candidate || service->spec->pinned))
            return false;
    }
    return pool->state == POOL_SERVING;
}

static void unload(struct fleet *fleet, struct pool *pool, uint64_t bytes, uint64_t now)
{
    for (uint32_t i = 0; i < pool->member_count; i++) {
        const struct member *m = &pool->members[i];
        if (m->service->serving != pool)
            continue;
        LOG(LOG_INFO, "deployment.unloaded", F_STR("model", m->spec->name),
            F_UINT("idle_ms", (now - used_ns(pool)) / 1000000), F_UINT("bytes", bytes));
        atomic_fetch_add(&fleet->evictions, 1);
        m->service->asked = false;
        if (m->service->apart == APART_ROOM)
            m->service->apart = APART_NO;
    }
    pool_close(fleet, pool, now);
}

/* False: all that serve are pinned or are being replaced. */
static bool unload_one(struct fleet *fleet, struct census *c, uint64_t now)
{
    struct pool *victim = NULL;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        if (may_leave(pool) && (!victim || used_ns(pool) < used_ns(victim)))
            victim = pool;
    if (!victim)
        return false;
    uint64_t bytes = held(fleet, victim);
    uint32_t served = pool_serves(victim);
    unload(fleet, victim, bytes, now);
    c->leaving += served;
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
    candidate_fail(fleet, pool, &(struct failure){ .blamed = NOBODY, .reason = reason }, now);
}

/* Nobody has asked for what it would load. */
static bool is_eager(const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        if (!pool->members[i].service->serving && !pool->members[i].service->eager)
            return false;
    return true;
}

/* They are loaded by their first request, as others are. */
static void give_up(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        if (!pool->members[i].service->serving)
            pool->members[i].service->asked = pool->members[i].service->eager = false;
    pool_close(fleet, pool, now);
}

/* It does not fit, whoever leaves: there is no room beside what is pinned, or for it alone. */
static void no_room(struct fleet *fleet, struct pool *pool, bool large, uint64_t now)
{
    if (pool->member_count > 1)
        group_dissolve(fleet, pool, now);
    else if (large)
        refuse_large(fleet, pool, estimate(fleet, pool, true), now);
    else
        candidate_fail(fleet, pool,
                       &(struct failure){ .blamed = NOBODY,
                                          .passing = true,
                                          .reason = "what is loaded is pinned, and there is no "
                                                    "more room" },
                       now);
}

/* How many places are missing for `count` more. */
static uint32_t missing(const struct fleet *fleet, const struct census *c, uint32_t count)
{
    uint32_t cap = fleet->config.resident_max, all = c->resident + count;
    return !cap || all <= cap ? 0 : all - cap < count ? all - cap : count;
}

/* Whether it may start now; if not, somebody leaves for it, or it is refused. `places` counts those
 * that were missing in this step. */
static bool find_room(struct fleet *fleet, struct pool *pool, struct census *c, uint32_t *places,
                      uint64_t now)
{
    const uint64_t most = fleet->config.resident_memory_max, more = estimate(fleet, pool, false);
    const uint32_t lacks = missing(fleet, c, resident_count(pool));
    const bool large = estimate(fleet, pool, true) > most;
    bool moved = true;
    if (is_swap(pool) || (!lacks && c->bytes + more <= most && !large))
        return true;
    if (is_eager(pool)) {
        give_up(fleet, pool, now);
        return false;
    }
    *places += lacks;
    if (lacks ? c->leaving < *places : c->bytes - c->leaving_bytes + more > most)
        moved = !large && unload_one(fleet, c, now);
    if (large || (!moved && c->leaving == 0 && c->starting == 0))
        no_room(fleet, pool, large, now);
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
        c.resident += resident_count(pool);
        c.bytes += estimate(fleet, pool, false);
        c.starting++;
        pool_move(fleet, pool, POOL_STARTING, now);
    }
}
