/*
 * The real maas-worker with a real plugin behind a real channel: answers, refusals, cancelling,
 * deadlines, full rings, and a plugin that dies.
 */
#include "channel/channel.h"
#include "probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPS 2

struct worker { /* what the gateway knows of one */
    struct channel *channel;
    pid_t pid;
    char ready[256]; /* its line on the ready pipe */
};

struct answer {
    struct complete_frame frame;
    char param[65], text[253], body[4096];
};

static struct worker worker;

static void pass(posix_spawn_file_actions_t *actions, int fd, int target)
{
    assert_int_equal(
        posix_spawn_file_actions_adddup2(actions, fcntl(fd, F_DUPFD_CLOEXEC, 100), target), 0);
}

/* Descriptors 3 memfd, 4 event, 5 ready, 6.. loops, as the gateway passes them. */
static void spawn(const struct channel *ch, int ready, const char *plugin, const char *options,
                  pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    pass(&actions, channel_memfd(ch), 3);
    pass(&actions, channel_worker_eventfd(ch), 4);
    pass(&actions, ready, 5);
    for (uint32_t i = 0; i < LOOPS; i++)
        pass(&actions, channel_loop_eventfd(ch, i), 6 + (int)i);
    char parent[16];
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    const char *argv[] = { MAAS_WORKER,
                           "serve",
                           "--memfd",
                           "3",
                           "--event",
                           "4",
                           "--ready",
                           "5",
                           "--loops",
                           "2",
                           "--loop-events",
                           "6,7",
                           "--plugin",
                           plugin,
                           "--root",
                           MAAS_SOURCE_DIR "/tests/unit/worker",
                           "--options",
                           options,
                           "--memory-max",
                           "4294967296",
                           "--parent",
                           parent,
                           NULL };
    union {
        const char **from;
        char *const *to;
    } args = { .from = argv };
    static char *const environment[] = { NULL };
    assert_int_equal(posix_spawn(out_pid, MAAS_WORKER, &actions, NULL, args.to, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int fd = 100; fd < 100 + 3 + LOOPS; fd++)
        close(fd);
}

static void worker_start(const char *plugin, const char *options)
{
    maas_error error = MAAS_ERROR_INIT;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(channel_create(LOOPS, 65536, 4096, &worker.channel, &error), MAAS_OK);
    spawn(worker.channel, pipe_fds[1], plugin, options, &worker.pid);
    close(pipe_fds[1]);
    struct pollfd fd = { .fd = pipe_fds[0], .events = POLLIN };
    assert_int_equal(poll(&fd, 1, 20000), 1);
    ssize_t n = read(pipe_fds[0], worker.ready, sizeof(worker.ready) - 1);
    assert_true(n > 0);
    worker.ready[n] = 0;
    close(pipe_fds[0]);
}

static int worker_wait(void)
{
    int status = 0;
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    worker.pid = 0;
    return status;
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
    if (worker.pid) {
        kill(worker.pid, SIGKILL);
        (void)worker_wait();
    }
    channel_free(worker.channel);
    worker = (struct worker){ 0 };
    return 0;
}

/* ---- the gateway's part */

static bool send_of(uint8_t tenant, uint32_t loop, uint64_t job, const char *body,
                    uint64_t deadline_ns)
{
    struct submit_frame frame = { .kind = SUBMIT_INFER,
                                  .tenant = { { tenant } },
                                  .surface = SURFACE_REGRESSION,
                                  .job = job,
                                  .deadline_ns = deadline_ns,
                                  .max_rows = 1000,
                                  .json_len = UINT32_MAX,
                                  .name_len = 5,
                                  .version_len = 1,
                                  .request_id_len = 3,
                                  .body_len = (uint32_t)strlen(body) };
    const struct channel_part parts[] = {
        { &frame, sizeof(frame) }, { "probe", 5 }, { "1", 1 }, { "r-1", 3 }, { body, strlen(body) }
    };
    return channel_submit(worker.channel, loop, parts, 5);
}

static bool send_frame(uint32_t loop, uint64_t job, const char *body, uint64_t deadline_ns)
{
    return send_of(1, loop, job, body, deadline_ns);
}

static void submit(uint32_t loop, uint64_t job, const char *body)
{
    assert_true(send_frame(loop, job, body, 0));
    channel_wake_worker(worker.channel);
}

static bool take_answer(uint32_t loop, struct answer *out)
{
    size_t len;
    const char *at = channel_peek_complete(worker.channel, loop, &len);
    if (!at)
        return false;
    memset(out, 0, sizeof(*out));
    assert_true(len >= sizeof(out->frame));
    memcpy(&out->frame, at, sizeof(out->frame));
    const struct complete_frame *f = &out->frame;
    assert_int_equal(len, sizeof(*f) + f->param_len + f->text_len + f->body_len);
    assert_true(f->param_len < sizeof(out->param) && f->text_len < sizeof(out->text) &&
                f->body_len < sizeof(out->body));
    at += sizeof(*f);
    memcpy(out->param, at, f->param_len);
    memcpy(out->text, at + f->param_len, f->text_len);
    memcpy(out->body, at + f->param_len + f->text_len, f->body_len);
    channel_consume_complete(worker.channel, loop);
    return true;
}

/* Waits as a loop does; false when nothing came within the time. */
static bool receive(uint32_t loop, struct answer *out, int timeout_ms)
{
    struct pollfd fd = { .fd = channel_loop_eventfd(worker.channel, loop), .events = POLLIN };
    uint64_t count;
    for (;;) {
        if (take_answer(loop, out))
            return true;
        channel_loop_sleeps(worker.channel, loop, true);
        bool there = take_answer(loop, out);
        if (!there && poll(&fd, 1, timeout_ms) != 1)
            return false;
        channel_loop_sleeps(worker.channel, loop, false);
        if (there)
            return true;
        (void)!read(fd.fd, &count, sizeof(count));
    }
}

static struct answer ask(uint32_t loop, uint64_t job, const char *body)
{
    struct answer answer;
    submit(loop, job, body);
    assert_true(receive(loop, &answer, 20000));
    assert_int_equal(answer.frame.job, job);
    return answer;
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
    if (MAAS_SANITIZED)
        skip();
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
    if (!strstr(worker.ready, "landlock"))
        skip();
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
