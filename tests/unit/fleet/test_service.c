/*
 * What serves each deployment, and what became of it (service.c, pool.c, worker.c, resident.c).
 */
#include "control_thread.h"

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
    assert_int_equal(switched_to, new->members[0].id.generation);
    assert_int_equal(old->state, POOL_CLOSING);
    assert_int_equal(told[ROUTE_AWAY], 0);
    settle();
    assert_int_equal(count_pools(POOL_CLOSING), 0);
}

static void assert_still_serves_one(uint32_t attempts)
{
    assert_int_equal(serving(0)->members[0].id.number, 1);
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
    assert_int_equal(serving(0)->members[0].id.number, 2);
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
    assert_int_equal(serving(0)->members[0].id.number, 1);
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

/* Plugin code can write to the pipe before it serves. */
static void a_word_may_come_in_pieces_and_has_a_bound(void **state)
{
    (void)state;
    char flood[WORD_MAX + 1];
    memset(flood, 'x', WORD_MAX);
    flood[WORD_MAX] = '\0';
    wish(1, 1);
    turn();
    struct pool *pool = service(0)->candidate;
    say(pool, 0, "rea");
    assert_int_equal(pool->state, POOL_STARTING);
    say(pool, 0, "dy sandbox=none\n");
    assert_ptr_equal(serving(0), pool);
    assert_string_equal(pool->workers[0].sandbox, "sandbox=none");
    wish(1, 2);
    turn();
    say(service(0)->candidate, 0, flood);
    assert_int_equal(service(0)->candidate->workers[0].ready_fd, -1); /* nothing more is heard */
    assert_null(service(0)->candidate->workers[0].word);
    now += 6 * SECOND;
    turn();
    assert_still_serves_one(1);
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

static void a_swap_unloads_nobody_for_its_memory_either(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 25 * MIB; /* two of them */
    wish(2, 1);
    turn();
    serve(0);
    serve(1);
    ask(0, true);
    now += 3 * SECOND; /* measured again while the third is there */
    turn();
    assert_int_equal(atomic_load(&fleet.evictions), 0);
    serve(0);
    settle();
    assert_int_equal(told[ROUTE_AWAY], 0);
    assert_int_equal(count_pools(POOL_SERVING), 2);
}

static void an_artifact_larger_than_all_memory_is_refused_unloaded(void **state)
{
    (void)state;
    fleet.config.resident_memory_max = 100 * MIB;
    artifact_bytes = 101 * MIB;
    wish(1, 1);
    turn();
    ask(0, false);
    assert_int_equal(spawned, 0);
    assert_int_equal(told[ROUTE_REFUSE], 1);
    assert_non_null(strstr(service(0)->failure.reason, "workers.resident_memory_max"));
}

static void what_is_pinned_is_never_given_up(void **state)
{
    (void)state;
    pins = 1;
    wish(1, 1);
    for (int i = 0; i < 10; i++) { /* far beyond the longest backoff */
        turn();
        assert_non_null(service(0)->candidate);
        say(service(0)->candidate, 0, "failed it is no good\n");
        settle();
        now += 31 * SECOND;
    }
    turn();
    assert_non_null(service(0)->candidate);
    serve(0);
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
        CASE(a_word_may_come_in_pieces_and_has_a_bound),
        CASE(no_more_start_at_a_time_than_may),
        CASE(the_least_recently_used_makes_room),
        CASE(what_is_pinned_is_loaded_first_and_stays),
        CASE(where_all_is_pinned_the_others_are_refused),
        CASE(memory_is_a_bound_as_well),
        CASE(what_grows_is_unloaded_by_least_use),
        CASE(what_is_larger_than_all_memory_is_refused_the_next_time),
        CASE(a_swap_unloads_nobody),
        CASE(a_swap_unloads_nobody_for_its_memory_either),
        CASE(an_artifact_larger_than_all_memory_is_refused_unloaded),
        CASE(what_is_pinned_is_never_given_up),
        CASE(a_deployment_that_is_gone_ends_its_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
