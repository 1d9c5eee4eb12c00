/*
 * group.c: who shares a worker. Small models of one tenant and one plugin may, when the operator
 * allows it (`group_max` over 1): a process costs more than such a model. Never two tenants'
 * models, and never the platform's, whose requests are many tenants': a crash takes the requests of
 * all that share the process with it, and these are then one tenant's, of one plugin it chose.
 *
 * A worker loads nothing after its start, so a group grows by a candidate: the new member together
 * with those that groups of its like serve already, as far as `group_max` goes. It starts, tests
 * itself and takes over like any other; each member's route is switched to it, and the pools that
 * have lost all their members are closed. A group shrinks the same way, when it is next formed.
 *
 * Whose turn it was when a candidate failed is known (worker.c): that member is apart from then on,
 * the others form their group without it. A group whose worker dies again and again is split: which
 * member it is is not known, so each gets a worker of its own, the deaths go on in one of them, and
 * the others are rid of it.
 *
 * Rejected: loading into a running worker (it would have to open files, so it could not be sealed),
 * and a thread a model (a plugin is promised that it is called by one at a time).
 */
#include <string.h>

#include "base/log.h"
#include "fleet/pool.h"

static bool may_share(const struct fleet *fleet, const struct service *service)
{
    static const struct uuid platform;
    return fleet->config.group_max > 1 && fleet->config.workers_per_model == 1 && !service->apart &&
           !uuid_eq(&service->spec->owner, &platform) &&
           service->spec->artifact_bytes <= fleet->config.group_artifact_max;
}

/* Pinned ones share with pinned ones: the others shall be unloaded some day. */
static bool alike(const struct service *a, const struct service *b)
{
    return uuid_eq(&a->spec->owner, &b->spec->owner) && a->spec->pinned == b->spec->pinned &&
           strcmp(a->spec->plugin, b->spec->plugin) == 0;
}

/* ---- candidates that have not started */

static bool takes(const struct fleet *fleet, const struct pool *pool, const struct service *service)
{
    const struct service *first = pool->members[0].service;
    return pool->state == POOL_WAITING && pool->member_count < fleet->config.group_max &&
           may_share(fleet, first) && alike(first, service) &&
           resident_fits(fleet, pool, NULL, service);
}

static struct pool *find_waiting(const struct fleet *fleet, const struct service *service)
{
    struct pool *pool = fleet->pools;
    while (pool && !takes(fleet, pool, service))
        pool = pool->next;
    return pool;
}

/* ---- pools that serve */

/* Nothing is under way with it, and nothing has failed. */
static bool may_move(const struct fleet *fleet, const struct service *mate,
                     const struct service *service)
{
    return mate->wanted && !mate->candidate && !mate->failure.attempts && may_share(fleet, mate) &&
           alike(mate, service);
}

/* All that `from` serves, or nothing of it: what stayed behind would keep its worker. */
static bool may_absorb(const struct fleet *fleet, const struct pool *pool, const struct pool *from,
                       const struct service *service)
{
    uint32_t count = pool->member_count;
    if (from->state != POOL_SERVING)
        return false;
    for (uint32_t i = 0; i < from->member_count; i++) {
        const struct service *mate = from->members[i].service;
        if (mate == service || mate->serving != from)
            continue;
        if (!may_move(fleet, mate, service))
            return false;
        count++;
    }
    return count > pool->member_count && count <= fleet->config.group_max &&
           resident_fits(fleet, pool, from, NULL);
}

static void absorb(struct fleet *fleet, struct pool *pool, struct pool *from)
{
    for (uint32_t i = 0; i < from->member_count; i++) {
        struct service *mate = from->members[i].service;
        if (mate->serving == from && !mate->candidate)
            pool_add(fleet, pool, mate);
    }
}

struct pool *group_form(struct fleet *fleet, struct service *service, uint64_t now)
{
    bool shares = may_share(fleet, service);
    struct pool *pool = shares ? find_waiting(fleet, service) : NULL;
    if (pool) {
        pool_add(fleet, pool, service);
        return pool;
    }
    pool = pool_new(fleet, service, now);
    for (struct pool *from = fleet->pools; shares && from; from = from->next)
        if (may_absorb(fleet, pool, from, service))
            absorb(fleet, pool, from);
    return pool;
}

/* ---- ends */

void group_split(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < pool->member_count; i++) {
        struct service *service = pool->members[i].service;
        if (service->serving != pool || service->apart)
            continue;
        if (service->candidate)
            pool_close(fleet, service->candidate, now);
        service->apart = APART_FAULT;
        service->again = true;
        moved++;
    }
    if (!moved)
        return;
    atomic_fetch_add(&fleet->splits, 1);
    LOG(LOG_WARN, "group.split", F_STR("plugin", pool->members[0].spec->plugin),
        F_UINT("models", moved));
}

void group_dissolve(struct fleet *fleet, struct pool *candidate, uint64_t now)
{
    for (uint32_t i = 0; i < candidate->member_count; i++)
        if (!candidate->members[i].service->serving)
            candidate->members[i].service->apart = APART_ROOM;
    pool_close(fleet, candidate, now);
}
