/*
 * The channel with two ends: two threads on one mapping (what TSan can watch), two processes on two
 * mappings, and a peer that scribbles over everything.
 */
#include "channel/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPS 2

static struct channel *channel_made(uint32_t loops, uint32_t bytes)
{
    struct channel *ch = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(channel_create(loops, bytes, bytes, &ch, &error), MAAS_OK);
    return ch;
}

static struct channel *attached(const struct channel *ch)
{
    int fds[CHANNEL_LOOPS_MAX];
    for (uint32_t i = 0; i < channel_loops(ch); i++)
        fds[i] = dup(channel_loop_eventfd(ch, i));
    struct channel *end = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (channel_attach(dup(channel_memfd(ch)), dup(channel_worker_eventfd(ch)), fds,
                       channel_loops(ch), &end, &error) != MAAS_OK)
        fail_msg("%s", error.text);
    return end;
}

/* Waits on an eventfd; false after 10 s, which is a lost wake-up. */
static bool wait_on(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    if (poll(&poll_fd, 1, 10000) != 1)
        return false;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    return true;
}

/* ---- the worker's part of the hammering: echoes until every loop said 0 */
static bool echo_one(struct channel *ch, uint32_t loop, int *left)
{
    size_t len;
    const void *data = channel_peek_submit(ch, loop, &len);
    if (!data)
        return false;
    uint64_t number;
    memcpy(&number, data, sizeof(number));
    const struct channel_part part = { data, len };
    if (!channel_complete(ch, loop, &part, 1))
        return false;
    channel_consume_submit(ch, loop);
    if (number == 0)
        (*left)--;
    return true;
}

static bool echo_all(struct channel *ch, int *left)
{
    bool any = false;
    for (uint32_t loop = 0; loop < channel_loops(ch); loop++) {
        while (echo_one(ch, loop, left))
            any = true;
        channel_wake_loop(ch, loop);
    }
    return any;
}

static int echo_until_done(struct channel *ch)
{
    int left = (int)channel_loops(ch);
    while (left > 0 && !channel_broken(ch)) {
        if (echo_all(ch, &left))
            continue;
        channel_worker_sleeps(ch, true);
        bool any = echo_all(ch, &left);
        if (!any && left > 0 && !wait_on(channel_worker_eventfd(ch)))
            return 1;
        channel_worker_sleeps(ch, false);
    }
    return channel_broken(ch) ? 2 : 0;
}

static void *echo_thread(void *arg)
{
    return (void *)(intptr_t)echo_until_done(arg);
}

/* ---- a loop's part: sends numbers count..0 of varying size, wants them back in order */
struct loop_run {
    struct channel *ch;
    uint32_t loop;
    uint64_t next, expect;
    uint64_t ahead; /* numbers under way at most */
    bool ok;
};

static bool send_some(struct loop_run *run)
{
    uint64_t body[100] = { 0 };
    bool any = false;
    while (run->next != UINT64_MAX && run->expect - run->next < run->ahead) {
        body[0] = run->next;
        const struct channel_part part = { body, 8 + run->next * 7 % 700 };
        if (!channel_submit(run->ch, run->loop, &part, 1))
            break;
        run->next--;
        any = true;
    }
    channel_wake_worker(run->ch);
    return any;
}

static bool receive_some(struct loop_run *run)
{
    size_t len;
    const void *data;
    bool any = false;
    while ((data = channel_peek_complete(run->ch, run->loop, &len)) != NULL) {
        uint64_t number;
        memcpy(&number, data, sizeof(number));
        if (number != run->expect || len != 8 + number * 7 % 700)
            return false;
        run->expect--;
        channel_consume_complete(run->ch, run->loop);
        any = true;
    }
    return any;
}

static void *loop_thread(void *arg)
{
    struct loop_run *run = arg;
    while (run->expect != UINT64_MAX && !channel_broken(run->ch)) {
        bool any = send_some(run);
        if (receive_some(run) || any)
            continue;
        channel_loop_sleeps(run->ch, run->loop, true);
        if (!receive_some(run) && !send_some(run) && run->expect != UINT64_MAX &&
            !wait_on(channel_loop_eventfd(run->ch, run->loop)))
            return NULL;
        channel_loop_sleeps(run->ch, run->loop, false);
    }
    run->ok = !channel_broken(run->ch);
    return NULL;
}

static void run_loops(struct channel *ch, uint64_t count, uint64_t ahead)
{
    pthread_t threads[LOOPS];
    struct loop_run runs[LOOPS];
    for (uint32_t i = 0; i < channel_loops(ch); i++) {
        runs[i] = (struct loop_run){
            .ch = ch, .loop = i, .next = count, .expect = count, .ahead = ahead
        };
        assert_int_equal(pthread_create(&threads[i], NULL, loop_thread, &runs[i]), 0);
    }
    for (uint32_t i = 0; i < channel_loops(ch); i++) {
        pthread_join(threads[i], NULL);
        assert_true(runs[i].ok);
    }
}

static void threads_that_sleep_and_wake_lose_nothing(void **state)
{
    (void)state;
    struct channel *ch = channel_made(LOOPS, 4096);
    pthread_t worker;
    assert_int_equal(pthread_create(&worker, NULL, echo_thread, ch), 0);
    run_loops(ch, 30000, 20);
    void *result = NULL;
    pthread_join(worker, &result);
    assert_null(result);
    channel_free(ch);
}

static void processes_that_sleep_and_wake_lose_nothing(void **state)
{
    (void)state;
    struct channel *ch = channel_made(LOOPS, 8192);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(echo_until_done(attached(ch)));
    run_loops(ch, 30000, 20);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    channel_free(ch);
}

/* Sender and sleeper start each round together: either the sleeper sees the record or the sender
 * sees the sleeper. Without the fences of channel.c some of the rounds have neither. */
#define ROUNDS 100000

struct race {
    struct channel *ch;
    atomic_uint arrived;
    bool seen;
};

static void meet(struct race *race, unsigned count)
{
    atomic_fetch_add(&race->arrived, 1);
    for (int spins = 0; atomic_load(&race->arrived) < count; spins++)
        if (spins > 1000)
            sched_yield();
}

static void *sleeper_thread(void *arg)
{
    struct race *race = arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t len;
        meet(race, 4 * round + 2);
        channel_worker_sleeps(race->ch, true);
        race->seen = channel_peek_submit(race->ch, 0, &len) != NULL;
        meet(race, 4 * round + 4);
    }
    return NULL;
}

static void a_sender_and_a_sleeper_never_miss_each_other(void **state)
{
    (void)state;
    struct race race = { .ch = channel_made(1, 4096) };
    const struct channel_part part = { "x", 1 };
    pthread_t sleeper;
    assert_int_equal(pthread_create(&sleeper, NULL, sleeper_thread, &race), 0);
    int missed = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t signals;
        size_t len;
        meet(&race, 4 * round + 2);
        (void)channel_submit(race.ch, 0, &part, 1);
        channel_wake_worker(race.ch);
        meet(&race, 4 * round + 4);
        bool woken = read(channel_worker_eventfd(race.ch), &signals, sizeof(signals)) > 0;
        missed += !race.seen && !woken;
        channel_worker_sleeps(race.ch, false);
        if (channel_peek_submit(race.ch, 0, &len))
            channel_consume_submit(race.ch, 0);
    }
    pthread_join(sleeper, NULL);
    assert_int_equal(missed, 0);
    channel_free(race.ch);
}

static void nobody_is_signalled_who_does_not_sleep(void **state)
{
    (void)state;
    struct channel *ch = channel_made(1, 4096);
    struct pollfd fd = { .fd = channel_worker_eventfd(ch), .events = POLLIN };
    channel_wake_worker(ch);
    assert_int_equal(poll(&fd, 1, 0), 0);
    channel_worker_sleeps(ch, true);
    channel_wake_worker(ch);
    channel_wake_worker(ch);
    uint64_t count = 0;
    assert_int_equal(read(fd.fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    channel_free(ch);
}

static void marks_belong_to_one_generation_of_a_slot(void **state)
{
    (void)state;
    struct channel *ch = channel_made(LOOPS, 4096);
    struct channel *worker = attached(ch);
    uint64_t job = job_id(17, 3);
    channel_mark_started(worker, 1, job);
    assert_true(channel_was_started(ch, 1, job));
    assert_false(channel_was_started(ch, 0, job));
    assert_false(channel_was_started(ch, 1, job_id(17, 4)));
    channel_mark_cancelled(ch, 0, job);
    assert_true(channel_is_cancelled(worker, 0, job));
    assert_false(channel_is_cancelled(worker, 1, job));
    channel_mark_started(worker, 0, job_id(UINT32_MAX, 1)); /* an absurd slot stays in the table */
    channel_free(worker);
    channel_free(ch);
}

static void the_memory_is_sealed_against_resizing(void **state)
{
    (void)state;
    struct channel *ch = channel_made(1, 4096);
    assert_int_equal(ftruncate(channel_memfd(ch), 0), -1);
    assert_int_equal(ftruncate(channel_memfd(ch), 1 << 30), -1);
    assert_int_equal(fcntl(channel_memfd(ch), F_ADD_SEALS, F_SEAL_WRITE), -1);
    channel_free(ch);
}

static void refuse_attach(int memfd, const char *why)
{
    struct channel *end = NULL;
    maas_error error = MAAS_ERROR_INIT;
    int loops[1] = { -1 };
    assert_int_equal(channel_attach(memfd, -1, loops, 1, &end, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, why));
}

static void attach_refuses_what_is_no_channel(void **state)
{
    (void)state;
    refuse_attach(-1, "no channel");
    int fd = memfd_create("not-sealed", MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    refuse_attach(fd, "not sealed");
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    refuse_attach(fd, "wrong geometry");
    close(fd);

    struct channel *ch = channel_made(2, 4096);
    refuse_attach(channel_memfd(ch), "wrong geometry"); /* of two loops, asked for one */
    channel_free(ch);

    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(channel_create(1, 5000, 4096, &ch, &error), MAAS_E_INVALID);
    assert_int_equal(channel_create(65, 4096, 4096, &ch, &error), MAAS_E_INVALID);
}

static uint32_t random_step(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* The gateway's end reads and writes while a hostile worker overwrites all of the shared memory:
 * every access stays inside (a stray one would fault or be reported), and the channel is condemned.
 */
static void a_scribbling_worker_only_breaks_its_own_channel(void **state)
{
    (void)state;
    int broken = 0;
    for (uint32_t round = 1; round <= 60; round++) {
        struct channel *ch = channel_made(1, 4096);
        struct stat st;
        assert_int_equal(fstat(channel_memfd(ch), &st), 0);
        uint8_t *evil = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                             channel_memfd(ch), 0);
        assert_true(evil != MAP_FAILED);
        uint32_t random = round * 2654435761u;
        for (int i = 0; i < 2000; i++) {
            uint64_t lie = random_step(&random) % 3 ? random_step(&random) % 8192
                                                    : (uint64_t)random_step(&random) << 32;
            memcpy(evil + random_step(&random) % (uint32_t)(st.st_size - 8) / 8 * 8, &lie, 8);
            memcpy(evil + 4096 + random_step(&random) % 64 * 8, &lie, 8); /* flags, positions */
            char body[900] = { 0 };
            const struct channel_part part = { body, random_step(&random) % sizeof(body) };
            (void)channel_submit(ch, 0, &part, 1);
            channel_wake_worker(ch);
            size_t len;
            const void *data = channel_peek_complete(ch, 0, &len);
            if (data) {
                assert_true(len <= channel_record_max(ch, false));
                char *copy = malloc(len + 1);
                assert_non_null(copy);
                memcpy(copy, data, len);
                free(copy);
                channel_consume_complete(ch, 0);
            }
        }
        broken += channel_broken(ch);
        munmap(evil, (size_t)st.st_size);
        channel_free(ch);
    }
    assert_true(broken > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_that_sleep_and_wake_lose_nothing),
        cmocka_unit_test(threads_that_sleep_and_wake_lose_nothing),
        cmocka_unit_test(a_sender_and_a_sleeper_never_miss_each_other),
        cmocka_unit_test(nobody_is_signalled_who_does_not_sleep),
        cmocka_unit_test(marks_belong_to_one_generation_of_a_slot),
        cmocka_unit_test(the_memory_is_sealed_against_resizing),
        cmocka_unit_test(attach_refuses_what_is_no_channel),
        cmocka_unit_test(a_scribbling_worker_only_breaks_its_own_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
