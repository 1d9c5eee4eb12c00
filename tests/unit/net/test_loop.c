/* The loop: timers, posts from other threads, turn hooks, watches, signals. */
#include "net/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

enum { POSTERS = 4, POSTS_EACH = 5000 };

static struct loop *loop;

static int make_loop(void **state)
{
    (void)state;
    return loop_new(7, &loop, NULL) == MAAS_OK ? 0 : -1;
}

static int free_loop(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

/* ---- timers */

static struct timer ender;
static uint64_t ended_ns;

static void on_end(struct timer *timer)
{
    ended_ns = clock_mono_ns();
    loop_stop(timer->loop);
}

static void run_for(uint64_t ms)
{
    ender.fire = on_end;
    timer_start(loop, &ender, ms);
    loop_run(loop);
}

static void a_timer_fires_in_time_and_not_early(void **state)
{
    (void)state;
    const uint64_t start = clock_mono_ns();
    run_for(50);
    const uint64_t took = ended_ns - start;
    assert_in_range(took, 49000000,
                    150000000); /* a turn's clock may be a little old at the start */
    assert_int_equal(ender.due_ns, 0);
}

static unsigned counted;

static void on_count(struct timer *timer)
{
    (void)timer;
    counted++;
}

static void a_stopped_timer_does_not_fire_and_a_moved_one_fires_once(void **state)
{
    (void)state;
    struct timer stopped = { .fire = on_count }, moved = { .fire = on_count };
    counted = 0;
    timer_start(loop, &stopped, 5);
    timer_start(loop, &moved, 5);
    timer_start(loop, &moved, 20);
    timer_stop(&stopped);
    timer_stop(&stopped);
    run_for(10);
    assert_int_equal(counted, 0);
    run_for(30);
    assert_int_equal(counted, 1);
}

static void the_clock_stands_still_within_a_turn(void **state)
{
    (void)state;
    const uint64_t now = loop_now_ns(loop);
    usleep(2000);
    assert_int_equal(loop_now_ns(loop), now);
    run_for(1);
    assert_true(loop_now_ns(loop) > now);
    assert_int_equal(loop_index(loop), 7);
}

/* ---- posts */

struct numbered_post {
    struct loop_post post;
    unsigned poster, number;
};

static unsigned ran, last_of[POSTERS];
static bool in_order;

static void run_numbered(struct loop_post *post)
{
    struct numbered_post *p = (struct numbered_post *)post;
    in_order = in_order && p->number == last_of[p->poster] + 1;
    last_of[p->poster] = p->number;
    if (++ran == POSTERS * POSTS_EACH)
        loop_stop(loop);
    free(p);
}

static void *post_many(void *arg)
{
    const unsigned poster = (unsigned)(uintptr_t)arg;
    for (unsigned i = 1; i <= POSTS_EACH; i++) {
        struct numbered_post *p = calloc(1, sizeof(*p));
        p->post.run = run_numbered;
        p->poster = poster;
        p->number = i;
        loop_post(loop, &p->post);
        if (i % 500 == 0)
            usleep(100); /* let the loop fall asleep now and then */
    }
    return NULL;
}

static void posts_of_many_threads_all_run_in_the_order_of_each(void **state)
{
    (void)state;
    pthread_t threads[POSTERS];
    ran = 0;
    in_order = true;
    for (unsigned i = 0; i < POSTERS; i++) {
        last_of[i] = 0;
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)(uintptr_t)i), 0);
    }
    loop_run(loop);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ran, POSTERS * POSTS_EACH);
    assert_true(in_order);
}

static _Atomic uint64_t posted_ns;
static uint64_t woken_ns;

static void run_wake(struct loop_post *post)
{
    (void)post;
    woken_ns = clock_mono_ns();
    loop_stop(loop);
}

static void *post_late(void *arg)
{
    usleep(50000);
    posted_ns = clock_mono_ns();
    loop_post(loop, arg);
    return NULL;
}

static void a_post_wakes_a_sleeping_loop_at_once(void **state)
{
    (void)state;
    pthread_t thread;
    struct loop_post post = { .run = run_wake };
    assert_int_equal(pthread_create(&thread, NULL, post_late, &post), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    assert_in_range(woken_ns - posted_ns, 0, 100000000); /* not the half second of an idle turn */
}

/* ---- turns */

struct turn_log {
    unsigned before, after;
    bool busy;
};

static bool on_before(void *arg)
{
    struct turn_log *log = arg;
    assert_int_equal(log->before, log->after);
    log->before++;
    return log->busy;
}

static void on_after(void *arg)
{
    struct turn_log *log = arg;
    log->after++;
    assert_int_equal(log->before, log->after);
    if (log->busy && log->after == 1000)
        loop_stop(loop);
}

static void turn_hooks_run_in_pairs_and_work_left_means_no_waiting(void **state)
{
    (void)state;
    static struct turn_log log;
    const struct loop_turn turn = { on_before, on_after, &log };
    loop_add_turn(loop, &turn);
    const uint64_t turns = loop_turns(loop);
    log.busy = true;
    const uint64_t start = clock_mono_ns();
    loop_run(loop);
    assert_in_range(clock_mono_ns() - start, 0, 400000000);
    assert_int_equal(loop_turns(loop) - turns, 1000);
    log = (struct turn_log){ 0 };
    run_for(20);
    assert_in_range(log.after, 1, 10); /* it slept */
}

static void on_alarm(int signal)
{
    (void)signal;
}

static void a_signal_does_not_end_the_loop(void **state)
{
    (void)state;
    const struct sigaction action = { .sa_handler = on_alarm };
    const struct itimerval every = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
    const uint64_t start = clock_mono_ns();
    run_for(60);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_true(ended_ns - start > 59000000);
}

/* ---- watches */

struct pipe_watch {
    int ends[2];
    struct watch *watch;
    unsigned readable, writable;
    bool free_in_callback;
};

static void on_readable(void *arg)
{
    struct pipe_watch *p = arg;
    char bytes[8];
    p->readable++;
    if (p->free_in_callback) {
        watch_free(p->watch);
        p->watch = NULL;
        return;
    }
    assert_true(read(p->ends[0], bytes, sizeof(bytes)) > 0);
}

static void on_writable(void *arg)
{
    ((struct pipe_watch *)arg)->writable++;
}

static void open_watch(struct pipe_watch *p)
{
    static const struct watch_ops ops = { on_readable, on_writable };
    *p = (struct pipe_watch){ 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->ends), 0);
    assert_int_equal(watch_new(loop, p->ends[0], &ops, p, &p->watch, NULL), MAAS_OK);
}

static void close_watch(struct pipe_watch *p)
{
    watch_free(p->watch);
    assert_int_equal(close(p->ends[0]), 0); /* still ours: the watch closed only its own copy */
    assert_int_equal(close(p->ends[1]), 0);
    run_for(1);
}

static void a_watch_says_when_to_read_and_only_when_asked(void **state)
{
    (void)state;
    struct pipe_watch p;
    open_watch(&p);
    assert_int_equal(write(p.ends[1], "x", 1), 1);
    run_for(5);
    assert_int_equal(p.readable, 0);
    watch_want_read(p.watch, true);
    run_for(5);
    assert_int_equal(p.readable, 1);
    watch_want_read(p.watch, false);
    assert_int_equal(write(p.ends[1], "x", 1), 1);
    run_for(5);
    assert_int_equal(p.readable, 1);
    close_watch(&p);
}

static void a_watch_says_once_that_it_is_writable(void **state)
{
    (void)state;
    struct pipe_watch p;
    open_watch(&p);
    watch_want_write(p.watch, true);
    run_for(5);
    run_for(5);
    assert_int_equal(p.writable, 1);
    watch_want_write(p.watch, true);
    watch_want_write(p.watch, false);
    run_for(5);
    assert_int_equal(p.writable, 1);
    watch_want_write(p.watch, true);
    watch_want_write(p.watch, false);
    watch_want_write(p.watch, true);
    run_for(5);
    assert_int_equal(p.writable, 2);
    close_watch(&p);
}

static void a_callback_may_free_its_watch(void **state)
{
    (void)state;
    struct pipe_watch p;
    open_watch(&p);
    p.free_in_callback = true;
    watch_want_read(p.watch, true);
    watch_want_write(p.watch, true);
    assert_int_equal(write(p.ends[1], "x", 1), 1);
    run_for(5);
    assert_int_equal(p.readable, 1);
    close_watch(&p);
}

static void a_watch_of_a_bad_descriptor_fails(void **state)
{
    (void)state;
    static const struct watch_ops ops = { on_readable, on_writable };
    struct watch *watch = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(watch_new(loop, -1, &ops, NULL, &watch, &error), MAAS_E_INTERNAL);
    assert_null(watch);
    assert_true(error.text[0] != '\0');
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, free_loop)
    const struct CMUnitTest tests[] = {
        TEST(a_timer_fires_in_time_and_not_early),
        TEST(a_stopped_timer_does_not_fire_and_a_moved_one_fires_once),
        TEST(the_clock_stands_still_within_a_turn),
        TEST(posts_of_many_threads_all_run_in_the_order_of_each),
        TEST(a_post_wakes_a_sleeping_loop_at_once),
        TEST(turn_hooks_run_in_pairs_and_work_left_means_no_waiting),
        TEST(a_signal_does_not_end_the_loop),
        TEST(a_watch_says_when_to_read_and_only_when_asked),
        TEST(a_watch_says_once_that_it_is_writable),
        TEST(a_callback_may_free_its_watch),
        TEST(a_watch_of_a_bad_descriptor_fails),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
