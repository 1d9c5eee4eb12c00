/*
 * control_thread.h: the control thread's decisions, alone: which pools there are, when one takes
 * over from another and what loops are told. Time is an argument; a worker is a pipe for its first
 * word and a pid that no process has. What asks a database, makes a process or posts to loops is
 * answered here. Included by one file of a program.
 */
#ifndef MAAS_TESTS_CONTROL_THREAD_H
#define MAAS_TESTS_CONTROL_THREAD_H

#include "fleet/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "fleet/artifact.h"
#include "fleet/memory.h"
#include "fleet/plugin_file.h"
#include "fleet/worker_proc.h"
#include "registry/registry_private.h"

#define NO_PID    5000000 /* above the kernel's highest */
#define SECOND    UINT64_C(1000000000)
#define SPAWN_MAX 256
#define SIGNAL(n) (n) /* a wait status */

static struct fleet fleet;
static uint64_t now;
static int words[SPAWN_MAX]; /* the workers' ends of their ready pipes */
static uint32_t spawned, told[ROUTE_GONE + 1];
static uint32_t switched_to; /* generation of the last ROUTE_SWITCH */
static maas_status artifact_status;
static uint32_t allows;         /* 1: the plugin's file may be loaded */
static uint32_t pins;           /* deployments from the last on that are pinned */
static uint32_t owners;         /* tenants that own the deployments in turn; 0: the platform */
static uint64_t artifact_bytes; /* of each */
static uint32_t news;           /* the n-th deployment has a version of its own; UINT32_MAX: none */
static uint32_t models[SPAWN_MAX]; /* of the n-th process */
static uint64_t memory[SPAWN_MAX]; /* of the n-th process; 0: MODEL_BYTES */

/* ---- instead of fleet.c, artifact.c and worker_proc.c */

void fleet_tell(struct fleet *of, enum lane_event event, const struct pool_id *pool,
                struct link *link)
{
    (void)of;
    (void)link;
    told[event]++;
    if (event == ROUTE_SWITCH)
        switched_to = pool->generation;
}

void link_unref(struct link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) == 1) {
        channel_free(link->channel);
        free(link);
    }
}

maas_status artifact_fetch(struct sql *sql, const char *cache_dir, const uint8_t sha256[32],
                           char *out_path, size_t out_size, maas_error *error)
{
    (void)sql;
    (void)cache_dir;
    (void)sha256;
    out_path[0] = '\0';
    assert_true(out_size > 0);
    (void)error;
    return artifact_status;
}

maas_status plugin_file_find(const char *plugins_dir, const struct snapshot *allowed,
                             const char *id, char *out_path, size_t out_size,
                             uint8_t out_sha256[32], maas_error *error)
{
    (void)plugins_dir;
    (void)allowed;
    (void)id;
    (void)error;
    assert_true(out_size > 0);
    out_path[0] = '\0';
    memset(out_sha256, 7, 32);
    return MAAS_OK;
}

maas_status worker_spawn(const struct worker_spec *spec, const struct channel *channel,
                         int *out_pid, int *out_ready_fd, maas_error *error)
{
    int fds[2];
    (void)channel;
    (void)error;
    assert_true(spawned < SPAWN_MAX && pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    words[spawned] = fds[1];
    models[spawned] = spec->models;
    *out_ready_fd = fds[0];
    *out_pid = NO_PID + (int)spawned++;
    return MAAS_OK;
}

#define MIB         (UINT64_C(1) << 20)
#define MODEL_BYTES (10 * MIB)

uint64_t memory_of(int pid)
{
    assert_in_range(pid, NO_PID, NO_PID + SPAWN_MAX - 1);
    uint64_t bytes = memory[pid - NO_PID];
    return bytes ? bytes : MODEL_BYTES;
}

/* ---- the world */

static inline struct uuid id_of(uint32_t number)
{
    struct uuid id = { { 1 } };
    memcpy(id.bytes + 8, &number, sizeof(number));
    return id;
}

/* `count` deployments, all of this version. */
static inline void wish(uint32_t count, uint32_t version)
{
    struct deployment *all = calloc(count + 1, sizeof(*all));
    assert_non_null(all);
    for (uint32_t i = 0; i < count; i++) {
        all[i].id = id_of(i);
        all[i].version = version + (i == news);
        all[i].version_id = id_of(1000 + all[i].version);
        all[i].artifact_bytes = artifact_bytes;
        if (owners)
            all[i].owner = id_of(5000 + i % owners);
        all[i].pinned = i >= count - pins;
        all[i].options_json = strdup("{}");
        snprintf(all[i].name, sizeof(all[i].name), "m%u", i);
        snprintf(all[i].plugin, sizeof(all[i].plugin), "plugin");
    }
    struct snapshot *snapshot = snapshot_new(all, count, 1);
    snapshot->plugins = calloc(1, sizeof(*snapshot->plugins));
    assert_non_null(snapshot->plugins);
    snprintf(snapshot->plugins->id, sizeof(snapshot->plugins->id), "plugin");
    memset(snapshot->plugins->sha256, 7, 32);
    snapshot->plugin_count = allows;
    services_adopt(&fleet, snapshot);
}

static inline struct service *service(uint32_t number)
{
    struct uuid id = id_of(number);
    for (struct service *s = fleet.services; s; s = s->next)
        if (uuid_eq(&s->id, &id))
            return s;
    return NULL;
}

static inline void turn(void)
{
    for (int i = 0; i < 4; i++) { /* while anything changes, the thread does not sleep */
        services_step(&fleet, now);
        resident_step(&fleet, now);
        pools_step(&fleet, now);
    }
}

static inline void say(struct pool *pool, uint32_t worker, const char *word)
{
    struct worker *w = &pool->workers[worker];
    assert_int_equal(w->state, WORKER_STARTING);
    int end = words[w->link->pid - NO_PID];
    assert_int_equal(write(end, word, strlen(word)), (ssize_t)strlen(word));
    worker_hear(&fleet, pool, w, now);
    turn();
}

static inline void dies(struct pool *pool, uint32_t worker)
{
    worker_gone(&fleet, pool, &pool->workers[worker], SIGNAL(SIGABRT), now);
    turn();
}

static inline void ask(uint32_t number, bool restart)
{
    struct ask *one = calloc(1, sizeof(*one));
    assert_non_null(one);
    one->deployment = id_of(number);
    one->restart = restart;
    services_heed(&fleet, one, now);
    turn();
}

/* All that are killed end, all that are told to close have drained. */
static inline void settle(void)
{
    turn();
    for (struct pool *pool = fleet.pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet.config.workers_per_model; i++)
            if (pool->workers[i].state == WORKER_CLOSING)
                atomic_store(&pool->workers[i].link->drained, fleet.config.loops);
    turn();
    for (struct pool *pool = fleet.pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet.config.workers_per_model; i++)
            if (pool->workers[i].state == WORKER_DYING)
                worker_gone(&fleet, pool, &pool->workers[i], SIGNAL(SIGKILL), now);
    turn();
}

static inline uint32_t count_pools(enum pool_state state)
{
    uint32_t n = 0;
    for (struct pool *pool = fleet.pools; pool; pool = pool->next)
        n += pool->state == state;
    return n;
}

/* ---- setup */

static inline int start(void **state)
{
    (void)state;
    memset(&fleet, 0, sizeof(fleet));
    fleet.config = (struct fleet_config){ .plugins_dir = "/nowhere",
                                          .cache_dir = "/nowhere",
                                          .loops = 1,
                                          .workers_per_model = 1,
                                          .ring_bytes = 65536,
                                          .start_ms = 5000,
                                          .starts_max = 4,
                                          .resident_memory_max = UINT64_MAX };
    memset(told, 0, sizeof(told));
    memset(memory, 0, sizeof(memory));
    pins = owners = 0;
    artifact_bytes = 0;
    news = UINT32_MAX;
    memset(models, 0, sizeof(models));
    spawned = switched_to = 0;
    artifact_status = MAAS_OK;
    allows = 1;
    now = 1000 * SECOND;
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    for (struct pool *pool = fleet.pools; pool; pool = pool->next) /* no process is behind a pid */
        for (uint32_t i = 0; i < WORKERS_MAX; i++)
            if (pool->workers[i].link)
                worker_gone(&fleet, pool, &pool->workers[i], SIGNAL(SIGKILL), now);
    while (fleet.pools)
        pool_free(&fleet, fleet.pools);
    services_free(&fleet);
    snapshot_unref(fleet.allowed);
    for (uint32_t i = 0; i < spawned; i++)
        close(words[i]);
    return 0;
}

static inline struct pool *serving(uint32_t number)
{
    return service(number)->serving;
}

static inline void serve(uint32_t number)
{
    for (uint32_t i = 0; i < fleet.config.workers_per_model; i++)
        say(service(number)->candidate ? service(number)->candidate : serving(number), i,
            "ready sandbox=none\n");
    assert_non_null(serving(number));
}

#endif
