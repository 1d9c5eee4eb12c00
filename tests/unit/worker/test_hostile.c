/*
 * A plugin that attacks (tests/support/plugins/hostile), in its constructor, in load and in infer,
 * on a kernel with Landlock and on one without. Beside it a sound worker serves the same host all
 * the time: it answers exactly after each deed.
 *
 * What differs is written here and nowhere else: without Landlock a file may be read until the
 * seal, and under sanitizers there is no seal and no limit on memory.
 */
#include "host.h"
#include "hostile/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAGES 3

static struct host sound, worker;
static uint32_t asked;

static void the_other_worker_is_untouched(void)
{
    struct answer a = host_ask(&sound, asked % HOST_LOOPS, job_id(asked % 64, asked + 1),
                               "{\"features\":[21,0]}");
    asked++;
    assert_string_equal(a.body, "{\"model\":\"probe\",\"version\":\"1\",\"prediction\":42,"
                                "\"interval\":null}");
}

static void start_hostile(int stage, int deed)
{
    char options[64];
    snprintf(options, sizeof(options), "{\"stage\":%d,\"deed\":%d}", stage, deed);
    host_start(&worker, HOSTILE_SO, options);
}

/* ---- what kills */

static void dies_of_it(int stage, int deed)
{
    char body[64];
    start_hostile(stage, deed);
    if (stage == HOSTILE_INFER) {
        assert_non_null(strstr(worker.ready, "ready "));
        snprintf(body, sizeof(body), "{\"features\":[%d]}", deed);
        host_submit(&worker, 0, job_id(1, 1), body);
    } else if (worker.ready[0]) {
        fail_msg("stage %d: %s", stage, worker.ready);
    }
    int status = host_wait(&worker);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
        fail_msg("stage %d, deed %d: wait status %x", stage, deed, (unsigned)status);
    assert_int_equal(channel_was_started(worker.channel, 0, job_id(1, 1)), stage == HOSTILE_INFER);
    host_stop(&worker);
    the_other_worker_is_untouched();
}

static void what_leaves_the_process_kills_it_in_every_stage(void **state)
{
    (void)state;
    for (int stage = 0; stage < STAGES; stage++)
        for (int deed = HOSTILE_SOCKET; deed < HOSTILE_KILLED; deed++)
            dies_of_it(stage, deed);
}

/* ---- what is refused */

static bool is_a_refusal(long error)
{
    return error == EPERM || error == EACCES || error == ENOSYS;
}

/* The known gap: without Landlock files may be read while the plugin loads. Writing them may not.
 */
static bool is_allowed(const struct host *host, int stage, int deed)
{
    bool reads = deed == HOSTILE_OPEN_PASSWD || deed == HOSTILE_OPEN_PARENT;
    return reads && host->without_landlock && (stage != HOSTILE_INFER || MAAS_SANITIZED);
}

static void check_refused(int stage, int deed, long error)
{
    if (!is_a_refusal(error) && !is_allowed(&worker, stage, deed))
        fail_msg("stage %d, deed %d: errno %ld", stage, deed, error);
}

static void refused_at_load(int stage, int deed)
{
    int told_deed;
    long error;
    start_hostile(stage, deed);
    if (sscanf(worker.ready, "failed deed %d: errno %ld", &told_deed, &error) != 2)
        fail_msg("stage %d, deed %d: '%s'", stage, deed, worker.ready);
    assert_int_equal(told_deed, deed);
    check_refused(stage, deed, error);
    assert_true(WIFEXITED(host_wait(&worker)));
    host_stop(&worker);
}

static void refused_in_infer(int deed)
{
    char body[64];
    double error;
    snprintf(body, sizeof(body), "{\"features\":[%d]}", deed);
    struct answer a = host_ask(&worker, 0, job_id((uint32_t)deed, 1), body);
    const char *at = strstr(a.body, "\"prediction\":");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"prediction\":%lf", &error), 1);
    check_refused(HOSTILE_INFER, deed, (long)error);
}

static void what_a_library_may_try_is_refused_in_every_stage(void **state)
{
    (void)state;
    for (int stage = 0; stage < HOSTILE_INFER; stage++)
        for (int deed = HOSTILE_OPEN_PASSWD; deed < HOSTILE_REFUSED; deed++)
            refused_at_load(stage, deed);
    start_hostile(HOSTILE_INFER, HOSTILE_NOTHING);
    for (int deed = HOSTILE_OPEN_PASSWD; deed < HOSTILE_REFUSED; deed++)
        refused_in_infer(deed);
    the_other_worker_is_untouched();
    host_stop(&worker);
}

static void ten_gigabytes_are_not_to_be_had(void **state)
{
    (void)state;
    if (MAAS_SANITIZED) { /* they reserve terabytes themselves */
        print_message("skipped: no limit on the address space under sanitizers\n");
        skip();
    }
    for (int stage = 0; stage < HOSTILE_INFER; stage++) {
        start_hostile(stage, HOSTILE_HUGE);
        assert_string_equal(worker.ready, "failed deed 202: errno 12\n");
        host_stop(&worker);
    }
    start_hostile(HOSTILE_INFER, HOSTILE_NOTHING);
    struct answer a = host_ask(&worker, 0, job_id(1, 1), "{\"features\":[202]}");
    assert_non_null(strstr(a.body, "\"prediction\":12,"));
    host_stop(&worker);
}

/* ---- what cannot be denied: it owns one end of the channel */

/* Reads whatever is on the channel as the gateway's loops do, until the worker has ended. */
static void survive(void)
{
    struct answer a;
    char body[32] = "{\"features\":[0]}";
    for (int i = 0; i < 50; i++)
        for (uint32_t loop = 0; loop < HOST_LOOPS; loop++) {
            size_t len;
            (void)host_send(&worker, loop, job_id(5, 1), body, 0);
            channel_wake_worker(worker.channel);
            while (channel_peek_complete(worker.channel, loop, &len)) {
                assert_true(len <= channel_record_max(worker.channel, false));
                channel_consume_complete(worker.channel, loop);
            }
        }
    (void)a;
    the_other_worker_is_untouched();
}

static void who_breaks_its_channel_breaks_nothing_else(int deed)
{
    char body[32];
    for (int stage = 0; stage < STAGES; stage++) {
        start_hostile(stage, deed);
        if (stage == HOSTILE_INFER) {
            snprintf(body, sizeof(body), "{\"features\":[%d]}", deed);
            host_submit(&worker, 0, job_id(5, 1), body);
            while (!channel_was_started(worker.channel, 0, job_id(5, 1)) &&
                   !channel_broken(worker.channel) && waitpid(worker.pid, NULL, WNOHANG) == 0) {
                size_t len; /* the mark may be scribbled over: the ring then is, too */
                if (channel_peek_complete(worker.channel, 0, &len))
                    break;
            }
            usleep(20000);
        }
        survive();
        kill(worker.pid, SIGKILL);
        (void)waitpid(worker.pid, NULL, 0);
        worker.pid = 0;
        host_stop(&worker);
    }
}

static void scribbled_memory_harms_no_reader(void **state)
{
    (void)state;
    who_breaks_its_channel_breaks_nothing_else(HOSTILE_SCRIBBLE);
}

static void guessed_descriptors_are_its_own_alone(void **state)
{
    (void)state;
    who_breaks_its_channel_breaks_nothing_else(HOSTILE_DESCRIPTORS);
}

/* ---- the two kernels */

static int start(void **state)
{
    (void)state;
    worker.without_landlock = *state != NULL;
    host_start(&sound, PROBE_SO, "{}");
    return strstr(sound.ready, "ready ") ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&worker);
    host_stop(&sound);
    return 0;
}

static void the_kernel_is_the_one_that_is_meant(void **state)
{
    start_hostile(HOSTILE_INFER, HOSTILE_NOTHING);
    assert_non_null(strstr(worker.ready, "seccomp"));
    if (*state)
        assert_null(strstr(worker.ready, "landlock"));
    else if (!strstr(worker.ready, "landlock"))
        print_message("this kernel has no Landlock: both runs are without it\n");
    worker.without_landlock = !strstr(worker.ready, "landlock");
    host_stop(&worker);
}

int main(int argc, char **argv)
{
    host_maybe_old_kernel(argc, argv);
    static char yes;
#define BOTH(f)                                                                                    \
    { #f, f, start, stop, NULL },                                                                  \
    {                                                                                              \
#f " (no Landlock)", f, start, stop, &yes                                                  \
    }
    const struct CMUnitTest tests[] = {
        BOTH(the_kernel_is_the_one_that_is_meant),
        BOTH(what_leaves_the_process_kills_it_in_every_stage),
        BOTH(what_a_library_may_try_is_refused_in_every_stage),
        BOTH(ten_gigabytes_are_not_to_be_had),
        BOTH(scribbled_memory_harms_no_reader),
        BOTH(guessed_descriptors_are_its_own_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
