/*
 * The control thread's decisions, alone: which pools there are, when one takes over from another
 * and what loops are told. Time is an argument; a worker is a pipe for its first word and a pid
 * that no process has. What asks a database, makes a process or posts to loops is answered here.
 */
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
static uint32_t allows;            /* 1: the plugin's file may be loaded */
static uint32_t pins;              /* deployments from the last on that are pinned */
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
    (void)spec;
    (void)channel;
    (void)error;
    assert_true(spawned < SPAWN_MAX && pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    words[spawned] = fds[1];
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

static struct uuid id_of(uint32_t number)
{
    struct uuid id = { { 1 } };
    memcpy(id.bytes + 8, &number, sizeof(number));
    return id;
}

/* `count` deployments, all of this version. */
static void wish(uint32_t count, uint32_t version)
{
    struct deployment *all = calloc(count + 1, sizeof(*all));
    assert_non_null(all);
    for (uint32_t i = 0; i < count; i++) {
        all[i].id = id_of(i);
        all[i].version_id = id_of(1000 + version);
        all[i].version = version;
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

static struct service *service(uint32_t number)
{
    struct uuid id = id_of(number);
    for (struct service *s = fleet.services; s; s = s->next)
        if (uuid_eq(&s->id, &id))
            return s;
    return NULL;
}

static void turn(void)
{
    for (int i = 0; i < 4; i++) { /* while anything changes, the thread does not sleep */
        services_step(&fleet, now);
        resident_step(&fleet, now);
        pools_step(&fleet, now);
    }
}

static void say(struct pool *pool, uint32_t worker, const char *word)
{
    struct worker *w = &pool->workers[worker];
    assert_int_equal(w->state, WORKER_STARTING);
    int end = words[w->link->pid - NO_PID];
    assert_int_equal(write(end, word, strlen(word)), (ssize_t)strlen(word));
    worker_hear(&fleet, pool, w, now);
    turn();
}

static void dies(struct pool *pool, uint32_t worker)
{
    worker_gone(&fleet, pool, &pool->workers[worker], SIGNAL(SIGABRT), now);
    turn();
}

static void ask(uint32_t number, bool restart)
{
    struct ask *one = calloc(1, sizeof(*one));
    assert_non_null(one);
    one->deployment = id_of(number);
    one->restart = restart;
    services_heed(&fleet, one, now);
    turn();
}

/* All that are killed end, all that are told to close have drained. */
static void settle(void)
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

static uint32_t count_pools(enum pool_state state)
{
    uint32_t n = 0;
    for (struct pool *pool = fleet.pools; pool; pool = pool->next)
        n += pool->state == state;
    return n;
}

/* ---- setup */

static int start(void **state)
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
    pins = 0;
    spawned = switched_to = 0;
    artifact_status = MAAS_OK;
    allows = 1;
    now = 1000 * SECOND;
    return 0;
}

static int stop(void **state)
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

static struct pool *serving(uint32_t number)
{
    return service(number)->serving;
}

static void serve(uint32_t number)
{
    for (uint32_t i = 0; i < fleet.config.workers_per_model; i++)
        say(service(number)->candidate ? service(number)->candidate : serving(number), i,
            "ready sandbox=none\n");
    assert_non_null(serving(number));
}

/* ---- swaps */

static void a_new_version_is_switched_to_when_all_its_workers_are_ready(void **state)
{
    (void)state;
    fleet.config.workers_per_model = 2;
    wish(1, 1);
    turn();
    serve(0);
    struct pool *old = serving(0);
    wish(1, 2);
    turn();
    struct pool *new = service(0)->candidate;
    say(new, 0, "ready sandbox=none\n");
    assert_ptr_equal(serving(0), old);
    say(new, 1, "ready sandbox=none\n");
    assert_ptr_equal(serving(0), new);
    assert_int_equal(switched_to, new->id.generation);
    assert_int_equal(old->state, POOL_CLOSING);
    assert_int_equal(told[ROUTE_AWAY], 0);
    settle();
    assert_int_equal(count_pools(POOL_CLOSING), 0);
}

static void assert_still_serves_one(uint32_t attempts)
{
    assert_int_equal(serving(0)->id.number, 1);
    assert_null(service(0)->candidate);
    assert_int_equal(service(0)->failure.attempts, attempts);
    assert_int_equal(told[ROUTE_SWITCH], 1);
    assert_int_equal(told[ROUTE_REFUSE] + told[ROUTE_DOWN] + told[ROUTE_AWAY], 0);
}

static void a_version_that_fails_changes_nothing_until_something_changed(void **state)
{
    (void)state;
    wish(1, 1);
    turn();
    serve(0);
    wish(1, 2);
    turn();
    say(service(0)->candidate, 0, "failed it is no good\n");
    assert_string_equal(service(0)->failure.reason, "it is no good");
    settle();
    assert_still_serves_one(1);
    now += 3600 * SECOND;
    wish(1, 2);
    turn();
    assert_still_serves_one(1);
    ask(0, true);
    dies(service(0)->candidate, 0);
    assert_non_null(strstr(service(0)->failure.reason, "signal 6"));
    assert_still_serves_one(2);
    wish(1, 3);
    turn();
    now += 6 * SECOND; /* more than start_ms */
    turn();
    assert_still_serves_one(1);
    settle();
    wish(1, 1);
    turn();
    assert_still_serves_one(0);
}

static void a_cause_that_passes_is_tried_again_by_itself_with_backoff(void **state)
{
    (void)state;
    wish(1, 1);
    turn();
    serve(0);
    artifact_status = MAAS_E_UNAVAILABLE;
    wish(1, 2);
    turn();
    assert_still_serves_one(1);
    now += SECOND / 2;
    turn();
    assert_still_serves_one(1);
    now += SECOND / 2;
    turn();
    assert_still_serves_one(2);
    artifact_status = MAAS_OK;
    now += 2 * SECOND;
    turn();
    serve(0);
    assert_int_equal(serving(0)->id.number, 2);
}

static void a_candidate_that_nobody_wants_any_more_is_ended(void **state)
{
    (void)state;
    wish(1, 1);
    turn();
    serve(0);
    wish(1, 2);
    turn();
    assert_int_equal(count_pools(POOL_STARTING), 1);
    wish(1, 1);
    settle();
    assert_int_equal(count_pools(POOL_STARTING) + count_pools(POOL_CLOSING), 0);
    assert_still_serves_one(0);
}

static void a_restart_makes_new_workers_of_the_same_version(void **state)
{
    (void)state;
    wish(1, 1);
    turn();
    serve(0);
    struct pool *old = serving(0);
    ask(0, true);
    serve(0);
    assert_ptr_not_equal(serving(0), old);
    assert_int_equal(serving(0)->id.number, 1);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 1);
    assert_null(service(0)->candidate);
}

/* ---- deaths */

static void the_third_death_of_one_worker_is_no_matter_while_its_sibling_lives(void **state)
{
    (void)state;
    fleet.config.workers_per_model = 2;
    wish(1, 1);
    turn();
    serve(0);
    for (int i = 0; i < 3; i++) {
        dies(serving(0), 0);
        if (i < 2)
            say(serving(0), 0, "ready sandbox=none\n");
    }
    assert_int_equal(serving(0)->workers[0].state, WORKER_NONE); /* waits */
    assert_int_equal(told[ROUTE_DOWN], 0);
    for (int i = 0; i < 3; i++) {
        dies(serving(0), 1);
        if (i < 2)
            say(serving(0), 1, "ready sandbox=none\n");
    }
    assert_int_equal(told[ROUTE_DOWN], 1);
    now += SECOND;
    turn();
    assert_int_equal(serving(0)->workers[0].state, WORKER_STARTING);
}

static void what_nothing_serves_is_refused_and_tried_again_by_itself(void **state)
{
    (void)state;
    wish(1, 1);
    turn();
    say(service(0)->candidate, 0, "failed it is no good\n");
    assert_int_equal(told[ROUTE_REFUSE], 1);
    ask(0, false);
    assert_int_equal(told[ROUTE_REFUSE], 2); /* at once, within the backoff */
    now += SECOND;
    turn();
    assert_non_null(service(0)->candidate);
    serve(0);
}

/* ---- residents */

static void no_more_start_at_a_time_than_may(void **state)
{
    (void)state;
    wish(20, 1);
    turn();
    assert_int_equal(count_pools(POOL_STARTING), 4);
    assert_int_equal(count_pools(POOL_WAITING), 16);
    for (uint32_t i = 0; i < 20; i++)
        serve(i);
    assert_int_equal(count_pools(POOL_SERVING), 20);
}

static void the_least_recently_used_makes_room(void **state)
{
    (void)state;
    fleet.config.resident_max = 3;
    wish(10, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++) {
        now += SECOND;
        serve(i);
    }
    assert_int_equal(count_pools(POOL_SERVING), 3);
    assert_int_equal(count_pools(POOL_WAITING), 0); /* the others are loaded when asked for */
    now += SECOND;
    atomic_store(&serving(0)->workers[0].link->used_ns, now);
    ask(7, false);
    assert_null(serving(1)); /* 0 is older, but was used since */
    assert_int_equal(told[ROUTE_AWAY], 1);
    assert_int_equal(count_pools(POOL_STARTING), 0); /* not before the other is gone */
    settle();
    serve(7);
    assert_non_null(serving(0));
    assert_non_null(serving(2));
    assert_int_equal(count_pools(POOL_SERVING), 3);
}

static void what_is_pinned_is_loaded_first_and_stays(void **state)
{
    (void)state;
    fleet.config.resident_max = 3;
    pins = 1; /* the last of the list */
    wish(10, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++)
        serve(i == 2 ? 9 : i);
    assert_non_null(serving(9));
    now += SECOND;
    for (uint32_t i = 2; i < 9; i++) { /* the pinned one is never used */
        ask(i, false);
        settle();
        serve(i);
        now += SECOND;
        assert_non_null(serving(9));
        assert_int_equal(count_pools(POOL_SERVING), 3);
    }
}

static void where_all_is_pinned_the_others_are_refused(void **state)
{
    (void)state;
    fleet.config.resident_max = 2;
    pins = 2;
    wish(4, 1);
    turn();
    serve(2);
    serve(3);
    ask(0, false);
    turn();
    assert_int_equal(told[ROUTE_REFUSE], 1);
    assert_non_null(strstr(service(0)->failure.reason, "pinned"));
    assert_int_equal(count_pools(POOL_SERVING), 2);
}

static void memory_is_a_bound_as_well(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 32 * MIB - 1; /* three of them */
    wish(3, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++) {
        serve(i);
        now += SECOND;
    }
    wish(5, 1);
    turn();
    assert_non_null(serving(0));
    ask(3, false);
    assert_null(serving(0)); /* the oldest went for it */
    assert_int_equal(count_pools(POOL_STARTING), 0);
    settle();
    serve(3);
    assert_int_equal(count_pools(POOL_SERVING), 3);
}

static void what_grows_is_unloaded_by_least_use(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 100 * MIB;
    wish(3, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++) {
        now += SECOND;
        serve(i);
    }
    memory[2] = 85 * MIB; /* of the newest */
    now += 3 * SECOND;
    turn();
    assert_null(serving(0));
    assert_non_null(serving(1)); /* 95 MiB are left */
    assert_non_null(serving(2));
    assert_int_equal(atomic_load(&fleet.evictions), 1);
}

static void what_is_larger_than_all_memory_is_refused_the_next_time(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 100 * MIB;
    wish(1, 1);
    turn();
    serve(0);
    memory[0] = 200 * MIB;
    now += 3 * SECOND;
    turn();
    assert_null(serving(0));
    settle();
    ask(0, false);
    turn();
    assert_int_equal(told[ROUTE_REFUSE], 1);
    assert_non_null(strstr(service(0)->failure.reason, "workers.resident_memory_max"));
    wish(1, 2); /* another version may be smaller */
    now += 60 * SECOND;
    ask(0, false);
    turn();
    assert_int_equal(count_pools(POOL_STARTING), 1);
}

static void a_swap_unloads_nobody(void **state)
{
    (void)state;
    fleet.config.resident_max = 2;
    wish(2, 1);
    turn();
    serve(0);
    serve(1);
    ask(0, true);
    serve(0);
    settle();
    assert_int_equal(told[ROUTE_AWAY], 0);
    assert_int_equal(count_pools(POOL_SERVING), 2);
}

static void a_deployment_that_is_gone_ends_its_pool(void **state)
{
    (void)state;
    wish(2, 1);
    turn();
    serve(0);
    serve(1);
    wish(1, 1);
    settle();
    assert_null(service(1));
    assert_int_equal(told[ROUTE_GONE], 1);
    ask(1, false);
    assert_int_equal(told[ROUTE_REFUSE], 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_new_version_is_switched_to_when_all_its_workers_are_ready),
        CASE(a_version_that_fails_changes_nothing_until_something_changed),
        CASE(a_cause_that_passes_is_tried_again_by_itself_with_backoff),
        CASE(a_candidate_that_nobody_wants_any_more_is_ended),
        CASE(a_restart_makes_new_workers_of_the_same_version),
        CASE(the_third_death_of_one_worker_is_no_matter_while_its_sibling_lives),
        CASE(what_nothing_serves_is_refused_and_tried_again_by_itself),
        CASE(no_more_start_at_a_time_than_may),
        CASE(the_least_recently_used_makes_room),
        CASE(what_is_pinned_is_loaded_first_and_stays),
        CASE(where_all_is_pinned_the_others_are_refused),
        CASE(memory_is_a_bound_as_well),
        CASE(what_grows_is_unloaded_by_least_use),
        CASE(what_is_larger_than_all_memory_is_refused_the_next_time),
        CASE(a_swap_unloads_nobody),
        CASE(a_deployment_that_is_gone_ends_its_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
