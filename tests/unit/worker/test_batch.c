/*
 * Batches: what merges and what never does, as the plugin sees it; members that fail, calls that
 * fail; the caps and deadlines of the queue behind a real channel.
 */
#include "in_process.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "faulty.h"
#include "merger.h"

static struct bench bench;

static void load(const char *independent, const char *rows)
{
    const struct engine_option options[] = { { STR("independent"), str_of(independent) },
                                             { STR("rows"), str_of(rows) } };
    bench_load(&bench, MERGER_SO, "/", options, 2);
}

static int start(void **state)
{
    (void)state;
    load("true", "64");
    return 0;
}

static int start_dependent(void **state)
{
    (void)state;
    load("false", "64");
    return 0;
}

/* Two models that are alike in everything. */
static int start_two(void **state)
{
    (void)state;
    const struct engine_option alike[] = { { STR("independent"), STR("true") },
                                           { STR("rows"), STR("64") } };
    bench_load_all(&bench, MERGER_SO, "/", (const struct engine_option *const[]){ alike, alike }, 2,
                   2);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bench_unload(&bench);
    return 0;
}

/* One row [x], or [x, 0] where `wide`, with a text and parameters. Lives until the next 64. */
static const char *body_of(double x, const char *text, const char *parameters, bool wide)
{
    static char bodies[64][512];
    static unsigned turn;
    char *body = bodies[turn++ % COUNT_OF(bodies)];
    snprintf(body, sizeof(bodies[0]),
             "{\"id\":\"id-%s\",\"parameters\":{%s},\"inputs\":[{\"name\":\"x\",\"datatype\":"
             "\"FP64\",\"shape\":[1,%d],\"data\":[%.17g%s]},{\"name\":\"text\",\"datatype\":"
             "\"BYTES\",\"shape\":[1],\"data\":[\"%s\"]}]}",
             text, parameters, wide ? 2 : 1, x, wide ? ",0" : "", text);
    return body;
}

static struct shot plain(double x)
{
    return (struct shot){ .body = body_of(x, "t", "", false), .tenant = 1 };
}

static struct shot with_params(double x, const char *parameters)
{
    return (struct shot){ .body = body_of(x, "t", parameters, false), .tenant = 1 };
}

static struct shot of_tenant(double x, uint8_t tenant)
{
    return (struct shot){ .body = body_of(x, "t", "", false), .tenant = tenant };
}

struct seen {
    double value, rows, call;
};

static struct seen seen(uint32_t slot)
{
    struct seen s = { 0 };
    const struct answer *a = &bench.answers[slot];
    if (a->frame.status != MAAS_OK)
        fail_msg("slot %u: status %d '%s'", slot, a->frame.status, a->text);
    const char *data = strstr(a->body, "\"data\":[");
    assert_non_null(data);
    assert_int_equal(sscanf(data, "\"data\":[%lf,%lf,%lf]", &s.value, &s.rows, &s.call), 3);
    return s;
}

static void assert_rows(uint32_t slot, double value, double rows)
{
    struct seen s = seen(slot);
    if (s.value != value || s.rows != rows)
        fail_msg("slot %u: %g of %g rows instead of %g of %g", slot, s.value, s.rows, value, rows);
}

static void assert_failed(uint32_t slot, maas_status status, const char *says)
{
    const struct answer *a = &bench.answers[slot];
    if (a->frame.status != status || !strstr(a->text, says))
        fail_msg("slot %u: status %d '%s'", slot, a->frame.status, a->text);
}

/* ---- what merges */

static void what_waits_is_one_call(void **state)
{
    (void)state;
    struct shot shots[10];
    for (uint32_t i = 0; i < 10; i++)
        shots[i] = of_tenant(i, (uint8_t)(i % 3));
    bench_round(&bench, shots, 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_rows(i, i, 10);
        assert_int_equal(bench.answers[i].frame.batch, 10);
        assert_int_equal(bench.answers[i].frame.batch_rows, 10);
        assert_int_equal(bench.answers[i].frame.rows, 1);
        assert_int_equal(bench.answers[i].frame.compute_us, bench.answers[0].frame.compute_us);
        assert_true(channel_was_started(bench.channel, 0, bench_job(&bench, i)));
    }
    assert_int_equal(server_counts(bench.server)->calls, 1);
    assert_int_equal(server_counts(bench.server)->merged, 10);
    assert_int_equal(server_counts(bench.server)->tenants, 1);
}

static void a_request_that_is_alone_is_not_held_up(void **state)
{
    (void)state;
    struct shot shot = plain(5);
    bench_round(&bench, &shot, 1);
    assert_rows(0, 5, 1);
    assert_int_equal(bench.answers[0].frame.batch, 1);
}

static void models_of_one_worker_never_merge(void **state)
{
    (void)state;
    struct shot shots[10];
    for (uint32_t i = 0; i < 10; i++) {
        shots[i] = plain(i);
        shots[i].model = i % 5 == 0; /* two of them */
    }
    for (uint32_t round = 1; round <= 3; round++) {
        bench_round(&bench, shots, 10);
        for (uint32_t i = 0; i < 10; i++) {
            assert_rows(i, i, shots[i].model ? 2 : 8);
            assert_int_equal(bench.answers[i].frame.batch, shots[i].model ? 2 : 8);
        }
        assert_int_equal(server_counts(bench.server)->calls, 2 * round);
    }
}

/* A crowd of one tenant at one model, and one request of it for the other, which came last. */
static void a_crowd_at_one_model_does_not_keep_its_sibling_waiting(void **state)
{
    (void)state;
    struct shot shots[41];
    for (uint32_t i = 0; i < 40; i++) /* twenty ms each, and unlike the next */
        shots[i] = with_params(MERGER_SLOW, i % 2 ? "\"scale\":2" : "\"scale\":3");
    shots[40] = plain(7);
    shots[40].model = 1;
    bench_round(&bench, shots, 41);
    assert_rows(40, 7, 1);
    assert_true(bench.answers[40].frame.queue_us < bench.answers[39].frame.queue_us);
}

static void a_request_for_a_model_that_is_not_there_ends_the_channel(void **state)
{
    (void)state;
    struct shot shots[2] = { plain(1), plain(2) };
    shots[1].model = 2;
    bench.generation++;
    bench_send(&bench, 0, &shots[0]);
    bench_send(&bench, 1, &shots[1]);
    assert_false(server_run(bench.server)); /* it ends: the gateway sees to the rest */
    assert_true(channel_broken(bench.channel));
    assert_true(server_counts(bench.server)->calls <= 1); /* of the one before, perhaps */
}

/* Strings, ids and wanted outputs are each member's own. */
static void members_keep_their_own_strings(void **state)
{
    (void)state;
    static const char *const texts[] = { "alpha", "", "\xc3\xa9t\xc3\xa9",
                                         "a longer text than the others" };
    struct shot shots[4];
    for (uint32_t i = 0; i < 4; i++)
        shots[i] = (struct shot){ .body = body_of(i, texts[i], "", false), .tenant = (uint8_t)i };
    bench_round(&bench, shots, 4);
    for (uint32_t i = 0; i < 4; i++) {
        char id[64], echo[64];
        snprintf(id, sizeof(id), "{\"id\":\"id-%s\",", texts[i]);
        snprintf(echo, sizeof(echo), "\"data\":[\"%s\"]", texts[i]);
        assert_rows(i, i, 4);
        assert_int_equal(strncmp(bench.answers[i].body, id, strlen(id)), 0);
        assert_non_null(strstr(bench.answers[i].body, echo));
    }
}

static void max_rows_bounds_a_call(void **state)
{
    (void)state;
    struct shot shots[10];
    stop(state);
    load("true", "4");
    for (uint32_t i = 0; i < 10; i++)
        shots[i] = plain(i);
    bench_round(&bench, shots, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_rows(i, i, i < 8 ? 4 : 2);
    stop(state);
    load("true", "1");
    for (uint32_t i = 0; i < 10; i++)
        shots[i] = plain(i);
    bench_round(&bench, shots, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_rows(i, i, 1);
}

static void a_default_that_is_spelled_out_is_the_default(void **state)
{
    (void)state;
    struct shot shots[] = { plain(1), with_params(2, "\"scale\":1"),
                            with_params(3, "\"mode\":\"plain\",\"scale\":1.0") };
    bench_round(&bench, shots, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_rows(i, i + 1, 3);
}

static void outputs_may_come_one_by_one_and_from_a_thread(void **state)
{
    (void)state;
    struct shot shots[] = { plain(1), plain(MERGER_TWO_EMITS), plain(2), plain(MERGER_THREAD) };
    bench_round(&bench, shots, 3);
    assert_rows(0, 1, 3);
    assert_rows(1, MERGER_TWO_EMITS, 3);
    bench_round(&bench, shots, 4);
    assert_rows(0, 1, 4);
    assert_rows(3, MERGER_THREAD, 4);
    assert_int_equal(server_counts(bench.server)->split, 0);
}

/* ---- what never does */

static void different_params_never_merge(void **state)
{
    (void)state;
    struct shot shots[] = {
        with_params(1, "\"scale\":2"),        plain(2), with_params(3, "\"scale\":2"),
        with_params(4, "\"mode\":\"other\""), plain(5), with_params(6, "\"mode\":\"other\"")
    };
    bench_round(&bench, shots, 6);
    static const double values[] = { 2, 2, 6, 4, 5, 6 };
    for (uint32_t i = 0; i < 6; i++)
        assert_rows(i, values[i], 2);
    assert_true(seen(0).call == seen(2).call && seen(1).call == seen(4).call &&
                seen(3).call == seen(5).call);
    assert_int_equal(server_counts(bench.server)->calls, 3);
}

static void different_extents_never_merge(void **state)
{
    (void)state;
    struct shot shots[4];
    for (uint32_t i = 0; i < 4; i++)
        shots[i] = (struct shot){ .body = body_of(i, "t", "", i % 2) };
    bench_round(&bench, shots, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_rows(i, i, 2);
    assert_true(seen(0).call == seen(2).call && seen(1).call == seen(3).call);
}

static void tenants_never_merge_where_rows_depend_on_each_other(void **state)
{
    (void)state;
    struct shot shots[9];
    for (uint32_t i = 0; i < 9; i++)
        shots[i] = of_tenant(i, (uint8_t)(i % 3));
    bench_round(&bench, shots, 9);
    for (uint32_t i = 0; i < 9; i++) {
        assert_rows(i, i, 3);
        assert_true(seen(i).call == seen(i % 3).call);
    }
    assert_int_equal(server_counts(bench.server)->calls, 3);
    assert_int_equal(server_counts(bench.server)->tenants, 0);
}

/* More unlike ones than a batch looks at: all are answered, none twice. */
static void many_that_are_unlike_are_all_answered(void **state)
{
    (void)state;
    static char bodies[200][512];
    struct shot shots[200];
    for (uint32_t i = 0; i < 200; i++) {
        char parameters[32];
        snprintf(parameters, sizeof(parameters), "\"scale\":%u", 1 + i % 40);
        snprintf(bodies[i], sizeof(bodies[i]), "%s", body_of(1, "t", parameters, false));
        shots[i] = (struct shot){ .body = bodies[i], .tenant = (uint8_t)(i % 7) };
    }
    bench_round(&bench, shots, 200);
    for (uint32_t i = 0; i < 200; i++)
        assert_true(seen(i).value == 1 + i % 40);
}

/* ---- failures */

static void a_member_that_is_wrong_never_enters_the_call(void **state)
{
    (void)state;
    struct shot shots[] = { plain(1),
                            plain(MERGER_INVALID),
                            plain(3),
                            { .body = "{\"inputs\"" },
                            with_params(5, "\"scale\":5000"),
                            plain(6) };
    bench_round(&bench, shots, 6);
    assert_rows(0, 1, 3);
    assert_failed(1, MAAS_E_INVALID, "it means nothing");
    assert_rows(2, 3, 3);
    assert_failed(3, MAAS_E_INVALID, "");
    assert_failed(4, MAAS_E_INVALID, "option 'scale' cannot be '5000'");
    assert_string_equal(bench.answers[4].param, "parameters.scale");
    assert_rows(5, 6, 3);
    assert_int_equal(server_counts(bench.server)->calls, 1);
}

static void a_member_that_fails_alone_fails_alone(void **state)
{
    (void)state;
    struct shot shots[] = { plain(1), plain(2), plain(MERGER_REFUSED), plain(4) };
    bench_round(&bench, shots, 4);
    assert_rows(0, 1, 1);
    assert_rows(1, 2, 1);
    assert_failed(2, MAAS_E_INVALID, "not this row");
    assert_rows(3, 4, 1);
    assert_int_equal(server_counts(bench.server)->split, 1);
    shots[2] = plain(3); /* it was a member's fault: the next ones merge again */
    bench_round(&bench, shots, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_rows(i, i + 1, 4);
}

static void a_plugin_that_fails_merged_calls_only_harms_nobody(void **state)
{
    (void)state;
    static const int deeds[] = { MERGER_MERGED_FAILS, MERGER_MERGED_SHAPE, MERGER_MERGED_SILENT };
    for (size_t i = 0; i < COUNT_OF(deeds); i++) {
        if (i) {
            stop(state);
            start(state);
        }
        struct shot shots[] = { plain(1), plain(deeds[i]), plain(3) };
        bench_round(&bench, shots, 3);
        assert_rows(0, 1, 1);
        assert_rows(1, deeds[i], 1);
        assert_rows(2, 3, 1);
        assert_int_equal(server_counts(bench.server)->split, 1);
        bench_round(&bench, shots, 3); /* not tried again at once */
        assert_int_equal(server_counts(bench.server)->split, 1);
        assert_int_equal(server_counts(bench.server)->calls, 7);
        for (int k = 0; k < 64; k++)
            bench_round(&bench, shots, 3);
        assert_in_range(server_counts(bench.server)->split, 2, 3);
    }
}

/* maas.faulty looks at the first row: the leader is the culprit, the others are answered. */
static void each_fault_costs_its_own_member_only(void **state)
{
    static const int faults[] = { FAULTY_WRONG_SHAPE,    FAULTY_WRONG_DTYPE,
                                  FAULTY_UNKNOWN_OUTPUT, FAULTY_EMIT_NOTHING,
                                  FAULTY_EMIT_TWICE,     FAULTY_STATUS_OUT_OF_RANGE,
                                  FAULTY_HUGE_ALLOC,     FAULTY_ERROR_WITHOUT_NUL,
                                  FAULTY_DONE_AND_ERROR, FAULTY_INVALID };
    stop(state);
    bench_load(&bench, PLUGINS "maas.faulty.so", "/", NULL, 0);
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"features\":[%d]}", faults[i]);
        struct shot shots[] = { { .body = body, .surface = SURFACE_REGRESSION },
                                { .body = "{\"features\":[-1.5]}", .surface = SURFACE_REGRESSION },
                                { .body = "{\"features\":[[-2],[-3]]}",
                                  .surface = SURFACE_REGRESSION } };
        bench_round(&bench, shots, 3);
        if (bench.answers[0].frame.status == MAAS_OK)
            fail_msg("fault %d is no failure", faults[i]);
        assert_int_equal(bench.answers[1].frame.status, MAAS_OK);
        assert_non_null(strstr(bench.answers[1].body, "\"prediction\":-1.5"));
        assert_int_equal(bench.answers[2].frame.status, MAAS_OK);
        assert_non_null(strstr(bench.answers[2].body, "{\"prediction\":-2,\"interval\":null},"
                                                      "{\"prediction\":-3,\"interval\":null}"));
    }
    assert_int_equal(server_counts(bench.server)->split, COUNT_OF(faults) - 1);
}

/* ---- deadlines and cancels */

static void what_is_late_is_told_before_it_is_computed(void **state)
{
    (void)state;
    struct shot shots[] = { plain(1), plain(2), plain(3) };
    shots[1].deadline_ns = 1;
    bench_round(&bench, shots, 3);
    assert_rows(0, 1, 2);
    assert_failed(1, MAAS_E_DEADLINE, "passed before");
    assert_false(channel_was_started(bench.channel, 0, bench_job(&bench, 1)));
    assert_rows(2, 3, 2);
    assert_int_equal(server_counts(bench.server)->late, 1);
}

static void a_call_has_its_latest_members_deadline(void **state)
{
    (void)state;
    uint64_t now = clock_mono_ns(), latest = now + 200000000;
    struct shot shots[] = { plain(MERGER_UNTIL_CANCELLED), plain(MERGER_UNTIL_CANCELLED) };
    shots[0].deadline_ns = now + 100000000;
    shots[1].deadline_ns = latest;
    bench_round(&bench, shots, 2);
    assert_true(clock_mono_ns() > latest);
    assert_in_range(server_counts(bench.server)->calls, 0, 1); /* not ended by the other's */
    assert_int_not_equal(bench.answers[0].frame.status, MAAS_OK);
    assert_int_not_equal(bench.answers[1].frame.status, MAAS_OK);
}

/* A row is known to take 20 ms: a batch whose members have 100 ms left does not grow past five. */
static void a_batch_does_not_outgrow_its_members_deadlines(void **state)
{
    (void)state;
    struct shot shots[10] = { plain(MERGER_SLOW) };
    bench_round(&bench, shots, 1);
    uint64_t deadline_ns = clock_mono_ns() + 100000000;
    for (uint32_t i = 0; i < 10; i++) {
        shots[i] = plain(MERGER_SLOW);
        shots[i].deadline_ns = deadline_ns;
    }
    bench_round(&bench, shots, 10);
    assert_in_range(server_counts(bench.server)->rows_most, 0, 5);
    for (uint32_t i = 0; i < 10; i++)
        shots[i].deadline_ns = clock_mono_ns() + 3600000000000ull;
    bench_round(&bench, shots, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_rows(i, MERGER_SLOW, 10);
}

static _Atomic int marked;

static void *cancel_both(void *arg)
{
    (void)arg;
    while (!channel_was_started(bench.channel, 0, bench_job(&bench, 1)))
        usleep(100);
    channel_mark_cancelled(bench.channel, 0, bench_job(&bench, 0));
    marked = 1;
    usleep(20000);
    marked = 2;
    channel_mark_cancelled(bench.channel, 0, bench_job(&bench, 1));
    return NULL;
}

static void a_call_is_cancelled_when_all_its_members_are(void **state)
{
    (void)state;
    pthread_t thread;
    struct shot shots[] = { plain(MERGER_UNTIL_CANCELLED), plain(1) };
    bench.generation = 1;
    bench_send(&bench, 0, &shots[0]);
    bench_send(&bench, 1, &shots[1]);
    assert_int_equal(pthread_create(&thread, NULL, cancel_both, NULL), 0);
    bench_turn(&bench, 2);
    assert_int_equal(marked, 2); /* one of two was not enough */
    pthread_join(thread, NULL);
    assert_failed(0, MAAS_E_CANCELLED, "");
    assert_failed(1, MAAS_E_CANCELLED, "");
}

static void a_mark_can_be_taken_back(void **state)
{
    (void)state;
    channel_mark_started(bench.channel, 0, job_id(7, 1));
    channel_unmark_started(bench.channel, 0, job_id(7, 2)); /* another's */
    assert_true(channel_was_started(bench.channel, 0, job_id(7, 1)));
    channel_unmark_started(bench.channel, 0, job_id(7, 1));
    assert_false(channel_was_started(bench.channel, 0, job_id(7, 1)));
}

/* ---- caps and shares */

static void a_flood_is_refused_at_its_tenants_cap_and_nobody_else(void **state)
{
    (void)state;
    struct shot flood = plain(1), other = of_tenant(2, 2);
    uint32_t refused = 0;
    bench.generation = 1;
    for (uint32_t i = 0; i < 3000; i++)
        bench_send(&bench, i, &flood);
    for (uint32_t i = 3000; i < 3010; i++)
        bench_send(&bench, i, &other);
    bench_turn(&bench, 3010);
    for (uint32_t i = 0; i < 3000; i++)
        refused += bench.answers[i].frame.status == MAAS_E_EXHAUSTED;
    assert_int_equal(refused, 3000 - 1024);
    assert_int_equal(server_counts(bench.server)->refused, refused);
    for (uint32_t i = 3000; i < 3010; i++)
        assert_int_equal(bench.answers[i].frame.status, MAAS_OK);
}

/* 20 answers of 4 MiB: the ring holds three, eight wait, the others are computed again. */
static void answers_that_cannot_wait_are_put_off(void **state)
{
    (void)state;
    struct shot shots[20];
    for (uint32_t i = 0; i < 20; i++)
        shots[i] = with_params(i, "\"mode\":\"large\"");
    bench_round(&bench, shots, 20);
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(seen(i).value == i);
        assert_true(bench.answers[i].frame.body_len > 4u << 20);
    }
    assert_in_range(server_counts(bench.server)->calls, 2, 10);
    assert_int_equal(server_counts(bench.server)->split, 0);
    shots[3] = with_params(MERGER_MERGED_FAILS, "\"mode\":\"large\""); /* likewise one by one */
    bench_round(&bench, shots, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_rows(i, i == 3 ? MERGER_MERGED_FAILS : i, seen(i).rows);
    assert_int_equal(server_counts(bench.server)->split, 1);
}

static void *cancel_when_woken(void *arg)
{
    int *woken = arg;
    struct pollfd fd = { .fd = channel_loop_eventfd(bench.channel, 0), .events = POLLIN };
    *woken = poll(&fd, 1, 10000);
    channel_mark_cancelled(bench.channel, 0, bench_job(&bench, 0));
    channel_mark_cancelled(bench.channel, 0, bench_job(&bench, 2));
    return NULL;
}

/* The call runs until it is cancelled, which happens when the loop is woken for the refusal. */
static void a_refusal_does_not_wait_for_a_long_call(void **state)
{
    (void)state;
    pthread_t thread;
    int woken = 0;
    struct shot shots[] = { plain(MERGER_SLOW), plain(MERGER_INVALID),
                            plain(MERGER_UNTIL_CANCELLED) };
    bench_round(&bench, shots, 1);
    bench_forget(&bench);
    bench.generation++;
    shots[0] = shots[2];
    for (uint32_t i = 0; i < 3; i++)
        bench_send(&bench, i, &shots[i]);
    channel_loop_sleeps(bench.channel, 0, true);
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_woken, &woken), 0);
    bench_turn(&bench, 3);
    pthread_join(thread, NULL);
    assert_int_equal(woken, 1);
    assert_failed(1, MAAS_E_INVALID, "it means nothing");
}

/* Behind a flood, another tenant's request is in the first or second call. */
static void a_batch_is_filled_in_fair_order(void **state)
{
    (void)state;
    static const uint32_t last = 500;
    struct shot flood = plain(1), other = of_tenant(2, 2);
    bench.generation = 1;
    for (uint32_t i = 0; i < last; i++)
        bench_send(&bench, i, &flood);
    bench_send(&bench, last, &other);
    bench_turn(&bench, last + 1);
    assert_true(seen(last).call <= 2);
    assert_true(seen(last - 1).call > 2);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(what_waits_is_one_call),
        cmocka_unit_test_setup_teardown(models_of_one_worker_never_merge, start_two, stop),
        cmocka_unit_test_setup_teardown(a_crowd_at_one_model_does_not_keep_its_sibling_waiting,
                                        start_two, stop),
        cmocka_unit_test_setup_teardown(a_request_for_a_model_that_is_not_there_ends_the_channel,
                                        start_two, stop),
        CASE(a_request_that_is_alone_is_not_held_up),
        CASE(members_keep_their_own_strings),
        CASE(max_rows_bounds_a_call),
        CASE(a_default_that_is_spelled_out_is_the_default),
        CASE(outputs_may_come_one_by_one_and_from_a_thread),
        CASE(different_params_never_merge),
        CASE(different_extents_never_merge),
        cmocka_unit_test_setup_teardown(tenants_never_merge_where_rows_depend_on_each_other,
                                        start_dependent, stop),
        CASE(many_that_are_unlike_are_all_answered),
        CASE(a_member_that_is_wrong_never_enters_the_call),
        CASE(a_member_that_fails_alone_fails_alone),
        CASE(a_plugin_that_fails_merged_calls_only_harms_nobody),
        CASE(each_fault_costs_its_own_member_only),
        CASE(what_is_late_is_told_before_it_is_computed),
        CASE(a_call_has_its_latest_members_deadline),
        CASE(a_batch_does_not_outgrow_its_members_deadlines),
        CASE(a_call_is_cancelled_when_all_its_members_are),
        CASE(a_mark_can_be_taken_back),
        CASE(a_flood_is_refused_at_its_tenants_cap_and_nobody_else),
        CASE(answers_that_cannot_wait_are_put_off),
        CASE(a_refusal_does_not_wait_for_a_long_call),
        CASE(a_batch_is_filled_in_fair_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
