/*
 * A loop's side of the fleet, alone: the test says what the control thread would say (a worker is
 * ready, it is gone) and plays the worker at the other end of the channel. What lane.c asks of
 * fleet.c is answered here, so that fleet.c, which wants a database, is not linked.
 */
#include "instead_of_fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#define GRACE_MS 200
#define LONG_MS  60000
#define LIMIT_MS 20000 /* what has not happened by then never will */

struct asked { /* a request and what became of it */
    struct job job;
    bool over, answers_late; /* the worker answers just after the deadline */
    enum job_end end;
    uint64_t over_ns;
};

struct worker {
    struct link *link;
    struct channel *end; /* the worker's */
};

static struct fleet fleet = { .queue_max = 8, .tenant_queue_max = 20, .grace_ms = GRACE_MS };
static struct fleet_port *port;
static struct worker worker; /* the one that serves now */
static struct pool_id pool;
static uint32_t asks; /* for a deployment that is not loaded */

/* ---- instead of fleet.c */

void fleet_ask(struct fleet *of, const struct uuid *deployment)
{
    (void)of;
    assert_true(uuid_eq(deployment, &pool.deployment));
    asks++;
}

void fleet_count_hostile(struct fleet *of)
{
    (void)of;
    fail_msg("the worker breaks no rule here");
}

/* ---- the control thread's words */

static void tell(enum lane_event event, struct link *link)
{
    struct lane_message *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    *m = (struct lane_message){ .port = port, .event = event, .pool = pool, .link = link };
    if (link)
        atomic_fetch_add(&link->refs, 1);
    port_on_message(&m->post);
}

static void worker_starts(void)
{
    maas_error error = MAAS_ERROR_INIT;
    worker.link = calloc(1, sizeof(*worker.link));
    assert_non_null(worker.link);
    atomic_store(&worker.link->refs, 1);
    assert_int_equal(channel_create(1, 65536, 65536, &worker.link->channel, &error), MAAS_OK);
    struct channel *ch = worker.link->channel;
    int loop_event = dup(channel_loop_eventfd(ch, 0));
    assert_int_equal(channel_attach(dup(channel_memfd(ch)), dup(channel_worker_eventfd(ch)),
                                    &loop_event, 1, &worker.end, &error),
                     MAAS_OK);
    tell(LANE_OPEN, worker.link);
}

static void worker_dies(void)
{
    tell(LANE_LOST, worker.link);
    channel_free(worker.end);
    link_unref(worker.link);
    worker = (struct worker){ 0 };
}

static bool killed(void)
{
    return atomic_load(&worker.link->kill);
}

/* ---- the worker */

/* The oldest request that it was sent, begun; 0: there is none. */
static uint64_t worker_begins(void)
{
    size_t len;
    struct submit_frame frame;
    const void *record = channel_peek_submit(worker.end, 0, &len);
    if (!record)
        return 0;
    memcpy(&frame, record, sizeof(frame));
    channel_consume_submit(worker.end, 0);
    channel_mark_started(worker.end, 0, frame.job);
    return frame.job;
}

static void worker_answers(uint64_t id)
{
    const struct complete_frame frame = { .kind = COMPLETE_DONE, .job = id };
    const struct channel_part part = { &frame, sizeof(frame) };
    assert_true(channel_complete(worker.end, 0, &part, 1));
    channel_wake_loop(worker.end, 0);
}

/* ---- requests */

static void on_done(struct job *job, enum job_end end, const struct complete_frame *frame,
                    const uint8_t *payload)
{
    struct asked *asked = (struct asked *)(void *)job;
    (void)frame;
    (void)payload;
    assert_false(asked->over);
    asked->over = true;
    asked->end = end;
    asked->over_ns = loop_now_ns(fleet.loop);
    if (asked->answers_late)
        worker_answers(job->frame.job);
    loop_stop(fleet.loop);
}

static void ask(struct asked *asked, uint64_t deadline_ms)
{
    static const struct uuid deployment = { { 1 } };
    asked->job.frame =
        (struct submit_frame){ .kind = SUBMIT_INFER,
                               .deadline_ns = loop_now_ns(fleet.loop) + deadline_ms * 1000000 };
    asked->job.done = on_done;
    assert_true(fleet_send(port, fleet_route(port, &deployment), &asked->job));
}

/* ---- time */

static bool limit_passed;

static void on_limit(struct timer *timer)
{
    limit_passed = true;
    loop_stop(timer->loop);
}

/* Turns until one of the three is true; fails when nothing of it happens. */
static void run_until(const struct asked *over, bool kill, uint64_t ms)
{
    struct timer limit = { .fire = on_limit };
    limit_passed = false;
    timer_start(fleet.loop, &limit, ms ? ms : LIMIT_MS);
    while (!limit_passed && !(over && over->over) && !(kill && killed()))
        loop_run(fleet.loop);
    timer_stop(&limit);
    assert_true(ms || !limit_passed);
}

static void run_until_over(const struct asked *asked)
{
    run_until(asked, false, 0);
}

static void run_until_killed(void)
{
    run_until(NULL, true, 0);
}

static void run_for(uint64_t ms)
{
    run_until(NULL, false, ms);
}

static int start(void **state)
{
    (void)state;
    if (loop_new(0, &fleet.loop, NULL) || fleet_port_new(&fleet, fleet.loop, &port, NULL))
        return -1;
    asks = 0;
    pool = (struct pool_id){
        .deployment = { { 1 } }, .version = { { 2 } }, .text = "1", .generation = 1
    };
    worker_starts();
    tell(ROUTE_SWITCH, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (worker.link)
        worker_dies();
    tell(ROUTE_GONE, NULL);
    tell(ROUTE_REFUSE, NULL);
    fleet_port_free(port);
    loop_free(fleet.loop);
    return 0;
}

/* ---- hangs */

static void a_request_that_holds_its_worker_a_grace_past_its_deadline_ends_it(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, 20);
    run_until_over(&a);
    assert_int_equal(a.end, JOB_DEADLINE);
    assert_true(channel_is_cancelled(worker.end, 0, a.job.frame.job));
    assert_false(killed());
    run_until_killed();
    assert_true(clock_mono_ns() - a.over_ns > (GRACE_MS - 2) * UINT64_C(1000000));
}

static void an_answer_within_the_grace_spares_the_worker(void **state)
{
    (void)state;
    struct asked late = { .answers_late = true }, next = { 0 };
    ask(&late, 20);
    run_until_over(&late);
    assert_int_equal(late.end, JOB_DEADLINE);
    run_for(3 * GRACE_MS);
    assert_false(killed());
    ask(&next, LONG_MS);
    run_for(1);
    assert_int_equal(worker_begins(), late.job.frame.job);
    worker_answers(worker_begins());
    run_until_over(&next);
    assert_int_equal(next.end, JOB_ANSWERED);
}

/* The watched one answers within its grace; the other became overdue meanwhile and never does. No
 * third deadline comes to start the watch again. */
static void a_hang_that_began_while_another_was_watched_ends_the_worker_too(void **state)
{
    (void)state;
    struct asked late = { .answers_late = true }, hangs = { 0 };
    ask(&late, 20);
    ask(&hangs, 60);
    run_until_over(&late);
    run_until_over(&hangs);
    assert_int_equal(hangs.end, JOB_DEADLINE);
    assert_false(killed());
    run_until_killed();
    assert_true(clock_mono_ns() - hangs.over_ns > (GRACE_MS - 2) * UINT64_C(1000000));
}

static void
a_loop_that_stood_still_looks_for_answers_before_it_calls_its_worker_hanging(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, 20);
    run_until_over(&a);
    worker_answers(a.job.frame.job);
    usleep(2 * GRACE_MS * 1000);
    run_for(1);
    assert_false(killed());
}

static void a_hang_whose_client_left_ends_the_worker_too(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, 20);
    fleet_abandon(port, &a.job);
    assert_false(a.over);
    run_until_over(&a);
    assert_int_equal(a.end, JOB_ABANDONED);
    run_until_killed();
}

/* ---- deaths */

static void of_a_dead_workers_requests_the_begun_fail_and_the_others_are_sent_again(void **state)
{
    (void)state;
    struct asked answered = { 0 }, begun = { 0 }, queued = { 0 }, unread = { 0 };
    struct asked *all[] = { &answered, &begun, &queued, &unread };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        ask(all[i], LONG_MS);
    worker_answers(worker_begins());
    assert_int_equal(worker_begins(), begun.job.frame.job);
    worker_dies();
    assert_true(answered.over && answered.end == JOB_ANSWERED); /* it lay in the ring */
    assert_true(begun.over && begun.end == JOB_CRASHED);
    assert_false(queued.over || unread.over);
    worker_starts();
    run_for(1);
    for (int i = 0; i < 2; i++)
        worker_answers(worker_begins());
    assert_int_equal(worker_begins(), 0);
    run_until_over(&queued);
    run_until_over(&unread);
    assert_true(queued.end == JOB_ANSWERED && unread.end == JOB_ANSWERED);
}

/* ---- whose requests */

/* As the gateway would: asked whether it is condemned, then sent. */
static enum suspicion send_as(struct asked *asked, uint8_t tenant, const char *body)
{
    asked->job.frame = (struct submit_frame){ .kind = SUBMIT_INFER,
                                              .tenant = { { tenant } },
                                              .body_len = (uint32_t)strlen(body),
                                              .deadline_ns = loop_now_ns(fleet.loop) +
                                                             LONG_MS * UINT64_C(1000000) };
    asked->job.parts[4] = (struct channel_part){ body, strlen(body) };
    asked->job.done = on_done;
    struct fleet_route *route = fleet_route(port, &pool.deployment);
    if (fleet_condemns(port, route, &asked->job))
        return SUSPECT_TWICE;
    assert_true(fleet_send(port, route, &asked->job));
    return asked->job.frame.flags & SUBMIT_ALONE ? SUSPECT_ONCE : SUSPECT_NONE;
}

static void worker_dies_at_it(void)
{
    run_for(1);
    assert_int_not_equal(worker_begins(), 0);
    worker_dies();
    worker_starts();
}

static void what_crashed_alone_after_it_crashed_is_refused(void **state)
{
    (void)state;
    struct asked a = { 0 }, again = { 0 }, third = { 0 }, other = { 0 }, elsewhere = { 0 };
    assert_int_equal(send_as(&a, 1, "bad"), SUSPECT_NONE);
    worker_dies_at_it();
    assert_int_equal(a.end, JOB_CRASHED);
    assert_int_equal(send_as(&again, 1, "bad"), SUSPECT_ONCE);
    worker_dies_at_it();
    assert_int_equal(again.end, JOB_CRASHED);
    assert_int_equal(send_as(&third, 1, "bad"), SUSPECT_TWICE);
    assert_int_equal(send_as(&other, 1, "good"), SUSPECT_NONE);
    assert_int_equal(send_as(&elsewhere, 2, "bad"), SUSPECT_NONE); /* another tenant's */
    run_for(1);
    worker_answers(worker_begins());
    worker_answers(worker_begins());
    run_until_over(&elsewhere);
}

static void what_had_not_begun_is_not_suspected(void **state)
{
    (void)state;
    struct asked begun = { 0 }, queued = { 0 }, again = { 0 };
    (void)send_as(&begun, 3, "begun");
    (void)send_as(&queued, 3, "queued");
    worker_dies_at_it();
    assert_int_equal(begun.end, JOB_CRASHED);
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&queued);
    assert_int_equal(queued.end, JOB_ANSWERED);
    assert_int_equal(send_as(&again, 3, "queued"), SUSPECT_NONE);
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&again);
}

static void a_crowd_of_one_tenant_shuts_nobody_else_out(void **state)
{
    (void)state;
    struct asked crowd[20] = { 0 }, more = { 0 }, other = { 0 }, last = { 0 };
    for (size_t i = 0; i < COUNT_OF(crowd); i++) /* more than there are slots: some wait */
        (void)send_as(&crowd[i], 4, "x");
    more.job.frame.tenant = crowd[0].job.frame.tenant;
    more.job.done = on_done;
    assert_false(fleet_send(port, fleet_route(port, &pool.deployment), &more.job));
    (void)send_as(&other, 5, "x");
    for (size_t i = 0; i < COUNT_OF(crowd) + 1; i++) {
        run_for(1);
        worker_answers(worker_begins());
    }
    run_until_over(&other);
    assert_int_equal(other.end, JOB_ANSWERED);
    (void)send_as(&last, 4, "x"); /* there is room again */
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&last);
}

static void a_pinned_request_is_answered_by_its_version_or_not_at_all(void **state)
{
    (void)state;
    struct asked one = { .job.pinned = 1 }, two = { .job.pinned = 2 }, waits = { .job.pinned = 1 };
    pool.number = 1;
    pool.generation++;
    struct worker first = worker;
    worker_starts();
    tell(ROUTE_SWITCH, NULL);
    assert_int_equal(fleet_serving(port, &pool.deployment), 1);
    ask(&one, LONG_MS);
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&one);
    assert_int_equal(one.end, JOB_ANSWERED);
    two.job.done = on_done;
    assert_false(fleet_send(port, fleet_route(port, &pool.deployment), &two.job));
    tell(LANE_LOST, worker.link); /* it waits for a worker of its version */
    ask(&waits, LONG_MS);
    struct worker second = worker;
    struct pool_id old = pool;
    pool.number = 2;
    pool.generation++;
    worker_starts();
    tell(ROUTE_SWITCH, NULL);
    assert_true(waits.over && waits.end == JOB_NO_WORKER);
    struct pool_id now = pool;
    pool = old;
    tell(ROUTE_GONE, NULL);
    pool = (struct pool_id){
        .deployment = now.deployment, .version = now.version, .generation = 1, .text = "1"
    };
    tell(LANE_LOST, first.link);
    tell(ROUTE_GONE, NULL);
    pool = now;
    channel_free(first.end);
    link_unref(first.link);
    channel_free(second.end);
    link_unref(second.link);
}

/* ---- waiting */

static void a_request_may_miss_its_deadline_while_it_waits_for_a_worker(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, 20);
    worker_dies();
    run_until_over(&a);
    assert_int_equal(a.end, JOB_DEADLINE);
    worker_starts();
    run_for(1);
    assert_int_equal(worker_begins(), 0);
}

static void while_a_route_is_down_nothing_waits_for_it(void **state)
{
    (void)state;
    struct asked queued = { 0 }, refused = { 0 };
    ask(&queued, LONG_MS);
    tell(ROUTE_DOWN, NULL);
    worker_dies();
    assert_true(queued.over && queued.end == JOB_NO_WORKER);
    assert_false(fleet_send(port, fleet_route(port, &pool.deployment), &refused.job));
    worker_starts();
    ask(&refused, LONG_MS);
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&refused);
    assert_int_equal(refused.end, JOB_ANSWERED);
}

/* ---- siblings */

static void while_a_sibling_lives_the_requests_of_a_dead_worker_go_to_it(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, LONG_MS);
    struct worker first = worker;
    worker_starts();
    struct worker second = worker;
    worker = first;
    worker_dies(); /* for the third time: the control thread says nothing of the route */
    assert_false(a.over);
    run_for(1);
    worker = second;
    worker_answers(worker_begins());
    run_until_over(&a);
    assert_int_equal(a.end, JOB_ANSWERED);
}

/* ---- order */

/* What a worker has got, in this order, of requests that carry their number as their rows. */
static void assert_next(uint32_t number)
{
    size_t len;
    struct submit_frame frame;
    const void *record = channel_peek_submit(worker.end, 0, &len);
    assert_non_null(record);
    memcpy(&frame, record, sizeof(frame));
    channel_consume_submit(worker.end, 0);
    assert_int_equal(frame.max_rows, number);
    worker_answers(frame.job);
}

static void ask_numbered(struct asked *asked, uint32_t number)
{
    struct fleet_route *route = fleet_route(port, &pool.deployment);
    asked->job.frame = (struct submit_frame){ .kind = SUBMIT_INFER,
                                              .max_rows = number,
                                              .deadline_ns = loop_now_ns(fleet.loop) +
                                                             LONG_MS * UINT64_C(1000000) };
    asked->job.done = on_done;
    assert_true(fleet_send(port, route, &asked->job));
}

/* Eight fit into the lane, in slots that were used before and are handed out in another order. */
static void requests_that_are_sent_again_keep_the_order_of_their_arrival(void **state)
{
    (void)state;
    static struct asked before[4], all[12];
    memset(before, 0, sizeof(before));
    memset(all, 0, sizeof(all));
    for (uint32_t i = 0; i < 4; i++)
        ask_numbered(&before[i], 100 + i);
    for (uint32_t i = 0; i < 4; i++)
        assert_next(100 + i);
    run_for(1);
    for (uint32_t i = 0; i < 12; i++)
        ask_numbered(&all[i], i);
    worker_dies();
    worker_starts();
    run_for(1);
    for (uint32_t i = 0; i < 8; i++)
        assert_next(i);
    run_for(1);
    for (uint32_t i = 8; i < 12; i++)
        assert_next(i);
    for (uint32_t i = 0; i < 12; i++)
        if (!all[i].over)
            run_until_over(&all[i]);
}

/* ---- deployments that share a worker */

/* Of the oldest request that the worker was sent, which it answers; UINT32_MAX: there is none. */
static uint32_t next_model(void)
{
    size_t len;
    struct submit_frame frame;
    const void *record = channel_peek_submit(worker.end, 0, &len);
    if (!record)
        return UINT32_MAX;
    memcpy(&frame, record, sizeof(frame));
    channel_consume_submit(worker.end, 0);
    worker_answers(frame.job);
    return frame.model_slot;
}

static void a_group_is_one_lane_and_each_request_names_its_model(void **state)
{
    (void)state;
    struct asked a = { 0 }, b = { 0 };
    const struct pool_id first = pool;
    struct pool_id second = pool;
    second.deployment = (struct uuid){ { 9 } };
    second.slot = 1;
    pool = second;
    tell(LANE_OPEN, worker.link);
    tell(ROUTE_SWITCH, NULL);
    assert_int_equal(atomic_load(&worker.link->refs), 2); /* the test's and the lane's */
    ask_numbered(&b, 0);
    pool = first;
    ask_numbered(&a, 0);
    worker_dies(); /* neither had begun: both wait, each for its own model */
    worker_starts();
    pool = second;
    tell(LANE_OPEN, worker.link);
    run_for(1);
    assert_int_equal(next_model() + next_model(), 1);
    assert_int_equal(next_model(), UINT32_MAX);
    run_until_over(&a);
    run_until_over(&b);
    assert_true(a.end == JOB_ANSWERED && b.end == JOB_ANSWERED);
    tell(LANE_CLOSE, worker.link);
    assert_int_equal(atomic_load(&worker.link->drained), 1); /* said once, for both */
    worker_dies();
    tell(ROUTE_GONE, NULL);
    pool = first;
}

/* ---- deadlines of a loop that stood still */

static void an_answer_that_lies_ready_counts_although_the_loop_comes_too_late(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, 20);
    run_for(1);
    uint64_t id = worker_begins();
    const struct complete_frame frame = { .kind = COMPLETE_DONE, .job = id };
    const struct channel_part part = { &frame, sizeof(frame) };
    assert_true(channel_complete(worker.end, 0, &part, 1)); /* and wakes nobody */
    usleep(40000);
    run_until_over(&a);
    assert_int_equal(a.end, JOB_ANSWERED);
}

/* ---- deployments that are not loaded */

static void unload(void)
{
    tell(ROUTE_AWAY, NULL);
    tell(LANE_CLOSE, worker.link);
    worker_dies();
    tell(ROUTE_GONE, NULL);
    pool.generation++;
}

static void the_first_request_for_an_unloaded_model_asks_for_it_and_all_wait(void **state)
{
    (void)state;
    struct asked a = { 0 }, b = { 0 };
    unload();
    ask(&a, LONG_MS);
    ask(&b, LONG_MS);
    run_for(1);
    assert_int_equal(asks, 1);
    assert_false(a.over || b.over);
    worker_starts();
    tell(ROUTE_SWITCH, NULL);
    worker_answers(worker_begins()); /* sent at the switch itself */
    worker_answers(worker_begins());
    run_until_over(&a);
    run_until_over(&b);
    assert_true(a.end == JOB_ANSWERED && b.end == JOB_ANSWERED);
}

static void a_model_that_cannot_be_loaded_refuses_who_waits_and_is_asked_for_anew(void **state)
{
    (void)state;
    struct asked a = { 0 }, b = { 0 };
    unload();
    ask(&a, LONG_MS);
    tell(ROUTE_REFUSE, NULL);
    assert_true(a.over && a.end == JOB_NO_WORKER);
    ask(&b, LONG_MS);
    assert_int_equal(asks, 2);
    tell(ROUTE_REFUSE, NULL);
    assert_true(b.over && b.end == JOB_NO_WORKER);
}

static void a_request_in_the_rings_of_an_unloaded_model_is_still_answered(void **state)
{
    (void)state;
    struct asked a = { 0 };
    ask(&a, LONG_MS);
    run_for(1);
    tell(ROUTE_AWAY, NULL);
    tell(LANE_CLOSE, worker.link);
    assert_int_equal(atomic_load(&worker.link->drained), 0);
    worker_answers(worker_begins());
    run_until_over(&a);
    assert_int_equal(a.end, JOB_ANSWERED);
    assert_int_equal(atomic_load(&worker.link->drained), 1);
}

/* ---- swaps */

static void
after_a_switch_new_requests_go_to_the_new_pool_and_old_ones_end_where_they_are(void **state)
{
    (void)state;
    struct asked old = { 0 }, new = { 0 };
    ask(&old, LONG_MS);
    run_for(1);
    struct worker first = worker;
    struct pool_id first_pool = pool;
    pool.generation = 2;
    pool.number = 2;
    worker_starts();
    tell(ROUTE_SWITCH, NULL);
    ask(&new, LONG_MS);
    run_for(1);
    worker_answers(worker_begins());
    run_until_over(&new);
    assert_int_equal(new.job.version, 2);
    struct worker second = worker;
    worker = first;
    tell(LANE_CLOSE, worker.link);
    assert_int_equal(atomic_load(&worker.link->drained), 0);
    worker_answers(worker_begins());
    run_until_over(&old);
    assert_true(old.end == JOB_ANSWERED && old.job.version == 0);
    assert_int_equal(atomic_load(&worker.link->drained), 1);
    pool = first_pool;
    worker_dies();
    tell(ROUTE_GONE, NULL);
    worker = second;
    pool.generation = 2;
    pool.number = 0;
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(what_crashed_alone_after_it_crashed_is_refused),
        CASE(what_had_not_begun_is_not_suspected),
        CASE(a_crowd_of_one_tenant_shuts_nobody_else_out),
        CASE(a_pinned_request_is_answered_by_its_version_or_not_at_all),
        CASE(a_request_that_holds_its_worker_a_grace_past_its_deadline_ends_it),
        CASE(an_answer_within_the_grace_spares_the_worker),
        CASE(a_hang_that_began_while_another_was_watched_ends_the_worker_too),
        CASE(a_loop_that_stood_still_looks_for_answers_before_it_calls_its_worker_hanging),
        CASE(a_hang_whose_client_left_ends_the_worker_too),
        CASE(of_a_dead_workers_requests_the_begun_fail_and_the_others_are_sent_again),
        CASE(a_request_may_miss_its_deadline_while_it_waits_for_a_worker),
        CASE(while_a_route_is_down_nothing_waits_for_it),
        CASE(while_a_sibling_lives_the_requests_of_a_dead_worker_go_to_it),
        CASE(requests_that_are_sent_again_keep_the_order_of_their_arrival),
        CASE(a_group_is_one_lane_and_each_request_names_its_model),
        CASE(an_answer_that_lies_ready_counts_although_the_loop_comes_too_late),
        CASE(the_first_request_for_an_unloaded_model_asks_for_it_and_all_wait),
        CASE(a_model_that_cannot_be_loaded_refuses_who_waits_and_is_asked_for_anew),
        CASE(a_request_in_the_rings_of_an_unloaded_model_is_still_answered),
        CASE(after_a_switch_new_requests_go_to_the_new_pool_and_old_ones_end_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
