/*
 * service.c: what should serve each deployment, and what became of it.
 *
 * A swap is a candidate beside the pool that serves: another version, or new workers of the same
 * one. When it is ready it takes the place of the other, in one message to each loop; when it
 * fails, in whatever way, it is closed and nothing else happens: the failure is kept for the
 * operators, and the next attempt waits for a reason (another wish, another plugin file, an
 * operator's word; or the cause is one that passes, a database that is away) and for its backoff. A
 * deployment that nothing serves is tried again by itself, since there is nothing to lose.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fleet/pool.h"

void file_stamp(const struct fleet *fleet, const char *plugin, struct file_stamp *out)
{
    char path[1024];
    struct stat st;
    *out = (struct file_stamp){ 0 };
    snprintf(path, sizeof(path), "%s/%s.so", fleet->config.plugins_dir, plugin);
    if (stat(path, &st) == 0)
        *out = (struct file_stamp){ .device = st.st_dev,
                                    .inode = st.st_ino,
                                    .size = (uint64_t)st.st_size,
                                    .changed_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 +
                                                  (uint64_t)st.st_mtim.tv_nsec };
}

/* ---- the table */

static struct service **bucket_of(struct fleet *fleet, const struct uuid *id)
{
    return &fleet->buckets[hash_bytes(id, sizeof(*id)) & (BUCKETS - 1)];
}

static struct service *service_find(struct fleet *fleet, const struct uuid *id)
{
    struct service *service = *bucket_of(fleet, id);
    while (service && !uuid_eq(&service->id, id))
        service = service->next_in_bucket;
    return service;
}

static struct service *service_new(struct fleet *fleet, const struct uuid *id)
{
    struct service *service = calloc(1, sizeof(*service)), **bucket = bucket_of(fleet, id);
    CHECK(service);
    service->id = *id;
    service->next_in_bucket = *bucket;
    *bucket = service;
    *(fleet->services ? fleet->services_end : &fleet->services) = service;
    fleet->services_end = &service->next;
    fleet->service_count++;
    return service;
}

static void service_free(struct fleet *fleet, struct service *service)
{
    struct service **at = &fleet->services, **in_bucket = bucket_of(fleet, &service->id);
    while (*at != service)
        at = &(*at)->next;
    *at = service->next;
    if (fleet->services_end == &service->next)
        fleet->services_end = at;
    while (*in_bucket != service)
        in_bucket = &(*in_bucket)->next_in_bucket;
    *in_bucket = service->next_in_bucket;
    fleet->service_count--;
    snapshot_unref(service->snapshot);
    free(service);
}

void services_free(struct fleet *fleet)
{
    while (fleet->services)
        service_free(fleet, fleet->services);
}

/* ---- outcomes */

static void failure_clear(struct service *service)
{
    memset(&service->failure, 0, sizeof(service->failure));
}

static void refuse(struct fleet *fleet, const struct uuid *deployment)
{
    fleet_tell(fleet, ROUTE_REFUSE, &(struct pool_id){ .deployment = *deployment }, NULL);
}

void service_switch(struct fleet *fleet, struct pool *candidate, struct member *member,
                    uint64_t now)
{
    struct service *service = member->service;
    struct pool *old = service->serving;
    CHECK(service->candidate == candidate && candidate->state == POOL_SERVING);
    service->serving = candidate;
    service->candidate = NULL;
    failure_clear(service);
    fleet_tell(fleet, ROUTE_SWITCH, &member->id, NULL);
    if (!old)
        return;
    atomic_fetch_add(&fleet->swaps, 1);
    LOG(LOG_INFO, "deployment.switched", F_STR("model", service->spec->name),
        F_UINT("from", pool_member(old, service)->id.number), F_UINT("to", member->id.number),
        F_UINT("generation", member->id.generation));
    pool_leave(fleet, old, now);
}

static uint32_t serving_number(const struct service *service)
{
    return service->serving ? pool_member(service->serving, service)->id.number : 0;
}

static void note_failure(struct fleet *fleet, const struct pool *pool, const struct member *member,
                         const struct failure *failure, uint64_t now)
{
    struct service *service = member->service;
    uint32_t doublings = service->failure.attempts < 5 ? service->failure.attempts : 5;
    uint64_t wait_ms = (uint64_t)1000 << doublings;
    service->failure.attempts++;
    service->failure.passing = failure->passing;
    service->failure.denied = failure->denied;
    service->failure.file = pool->file;
    service->failure.retry_ns =
        now + (wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS) * 1000000;
    snprintf(service->failure.reason, sizeof(service->failure.reason), "%s", failure->reason);
    atomic_fetch_add(&fleet->swap_failures, service->serving != NULL);
    LOG(LOG_ERROR, "deployment.failed", F_STR("model", service->spec->name),
        F_UINT("version", member->id.number), F_UINT("attempts", service->failure.attempts),
        F_UINT("still_serves", serving_number(service)), F_STR("reason", failure->reason));
    if (service->serving)
        return;
    if (wait_ms > BACKOFF_MAX_MS)
        service->asked = service->spec->pinned; /* the next request asks anew */
    refuse(fleet, &service->id);
}

/* Whom the candidate was made for; who only came along from a group that serves has lost nothing.
 */
static bool was_for(const struct pool *candidate, uint32_t i)
{
    const struct member *m = &candidate->members[i];
    struct service *service = m->service;
    return i == 0 || !service->serving ||
           !uuid_eq(&pool_member(service->serving, service)->id.version, &m->id.version);
}

void candidate_fail(struct fleet *fleet, struct pool *candidate, const struct failure *failure,
                    uint64_t now)
{
    uint32_t blamed = failure->blamed;
    pool_close(fleet, candidate, now);
    for (uint32_t i = 0; i < candidate->member_count; i++)
        if (blamed == NOBODY ? was_for(candidate, i) : blamed == i)
            note_failure(fleet, candidate, &candidate->members[i], failure, now);
    if (blamed != NOBODY && candidate->member_count > 1)
        candidate->members[blamed].service->apart = APART_FAULT;
}

/* ---- what is wanted */

static void service_want(struct service *service, struct snapshot *snapshot,
                         const struct deployment *d)
{
    struct snapshot *old = service->snapshot;
    if (old && !uuid_eq(&service->spec->version_id, &d->version_id)) {
        failure_clear(service); /* of a version that nobody wants any more */
        service->apart = APART_NO;
    }
    if (service->failure.denied) {
        service->failure.passing = true;
        service->failure.retry_ns = 0;
    }
    service->snapshot = snapshot_ref(snapshot);
    service->spec = d;
    service->wanted = true;
    service->asked = service->asked || d->pinned;
    service->eager = service->eager && !d->pinned;
    snapshot_unref(old);
}

/* NULL when there are too many. A new one is loaded at once while there is room for it. */
static struct service *service_need(struct fleet *fleet, const struct deployment *d, uint32_t *room)
{
    struct service *service = service_find(fleet, &d->id);
    if (service || fleet->service_count == SERVICES_MAX)
        return service;
    service = service_new(fleet, &d->id);
    service->asked = service->eager = d->pinned || *room > 0;
    *room -= *room > 0;
    return service;
}

static void adopt_those(struct fleet *fleet, struct snapshot *wish, bool pinned, uint32_t *room)
{
    for (uint32_t i = 0; i < wish->count; i++) {
        const struct deployment *d = &wish->deployments[i];
        if (d->pinned != pinned)
            continue;
        struct service *service = service_need(fleet, d, room);
        if (service)
            service_want(service, wish, d);
        else
            LOG(LOG_ERROR, "fleet.full", F_STR("model", d->name), F_UINT("most", SERVICES_MAX));
    }
}

void services_adopt(struct fleet *fleet, struct snapshot *wish)
{
    uint32_t room = resident_room(fleet);
    for (struct service *service = fleet->services; service; service = service->next)
        service->wanted = false;
    adopt_those(fleet, wish, true, &room); /* they are loaded first */
    adopt_those(fleet, wish, false, &room);
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        pool_try_again(pool);
    snapshot_unref(fleet->allowed);
    fleet->allowed = wish;
    fleet->changed = true;
}

static void service_heed(struct fleet *fleet, const struct ask *ask, uint64_t now)
{
    struct service *service = service_find(fleet, &ask->deployment);
    if (!service || !service->wanted) {
        refuse(fleet, &ask->deployment);
        return;
    }
    service->eager = false;
    if (ask->restart) {
        bool fresh = service->candidate && service->candidate->state == POOL_WAITING;
        service->again = !fresh;
        service->asked = true;
        service->apart = APART_NO;
        service->failure.retry_ns = now;
        return;
    }
    if (service->serving || service->candidate)
        return; /* the answer is under way */
    if (service->failure.attempts && now < service->failure.retry_ns)
        refuse(fleet, &service->id);
    else
        service->asked = true;
}

void services_heed(struct fleet *fleet, struct ask *asks, uint64_t now)
{
    while (asks) {
        struct ask *ask = asks;
        asks = ask->next;
        service_heed(fleet, ask, now);
        free(ask);
    }
}

/* ---- steps */

static bool service_is_behind(const struct service *service)
{
    if (!service->serving)
        return service->asked;
    return service->again || service->failure.attempts ||
           !uuid_eq(&pool_member(service->serving, service)->id.version,
                    &service->spec->version_id);
}

static bool service_may_try(const struct fleet *fleet, const struct service *service, uint64_t now)
{
    struct file_stamp file;
    if (service->failure.attempts == 0)
        return true;
    if (now < service->failure.retry_ns)
        return false;
    if (!service->serving || service->again || service->failure.passing)
        return true;
    file_stamp(fleet, service->spec->plugin, &file);
    return memcmp(&file, &service->failure.file, sizeof(file)) != 0;
}

static bool candidate_is_wanted(const struct service *service)
{
    return service->wanted && uuid_eq(&pool_member(service->candidate, service)->id.version,
                                      &service->spec->version_id);
}

/* The deployment is gone. A group goes on for its others. */
static void service_end(struct fleet *fleet, struct service *service, uint64_t now)
{
    struct pool *pool = service->serving;
    if (!pool)
        return;
    service->serving = NULL;
    service->asked = false;
    fleet_tell(fleet, ROUTE_AWAY, &pool_member(pool, service)->id, NULL);
    pool_leave(fleet, pool, now);
}

/* True when nothing is left of it. */
static bool service_step(struct fleet *fleet, struct service *service, uint64_t now)
{
    bool had_candidate = service->candidate;
    if (had_candidate && !candidate_is_wanted(service))
        pool_close(fleet, service->candidate, now);
    if (!service->wanted) {
        service_end(fleet, service, now);
        if (had_candidate)
            refuse(fleet, &service->id);
        return service->pools == 0;
    }
    if (!service->candidate && service_is_behind(service) && service_may_try(fleet, service, now))
        group_form(fleet, service, now);
    return false;
}

void services_step(struct fleet *fleet, uint64_t now)
{
    for (struct service *service = fleet->services, *next; service; service = next) {
        next = service->next;
        if (service_step(fleet, service, now))
            service_free(fleet, service);
    }
}
