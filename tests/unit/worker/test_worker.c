/*
 * The real maas-worker with a real plugin behind a real channel: answers, refusals, cancelling,
 * deadlines, full rings, and a plugin that dies.
 */
#include "host.h"
#include "probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct host worker;

static void worker_start(const char *plugin, const char *options)
{
    host_start(&worker, plugin, options);
}

static int worker_wait(void)
{
    return host_wait(&worker);
}

static int start(void **state)
{
    (void)state;
    worker_start(PROBE_SO, "{}");
    return strncmp(worker.ready, "ready ", 6) == 0 ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&worker);
    return 0;
}

static bool send_of(uint8_t tenant, uint32_t loop, uint64_t job, const char *body,
                    uint64_t deadline_ns)
{
    return host_send_of(&worker, tenant, loop, job, body, deadline_ns);
}

static bool send_frame(uint32_t loop, uint64_t job, const char *body, uint64_t deadline_ns)
{
    return send_of(1, loop, job, body, deadline_ns);
}

static void submit(uint32_t loop, uint64_t job, const char *body)
{
    host_submit(&worker, loop, job, body);
}

static bool receive(uint32_t loop, struct answer *out, int timeout_ms)
{
    return host_receive(&worker, loop, out, timeout_ms);
}

static struct answer ask(uint32_t loop, uint64_t job, const char *body)
{
    return host_ask(&worker, loop, job, body);
}

static void the_ready_line_names_the_sandbox(void **state)
{
    (void)state;
    assert_non_null(strstr(worker.ready, "ready sandbox=rlimits"));
    assert_non_null(strstr(worker.ready, "seccomp"));
    if (!MAAS_SANITIZED)
        assert_non_null(strstr(worker.ready, ",sealed\n"));
}

static void a_request_gets_its_answer(void **state)
{
    (void)state;
    struct answer a = ask(0, job_id(1, 1), "{\"features\":[21,0]}");
    assert_int_equal(a.frame.status, MAAS_OK);
    assert_int_equal(a.frame.content, CONTENT_JSON);
    assert_int_equal(a.frame.rows, 1);
    assert_string_equal(a.body, "{\"model\":\"probe\",\"version\":\"1\",\"prediction\":42,"
                                "\"interval\":null}");
    assert_true(channel_was_started(worker.channel, 0, job_id(1, 1)));
    a = ask(1, job_id(1, 1), "{\"features\":[[1,0],[2,0]]}");
    assert_int_equal(a.frame.rows, 2);
    assert_string_equal(a.body, "{\"model\":\"probe\",\"version\":\"1\",\"results\":["
                                "{\"prediction\":2,\"interval\":null},"
                                "{\"prediction\":4,\"interval\":null}]}");
}

static void refusals_name_the_field_and_the_reason(void **state)
{
    (void)state;
    struct answer a = ask(0, job_id(2, 1), "{\"features\":[1,\"x\"]}");
    assert_int_equal(a.frame.status, MAAS_E_INVALID);
    assert_string_equal(a.param, "features[1]");
    assert_non_null(strstr(a.text, "must be a number"));
    assert_int_equal(a.frame.rows, 0);
    assert_int_equal(a.frame.body_len, 0);
    a = ask(0, job_id(3, 1), "{\"features\":[677,0]}"); /* PROBE_REFUSE */
    assert_int_equal(a.frame.status, MAAS_E_INVALID);
    assert_string_equal(a.text, "the probe does not like this row");
    a = ask(0, job_id(4, 1), "{\"features\"");
    assert_int_equal(a.frame.status, MAAS_E_INVALID);
}

static void a_passed_deadline_is_told_without_inference(void **state)
{
    (void)state;
    struct answer a;
    assert_true(send_frame(0, job_id(5, 1), "{\"features\":[1,2]}", clock_mono_ns() - 1));
    channel_wake_worker(worker.channel);
    assert_true(receive(0, &a, 20000));
    assert_int_equal(a.frame.status, MAAS_E_DEADLINE);
    assert_false(channel_was_started(worker.channel, 0, job_id(5, 1)));
}

static void a_cancelled_request_is_not_begun_and_a_running_one_sees_it(void **state)
{
    (void)state;
    struct answer a;
    channel_mark_cancelled(worker.channel, 0, job_id(6, 1));
    a = ask(0, job_id(6, 1), "{\"features\":[1,2]}");
    assert_int_equal(a.frame.status, MAAS_E_CANCELLED);
    assert_false(channel_was_started(worker.channel, 0, job_id(6, 1)));
    submit(0, job_id(6, 2), "{\"features\":[676,0]}"); /* PROBE_WAIT */
    while (!channel_was_started(worker.channel, 0, job_id(6, 2)))
        usleep(100);
    assert_false(receive(0, &a, 20));
    channel_mark_cancelled(worker.channel, 0, job_id(6, 2));
    assert_true(receive(0, &a, 20000));
    assert_int_equal(a.frame.status, MAAS_E_CANCELLED);
}

static void a_cancel_frame_sets_the_mark(void **state)
{
    (void)state;
    struct submit_frame frame = { .kind = SUBMIT_CANCEL, .job = job_id(8, 1) };
    const struct channel_part part = { &frame, sizeof(frame) };
    assert_true(channel_submit(worker.channel, 0, &part, 1));
    struct answer a = ask(0, job_id(8, 1), "{\"features\":[1,2]}");
    assert_int_equal(a.frame.status, MAAS_E_CANCELLED);
}

static void frames_that_are_none_are_dropped(void **state)
{
    (void)state;
    struct submit_frame frame = { .kind = SUBMIT_INFER, .job = job_id(9, 1), .body_len = 1000 };
    const struct channel_part lie = { &frame, sizeof(frame) }, stub = { &frame, 10 };
    assert_true(channel_submit(worker.channel, 0, &lie, 1));
    assert_true(channel_submit(worker.channel, 0, &stub, 1));
    struct answer a = ask(0, job_id(10, 1), "{\"features\":[1,2]}");
    assert_int_equal(a.frame.status, MAAS_OK);
}

static void answers_wait_in_order_for_a_full_ring(void **state)
{
    (void)state;
    struct answer a;
    uint32_t sent = 0;
    while (sent < 300 && send_frame(0, job_id(sent, 7), "{\"features\":[1,2]}", 0))
        sent++;
    assert_in_range(sent, 200, 300); /* far more answers than 4 KiB of ring hold */
    channel_wake_worker(worker.channel);
    usleep(50000);
    for (uint32_t i = 0; i < sent; i++) {
        assert_true(receive(0, &a, 20000));
        assert_int_equal(a.frame.job, job_id(i, 7));
        assert_int_equal(a.frame.status, MAAS_OK);
    }
    assert_false(receive(0, &a, 10));
}

static void an_answer_too_large_for_the_ring_is_refused(void **state)
{
    (void)state;
    char body[2000];
    int at = snprintf(body, sizeof(body), "{\"features\":[");
    for (int i = 0; i < 150; i++)
        at += snprintf(body + at, sizeof(body) - (size_t)at, i ? ",[1,2]" : "[1,2]");
    snprintf(body + at, sizeof(body) - (size_t)at, "]}");
    struct answer a = ask(0, job_id(11, 1), body);
    assert_int_equal(a.frame.status, MAAS_E_EXHAUSTED);
    assert_non_null(strstr(a.text, "larger than"));
}

/* Three tenants' jobs (the probe does not declare independent rows: they never merge). The one that
 * killed it is marked as started, the one behind it is not. */
static void dies(int deed, int signal_number)
{
    char body[64];
    snprintf(body, sizeof(body), "{\"features\":[%d,0]}", deed);
    assert_true(send_of(1, 0, job_id(20, 1), "{\"features\":[1,2]}", 0));
    assert_true(send_of(2, 0, job_id(21, 1), body, 0));
    assert_true(send_of(3, 0, job_id(22, 1), "{\"features\":[1,2]}", 0));
    channel_wake_worker(worker.channel);
    int status = worker_wait();
    if (signal_number)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    else
        assert_true(WIFSIGNALED(status) || WIFEXITED(status));
    assert_true(channel_was_started(worker.channel, 0, job_id(20, 1)));
    assert_true(channel_was_started(worker.channel, 0, job_id(21, 1)));
    assert_false(channel_was_started(worker.channel, 0, job_id(22, 1)));
}

/* Members of a batch share its fate, and the marks say so. */
static void a_crash_takes_its_whole_batch(void **state)
{
    (void)state;
    assert_true(send_frame(0, job_id(20, 1), "{\"features\":[1,2]}", 0));
    assert_true(send_frame(0, job_id(21, 1), "{\"features\":[666,2]}", 0)); /* PROBE_ABORT */
    assert_true(send_frame(0, job_id(22, 1), "{\"features\":[1,2]}", 0));
    assert_true(send_of(2, 0, job_id(23, 1), "{\"features\":[1,2]}", 0));
    channel_wake_worker(worker.channel);
    (void)worker_wait();
    for (uint32_t slot = 20; slot < 23; slot++)
        assert_true(channel_was_started(worker.channel, 0, job_id(slot, 1)));
    assert_false(channel_was_started(worker.channel, 0, job_id(23, 1)));
}

static void abort_in_a_plugin_ends_the_worker_and_marks_tell_the_job(void **state)
{
    (void)state;
    dies(PROBE_ABORT, SIGABRT);
}

static void a_null_pointer_ends_the_worker(void **state)
{
    (void)state;
    dies(PROBE_NULL, MAAS_SANITIZED ? 0 : SIGSEGV);
}

static void exit_in_a_plugin_ends_the_worker(void **state)
{
    (void)state;
    dies(PROBE_EXIT, 0);
}

static void calls_that_leave_the_process_kill_it(void **state)
{
    static const int deeds[] = { PROBE_SOCKET, PROBE_EXEC, PROBE_FORK, PROBE_KILL };
    for (size_t i = 0; i < COUNT_OF(deeds); i++) {
        if (i) {
            stop(state);
            assert_int_equal(start(state), 0);
        }
        dies(deeds[i], SIGSYS);
    }
}

static void after_the_load_no_file_thread_or_code_is_added(void **state)
{
    (void)state;
    if (MAAS_SANITIZED) {
        print_message("skipped: the second filter is off under sanitizers\n");
        skip();
    }
    static const int deeds[] = { PROBE_OPEN, PROBE_THREAD, PROBE_MAPPING };
    for (size_t i = 0; i < COUNT_OF(deeds); i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"features\":[%d,0]}", deeds[i]);
        struct answer a = ask(0, job_id(30, 1 + (uint32_t)i), body);
        assert_int_equal(a.frame.status, MAAS_OK);
        assert_non_null(strstr(a.body, "\"prediction\":0,"));
    }
}

static void landlock_keeps_other_files_closed(void **state)
{
    (void)state;
    if (!strstr(worker.ready, "landlock")) {
        print_message("skipped: this kernel has no Landlock\n");
        skip();
    }
    struct answer a = ask(0, job_id(31, 1), "{\"features\":[673,0]}"); /* PROBE_OPEN */
    assert_non_null(strstr(a.body, "\"prediction\":0,"));
}

static void a_broken_channel_ends_the_worker(void **state)
{
    (void)state;
    struct channel *ch = worker.channel;
    char junk[2000];
    memset(junk, 0xff, sizeof(junk));
    assert_true(pwrite(channel_memfd(ch), junk, 200, 4096 + 64) == 200); /* positions of loop 0 */
    channel_wake_worker(ch);
    kill(worker.pid, SIGCONT);
    submit(1, job_id(40, 1), "{\"features\":[1,2]}");
    int status = worker_wait();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void a_load_that_fails_is_told_in_one_line(void **state)
{
    (void)state;
    worker_start(PROBE_SO, "{\"broken\":1}");
    assert_string_equal(worker.ready, "failed the probe was told to fail\n");
    assert_true(WIFEXITED(worker_wait()));
    channel_free(worker.channel);
    worker_start(PROBE_SO, "broken=1");
    assert_string_equal(worker.ready, "failed the probe was told to fail\n");
    (void)worker_wait();
    channel_free(worker.channel);
    worker_start(MAAS_SOURCE_DIR "/tests/unit/worker/probe.c", "");
    assert_non_null(strstr(worker.ready, "failed plugin"));
}

static void a_file_that_was_exchanged_after_the_gateway_looked_is_not_run(void **state)
{
    (void)state;
    worker.other_file = true;
    worker_start(PROBE_SO, "{}");
    assert_non_null(strstr(worker.ready, "failed plugin"));
    assert_non_null(strstr(worker.ready, "does not have the sha256 that is allowed"));
    assert_true(WIFEXITED(worker_wait()));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(the_ready_line_names_the_sandbox),
        CASE(a_request_gets_its_answer),
        CASE(refusals_name_the_field_and_the_reason),
        CASE(a_passed_deadline_is_told_without_inference),
        CASE(a_cancelled_request_is_not_begun_and_a_running_one_sees_it),
        CASE(a_cancel_frame_sets_the_mark),
        CASE(frames_that_are_none_are_dropped),
        CASE(answers_wait_in_order_for_a_full_ring),
        CASE(an_answer_too_large_for_the_ring_is_refused),
        CASE(a_crash_takes_its_whole_batch),
        CASE(abort_in_a_plugin_ends_the_worker_and_marks_tell_the_job),
        CASE(a_null_pointer_ends_the_worker),
        CASE(exit_in_a_plugin_ends_the_worker),
        CASE(calls_that_leave_the_process_kill_it),
        CASE(after_the_load_no_file_thread_or_code_is_added),
        CASE(landlock_keeps_other_files_closed),
        CASE(a_broken_channel_ends_the_worker),
        cmocka_unit_test_teardown(a_load_that_fails_is_told_in_one_line, stop),
        cmocka_unit_test_teardown(a_file_that_was_exchanged_after_the_gateway_looked_is_not_run,
                                  stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
