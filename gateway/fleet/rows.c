/*
 * rows.c: what the admin API shows, copied under the lock whenever something changed. The arrays
 * grow with the fleet and never shrink.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/pool.h"

static void *grown(void *array, uint32_t *room, uint32_t need, size_t size)
{
    if (need <= *room)
        return array;
    *room = need + need / 2 + 16;
    array = realloc(array, *room * size);
    CHECK(array);
    return array;
}

/* Each deployment that a worker serves has a row of its own. */
static void worker_row(struct fleet *fleet, const struct pool *pool, const struct member *m,
                       const struct worker *w)
{
    static const char *const names[] = { "waiting", "starting", "ready", "draining", "ending" };
    fleet->rows = grown(fleet->rows, &fleet->row_room, fleet->row_count + 1, sizeof(*fleet->rows));
    struct fleet_worker *row = &fleet->rows[fleet->row_count++];
    snprintf(row->deployment, sizeof(row->deployment), "%s", m->spec->name);
    snprintf(row->plugin, sizeof(row->plugin), "%s", m->spec->plugin);
    snprintf(row->state, sizeof(row->state), "%s", names[w->state]);
    snprintf(row->sandbox, sizeof(row->sandbox), "%s", w->sandbox);
    snprintf(row->reason, sizeof(row->reason), "%s", w->reason);
    row->sha256[0] = '\0';
    if (w->link)
        hex_encode(w->sha256, sizeof(w->sha256), row->sha256);
    row->version = m->id.number;
    row->models = pool->member_count;
    row->restarts = w->restarts;
    row->memory_bytes = w->memory;
    row->pid = w->link ? w->link->pid : 0;
}

/* A candidate that failed is gone; its row tells why until something takes its place. */
static void failed_row(struct fleet *fleet, const struct service *service)
{
    fleet->rows = grown(fleet->rows, &fleet->row_room, fleet->row_count + 1, sizeof(*fleet->rows));
    struct fleet_worker *row = &fleet->rows[fleet->row_count++];
    *row = (struct fleet_worker){ .version = service->spec->version,
                                  .restarts = service->failure.attempts,
                                  .models = 1,
                                  .state = "waiting" };
    snprintf(row->deployment, sizeof(row->deployment), "%s", service->spec->name);
    snprintf(row->plugin, sizeof(row->plugin), "%s", service->spec->plugin);
    snprintf(row->reason, sizeof(row->reason), "%.191s", service->failure.reason);
}

static const char *state_of(const struct service *service)
{
    if (service->candidate)
        return service->serving ? "swapping" : "loading";
    if (service->failure.attempts)
        return "failed";
    return service->serving ? "serving" : "idle";
}

static void deployment_row(struct fleet *fleet, const struct service *service)
{
    fleet->deployment_rows = grown(fleet->deployment_rows, &fleet->deployment_room,
                                   fleet->deployment_count + 1, sizeof(*fleet->deployment_rows));
    struct fleet_deployment *row = &fleet->deployment_rows[fleet->deployment_count++];
    row->id = service->id;
    row->state = state_of(service);
    row->wanted = service->spec->version;
    const struct member *m = service->serving ? pool_member(service->serving, service) : NULL;
    row->serving = m ? m->id.number : 0;
    row->generation = m ? m->id.generation : 0;
    row->attempts = service->failure.attempts;
    snprintf(row->reason, sizeof(row->reason), "%s", service->failure.reason);
}

static void worker_rows(struct fleet *fleet, const struct pool *pool, const struct worker *w)
{
    for (uint32_t i = 0; i < pool->member_count; i++)
        if (pool->state != POOL_SERVING || pool->members[i].service->serving == pool)
            worker_row(fleet, pool, &pool->members[i], w);
}

static void publish_workers(struct fleet *fleet)
{
    uint32_t ready = 0, wanted = 0, resident = 0;
    fleet->row_count = 0;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next) {
        if (pool->state == POOL_WAITING)
            continue;
        resident += resident_count(pool);
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
            worker_rows(fleet, pool, &pool->workers[i]);
            ready += pool->workers[i].state == WORKER_READY;
            wanted += pool->state != POOL_CLOSING;
        }
    }
    atomic_store(&fleet->ready_workers, ready);
    atomic_store(&fleet->wanted_workers, wanted);
    atomic_store(&fleet->resident, resident);
}

void rows_publish(struct fleet *fleet)
{
    bool settled = true;
    if (!fleet->changed)
        return;
    fleet->changed = false;
    pthread_mutex_lock(&fleet->lock);
    publish_workers(fleet);
    fleet->deployment_count = 0;
    for (struct service *service = fleet->services; service; service = service->next) {
        if (!service->wanted)
            continue;
        deployment_row(fleet, service);
        if (service->failure.attempts && !service->candidate)
            failed_row(fleet, service);
        settled &= !service->asked || service->serving || service->failure.attempts;
    }
    settled &= !fleet->wish;
    pthread_mutex_unlock(&fleet->lock);
    if (settled)
        atomic_store(&fleet->ready, true);
}

uint32_t fleet_workers(struct fleet *fleet, struct fleet_worker *out, uint32_t max)
{
    pthread_mutex_lock(&fleet->lock);
    uint32_t n = fleet->row_count;
    if (n)
        memcpy(out, fleet->rows, (n < max ? n : max) * sizeof(*out));
    pthread_mutex_unlock(&fleet->lock);
    return n;
}

uint32_t fleet_deployments(struct fleet *fleet, struct fleet_deployment *out, uint32_t max)
{
    pthread_mutex_lock(&fleet->lock);
    uint32_t n = fleet->deployment_count;
    if (n)
        memcpy(out, fleet->deployment_rows, (n < max ? n : max) * sizeof(*out));
    pthread_mutex_unlock(&fleet->lock);
    return n;
}
