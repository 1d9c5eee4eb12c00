/*
 * Who shares a worker (group.c), and what becomes of a group: it grows, fails, crashes, is split
 * and unloaded.
 */
#include "control_thread.h"

static int start_groups(void **state)
{
    int failed = start(state);
    fleet.config.group_max = 4;
    fleet.config.group_artifact_max = MIB;
    owners = 1;
    return failed;
}

/* Starts what is wished for and lets it serve. */
static void serve_all(uint32_t count)
{
    wish(count, 1);
    turn();
    for (uint32_t i = 0; i < count; i++)
        if (service(i)->candidate && service(i)->candidate->state == POOL_STARTING)
            serve(i);
    for (uint32_t i = 0; i < count; i++)
        assert_non_null(serving(i));
}

static struct pool *candidate(uint32_t number)
{
    assert_non_null(service(number)->candidate);
    return service(number)->candidate;
}

static uint32_t version_of(uint32_t number)
{
    return pool_member(serving(number), service(number))->id.number;
}

/* ---- who shares */

static void small_models_of_one_tenant_share_a_worker(void **state)
{
    (void)state;
    serve_all(3);
    assert_int_equal(spawned, 1);
    assert_int_equal(models[0], 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct member *m = pool_member(serving(0), service(i));
        assert_ptr_equal(serving(i), serving(0));
        assert_int_equal(m->id.slot, i);
        assert_int_equal(m->id.generation, serving(0)->members[0].id.generation);
    }
    assert_int_equal(told[ROUTE_SWITCH], 3);
    assert_int_equal(told[LANE_OPEN], 3); /* each route learns of the one worker */
}

static void a_group_has_a_bound(void **state)
{
    (void)state;
    serve_all(10);
    assert_int_equal(spawned, 3);
    assert_int_equal(models[0], 4);
    assert_int_equal(models[2], 2);
}

static void tenants_never_share(void **state)
{
    (void)state;
    owners = 2;
    serve_all(6);
    assert_int_equal(spawned, 2);
    for (uint32_t i = 0; i < 6; i++)
        assert_ptr_equal(serving(i), serving(i % 2));
    assert_ptr_not_equal(serving(0), serving(1));
}

static void the_platforms_models_never_share(void **state)
{
    (void)state;
    owners = 0;
    serve_all(3);
    assert_int_equal(spawned, 3);
}

static void large_models_never_share(void **state)
{
    (void)state;
    artifact_bytes = MIB + 1;
    serve_all(3);
    assert_int_equal(spawned, 3);
}

static void where_groups_are_off_nobody_shares(void **state)
{
    (void)state;
    fleet.config.group_max = 1;
    serve_all(3);
    assert_int_equal(spawned, 3);
}

static void what_is_pinned_shares_with_what_is_pinned(void **state)
{
    (void)state;
    pins = 2;
    serve_all(4);
    assert_int_equal(spawned, 2);
    assert_ptr_equal(serving(2), serving(3));
    assert_ptr_equal(serving(0), serving(1));
    assert_ptr_not_equal(serving(1), serving(2));
}

/* ---- another member, another version */

static void one_more_is_loaded_together_with_those_that_are_served(void **state)
{
    (void)state;
    serve_all(2);
    struct pool *old = serving(0);
    wish(3, 1);
    turn();
    struct pool *new = candidate(2);
    assert_int_equal(new->member_count, 3);
    assert_ptr_equal(serving(0), old);
    assert_ptr_equal(serving(1), old);
    serve(2);
    for (uint32_t i = 0; i < 3; i++)
        assert_ptr_equal(serving(i), new);
    assert_int_equal(old->state, POOL_CLOSING);
    assert_int_equal(told[ROUTE_AWAY], 0);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 1);
    assert_int_equal(told[ROUTE_GONE], 2); /* the old pool was two routes */
}

static void groups_that_are_not_full_become_one(void **state)
{
    (void)state;
    fleet.config.group_max = 1;
    serve_all(2);
    assert_int_equal(count_pools(POOL_SERVING), 2);
    fleet.config.group_max = 4; /* as when each had come while the other was starting */
    wish(3, 1);
    turn();
    serve(2);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 1);
    assert_int_equal(pool_serves(serving(0)), 3);
}

static void a_version_is_swapped_in_its_group(void **state)
{
    (void)state;
    serve_all(3);
    news = 1;
    wish(3, 1);
    turn();
    assert_int_equal(candidate(1)->member_count, 3);
    serve(1);
    assert_int_equal(version_of(0), 1);
    assert_int_equal(version_of(1), 2);
    assert_ptr_equal(serving(0), serving(1));
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 1);
}

static void a_version_that_fails_in_its_group_changes_nothing(void **state)
{
    (void)state;
    serve_all(3);
    struct pool *old = serving(0);
    news = 1;
    wish(3, 1);
    turn();
    /* the new version was the reason for the group, so it comes first in it */
    assert_ptr_equal(candidate(1)->members[0].service, service(1));
    say(candidate(1), 0, "at 0\nat 1\nat 2\nat 0\nfailed it is no good\n");
    settle();
    for (uint32_t i = 0; i < 3; i++) {
        assert_ptr_equal(serving(i), old);
        assert_null(service(i)->candidate);
        assert_int_equal(service(i)->failure.attempts, i == 1);
    }
    assert_int_equal(told[ROUTE_REFUSE] + told[ROUTE_AWAY] + told[ROUTE_DOWN], 0);
    wish(3, 1);
    news = UINT32_MAX;
    wish(3, 1);
    turn();
    assert_int_equal(service(1)->failure.attempts, 0);
    assert_int_equal(service(1)->apart, APART_NO);
}

/* ---- one that is no good */

static void assert_left_out(uint32_t number, const char *reason)
{
    assert_int_equal(service(number)->failure.attempts, 1);
    assert_non_null(strstr(service(number)->failure.reason, reason));
    settle();
    assert_int_equal(candidate(number == 0)->member_count, 2);
    serve(number == 0); /* one worker is the others' */
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(service(i)->failure.attempts, i == number);
        assert_true(i == number || serving(i)->member_count == 2);
    }
    assert_int_equal(told[ROUTE_REFUSE], 1);
    now += 2 * SECOND;
    turn();
    assert_int_equal(candidate(number)->member_count, 1);
    serve(number);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 2);
}

static void who_refuses_to_load_is_left_out(void **state)
{
    (void)state;
    wish(3, 1);
    turn();
    say(candidate(0), 0, "at 0\nat 1\n");
    assert_int_equal(candidate(0)->state, POOL_STARTING);
    say(candidate(0), 0, "failed it is no good\n");
    assert_left_out(1, "it is no good");
}

static void who_crashes_in_its_load_is_left_out(void **state)
{
    (void)state;
    wish(3, 1);
    turn();
    say(candidate(0), 0, "at 0\nat 1\nat 2\n");
    dies(candidate(0), 0);
    assert_left_out(2, "signal 6");
}

/* Its last words may be in the pipe still when its end is seen. */
static void what_it_said_before_its_end_is_heard(void **state)
{
    (void)state;
    wish(3, 1);
    turn();
    static const char word[] = "at 0\nat 1\n";
    assert_int_equal(write(words[0], word, strlen(word)), (ssize_t)strlen(word));
    dies(candidate(0), 0);
    assert_left_out(1, "signal 6");
}

static void who_takes_too_long_is_left_out(void **state)
{
    (void)state;
    wish(3, 1);
    turn();
    say(candidate(0), 0, "at 0\n");
    now += 6 * SECOND; /* more than start_ms */
    turn();
    assert_left_out(0, "workers.start_ms");
}

static void what_is_nobodys_fault_is_tried_again_together(void **state)
{
    (void)state;
    artifact_status = MAAS_E_UNAVAILABLE;
    wish(3, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(service(i)->failure.attempts, 1);
    artifact_status = MAAS_OK;
    now += 2 * SECOND;
    turn();
    assert_int_equal(candidate(0)->member_count, 3);
    say(candidate(0), 0, "at 77\nfailed by a number that is none\n");
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(service(i)->failure.attempts, 2);
}

static void who_came_along_is_not_held_to_have_failed(void **state)
{
    (void)state;
    serve_all(2);
    artifact_status = MAAS_E_UNAVAILABLE;
    wish(3, 1);
    turn();
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(service(i)->failure.attempts, i == 2);
    assert_int_equal(pool_serves(serving(0)), 2);
    artifact_status = MAAS_OK;
    now += 2 * SECOND;
    turn();
    assert_int_equal(candidate(2)->member_count, 3);
    serve(2);
}

/* ---- deaths */

static void die_and_come_back(struct pool *pool, uint32_t deaths)
{
    for (uint32_t i = 0; i < deaths; i++) {
        dies(pool, 0);
        if (pool->workers[0].state == WORKER_STARTING)
            say(pool, 0, "at 0\nat 1\nat 2\nready sandbox=none\n");
    }
}

static void a_worker_that_dies_comes_back_with_all_its_models(void **state)
{
    (void)state;
    serve_all(3);
    die_and_come_back(serving(0), 2);
    assert_int_equal(spawned, 3);
    assert_int_equal(models[2], 3);
    assert_int_equal(atomic_load(&fleet.splits), 0);
    assert_int_equal(told[LANE_LOST], 2); /* the worker's, once */
    assert_int_equal(told[LANE_OPEN], 9);
}

static void a_group_that_dies_again_and_again_is_split(void **state)
{
    (void)state;
    serve_all(3);
    struct pool *group = serving(0);
    die_and_come_back(group, 3);
    assert_int_equal(atomic_load(&fleet.splits), 1);
    assert_int_equal(told[ROUTE_DOWN], 3); /* nobody lives */
    uint32_t before = spawned;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(candidate(i)->member_count, 1);
        assert_ptr_equal(serving(i), group);
    }
    assert_int_equal(before, 6);
    for (uint32_t i = 0; i < 3; i++)
        serve(i);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 3); /* the group is gone */
    die_and_come_back(serving(1), 3);               /* it was this one */
    assert_int_equal(told[ROUTE_DOWN], 4);
    assert_int_equal(serving(0)->workers[0].state, WORKER_READY);
    assert_int_equal(serving(2)->workers[0].state, WORKER_READY);
    ask(1, true); /* an operator has mended it: they may share again */
    assert_int_equal(service(1)->apart, APART_NO);
}

static void a_group_whose_candidate_is_starting_is_split_as_well(void **state)
{
    (void)state;
    serve_all(3);
    struct pool *group = serving(0);
    wish(4, 1);
    turn();
    struct pool *larger = candidate(3);
    assert_int_equal(larger->member_count, 4);
    die_and_come_back(group, 3);
    assert_int_equal(larger->state, POOL_CLOSING);
    settle();
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(candidate(i)->member_count, 1);
}

/* ---- the two bounds, and ends */

static void a_group_is_unloaded_as_a_whole(void **state)
{
    (void)state;
    fleet.config.group_max = 2;
    fleet.config.resident_max = 4;
    serve_all(4);
    now += SECOND;
    wish(6, 1);
    turn();
    atomic_store(&serving(1)->workers[0].link->used_ns, now); /* 0 is its sibling */
    ask(4, false);
    assert_non_null(serving(0));
    assert_null(serving(2));
    assert_null(serving(3));
    assert_int_equal(atomic_load(&fleet.evictions), 2);
    settle();
    serve(4);
    ask(5, false); /* beside 4, in the place that is left */
    assert_int_equal(candidate(5)->member_count, 2);
    assert_int_equal(atomic_load(&fleet.evictions), 2);
    serve(5);
    settle();
    assert_int_equal(count_pools(POOL_SERVING), 2);
}

static void beside_what_is_pinned_one_goes_for_the_other(void **state)
{
    (void)state;
    fleet.config.group_artifact_max = 14 * MIB;
    fleet.config.resident_memory_max = 33 * MIB;
    artifact_bytes = 14 * MIB;
    pins = 1;
    wish(3, 1);
    turn();
    serve(2); /* 10 MiB, pinned */
    ask(0, false);
    serve(0); /* 10 more; with it, 1 would make 34 */
    ask(1, false);
    settle();
    assert_null(serving(0));
    assert_int_equal(candidate(1)->member_count, 1);
    serve(1);
    assert_non_null(serving(2));
}

static void a_groups_memory_is_shared_out(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 100 * MIB;
    memory[0] = 14 * MIB; /* 2 for the process, 4 for each */
    serve_all(3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(service(i)->seen.bytes, 6 * MIB);
    assert_int_equal(atomic_load(&fleet.memory), 14 * MIB);
}

static void a_deployment_that_is_gone_leaves_its_group(void **state)
{
    (void)state;
    serve_all(3);
    wish(2, 1);
    settle();
    assert_int_equal(told[ROUTE_AWAY], 1);
    assert_int_equal(pool_serves(serving(0)), 2);
    assert_int_equal(spawned, 1); /* no new worker for that */
    wish(0, 1);
    settle();
    assert_int_equal(told[ROUTE_AWAY], 3);
    assert_null(fleet.services);
    assert_null(fleet.pools);
}

static void each_member_has_its_row(void **state)
{
    (void)state;
    struct fleet_worker rows[8];
    pthread_mutex_init(&fleet.lock, NULL);
    memory[0] = 14 * MIB;
    serve_all(3);
    fleet.changed = true;
    rows_publish(&fleet);
    assert_int_equal(fleet_workers(&fleet, rows, 8), 3);
    for (uint32_t i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "m%u", i);
        assert_string_equal(rows[i].deployment, name);
        assert_int_equal(rows[i].models, 3);
        assert_int_equal(rows[i].pid, NO_PID);
        assert_int_equal(rows[i].memory_bytes, 14 * MIB);
    }
    assert_int_equal(atomic_load(&fleet.resident), 3);
    assert_int_equal(atomic_load(&fleet.ready_workers), 1);
    free(fleet.rows);
    free(fleet.deployment_rows);
    fleet.rows = NULL;
    fleet.deployment_rows = NULL;
    pthread_mutex_destroy(&fleet.lock);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start_groups, stop)
    const struct CMUnitTest tests[] = {
        CASE(small_models_of_one_tenant_share_a_worker),
        CASE(a_group_has_a_bound),
        CASE(tenants_never_share),
        CASE(the_platforms_models_never_share),
        CASE(large_models_never_share),
        CASE(where_groups_are_off_nobody_shares),
        CASE(what_is_pinned_shares_with_what_is_pinned),
        CASE(one_more_is_loaded_together_with_those_that_are_served),
        CASE(groups_that_are_not_full_become_one),
        CASE(a_version_is_swapped_in_its_group),
        CASE(a_version_that_fails_in_its_group_changes_nothing),
        CASE(who_refuses_to_load_is_left_out),
        CASE(who_crashes_in_its_load_is_left_out),
        CASE(what_it_said_before_its_end_is_heard),
        CASE(who_takes_too_long_is_left_out),
        CASE(what_is_nobodys_fault_is_tried_again_together),
        CASE(who_came_along_is_not_held_to_have_failed),
        CASE(a_worker_that_dies_comes_back_with_all_its_models),
        CASE(a_group_that_dies_again_and_again_is_split),
        CASE(a_group_whose_candidate_is_starting_is_split_as_well),
        CASE(a_group_is_unloaded_as_a_whole),
        CASE(beside_what_is_pinned_one_goes_for_the_other),
        CASE(a_groups_memory_is_shared_out),
        CASE(a_deployment_that_is_gone_leaves_its_group),
        CASE(each_member_has_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
