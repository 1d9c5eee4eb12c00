/*
 * channel.c: what the hand-over between an event loop and a worker costs. Two programs answer:
 *
 *     channel   a process that sends each record back as it came: the rings and the wake-ups alone
 *     worker    maas-worker with the echo plugin: 1 KB of JSON decoded, inferred, encoded
 *               (a text; worker_numbers: 300 numbers)
 *
 * and three ways to wait for them, each a median over many round trips of 1 KB:
 *
 *     one_core    both on CPU 0; who has nothing to do sleeps
 *     two_cores   on CPU 0 and 1; this side looks at the ring all the time, the other spins
 *     from_sleep  on CPU 0 and 1, a pause before each request: both sleep when it comes
 *
 *                 (wake_ups: the same with two eventfds and nothing else, the machine's own share)
 *
 * Beside it: 16 requests in flight, the worker's CPU time a request (with both on one core, where
 * it never spins), and what an idle worker uses.
 *
 * usage: maas-bench-channel BUILD_DIR [--quick]     prints "name value" a line
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

enum { BODY = 1024, NUMBERS = 300, DEPTH = 16, SPIN_NS = 20000 };

static size_t turns = 20000, naps = 1000;

/* ---- the raw echo: what serve.c does when there is nothing to do but copying */

static bool echo_all(struct channel *ch)
{
    const void *at;
    size_t len;
    bool any = false;
    for (; (at = channel_peek_submit(ch, 0, &len)) != NULL; any = true) {
        const struct channel_part part = { at, len };
        if (!channel_complete(ch, 0, &part, 1))
            return any;
        channel_consume_submit(ch, 0);
    }
    return any;
}

static bool echo_spin(struct channel *ch)
{
    for (uint64_t until = clock_mono_ns() + SPIN_NS; clock_mono_ns() < until;)
        if (echo_all(ch))
            return true;
    return false;
}

static void echo_sleep(struct channel *ch)
{
    struct pollfd fd = { .fd = channel_worker_eventfd(ch), .events = POLLIN };
    uint64_t count;
    size_t len;
    channel_worker_sleeps(ch, true);
    if (!channel_peek_submit(ch, 0, &len) && poll(&fd, 1, -1) > 0)
        (void)!read(fd.fd, &count, sizeof(count));
    channel_worker_sleeps(ch, false);
}

static pid_t echo_start(struct channel *ch, int cpu, bool spins)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    for (;;) {
        bool any = echo_all(ch);
        channel_wake_loop(ch, 0);
        if (!any && !(spins && echo_spin(ch)))
            echo_sleep(ch);
        else if (!any)
            channel_wake_loop(ch, 0);
    }
}

/* ---- the two peers behind one table */

struct peer {
    const char *name, *options; /* of the echo plugin; NULL: the raw echo */
    struct str body;
    struct channel *channel;
    struct bench_worker worker; /* pid of the raw echo, too */
};

static void send_one(struct peer *p, uint32_t slot)
{
    const struct channel_part part = { p->body.data, p->body.len };
    if (!p->options ? !channel_submit(p->channel, 0, &part, 1)
                    : !bench_send(&p->worker, slot, 1, p->body))
        bench_fail("the ring is full");
}

static bool take_one(struct peer *p)
{
    struct complete_frame frame;
    size_t len;
    if (p->options)
        return bench_take(&p->worker, &frame);
    const void *at = channel_peek_complete(p->channel, 0, &len);
    if (!at)
        return false;
    if (len != p->body.len || memcmp(at, p->body.data, len) != 0)
        bench_fail("the record came back changed");
    channel_consume_complete(p->channel, 0);
    return true;
}

static void wait_busy(struct peer *p)
{
    while (!take_one(p))
        ;
}

static void wait_asleep(struct peer *p)
{
    bench_await(p->channel);
    (void)take_one(p);
}

/* The median of single round trips, us. */
static double round_trips(struct peer *p, void (*wait)(struct peer *), size_t count, useconds_t nap)
{
    double *took = malloc(count * sizeof(*took));
    if (!took)
        bench_fail("no memory");
    for (size_t i = 0; i < count; i++) {
        if (nap)
            usleep(nap);
        uint64_t start = clock_mono_ns();
        send_one(p, 0);
        channel_wake_worker(p->channel);
        wait(p);
        took[i] = (double)(clock_mono_ns() - start) / 1000;
    }
    double median = bench_quantile(took, count, 0.5);
    free(took);
    return median;
}

/* us a request with DEPTH in flight all the time. */
static double in_flight(struct peer *p, bool asleep)
{
    size_t sent = 0, taken = 0;
    uint64_t start = clock_mono_ns();
    while (taken < turns) {
        for (; sent < turns && sent < taken + DEPTH; sent++)
            send_one(p, (uint32_t)(sent % DEPTH));
        channel_wake_worker(p->channel);
        if (asleep)
            bench_await(p->channel);
        while (take_one(p))
            taken++;
    }
    return (double)(clock_mono_ns() - start) / 1000 / (double)turns;
}

static void peer_start(struct peer *p, const char *build, int cpu)
{
    maas_error error = MAAS_ERROR_INIT;
    if (p->options) {
        bench_worker_start(&p->worker, build, p->options, cpu);
        p->channel = p->worker.channel;
    } else if (channel_create(1, 1 << 20, 1 << 20, &p->channel, &error)) {
        bench_fail(error.text);
    } else {
        p->worker.channel = p->channel;
        p->worker.pid = echo_start(p->channel, cpu, cpu != sched_getcpu());
    }
    (void)round_trips(p, wait_asleep, 2000, 0); /* warm */
}

static void print(const struct peer *p, const char *name, double value)
{
    printf("%s.%s %.3f\n", p->name, name, value);
}

static void bench_one_core(struct peer *p, const char *build)
{
    peer_start(p, build, 0);
    print(p, "one_core.us", round_trips(p, wait_asleep, turns, 0));
    uint64_t start = bench_worker_cpu_ns(&p->worker);
    (void)round_trips(p, wait_asleep, turns, 0);
    uint64_t alone = bench_worker_cpu_ns(&p->worker) - start;
    print(p, "one_core_16.us", in_flight(p, true));
    uint64_t deep = bench_worker_cpu_ns(&p->worker) - start - alone;
    print(p, "cpu_us_a_request", (double)alone / 1000 / (double)turns);
    print(p, "cpu_us_a_request_16", (double)deep / 1000 / (double)turns);
    bench_worker_stop(&p->worker);
}

static void bench_two_cores(struct peer *p, const char *build)
{
    peer_start(p, build, 1);
    print(p, "two_cores.us", round_trips(p, wait_busy, turns, 0));
    print(p, "two_cores_16.us", in_flight(p, false));
    print(p, "from_sleep.us", round_trips(p, wait_asleep, naps, 1000));
    bench_worker_stop(&p->worker);
}

/* What two wake-ups cost on this machine whatever is built on them: two eventfds, nothing else. */
static void bench_floor(void)
{
    double *took = malloc(naps * sizeof(*took));
    int there = eventfd(0, EFD_CLOEXEC), back = eventfd(0, EFD_CLOEXEC);
    uint64_t value = 1;
    pid_t pid = took && there >= 0 && back >= 0 ? fork() : -1;
    if (pid < 0)
        bench_fail("no memory, descriptor or process");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_pin(1);
        while (read(there, &value, sizeof(value)) > 0 && write(back, &value, sizeof(value)) > 0)
            ;
        _exit(1);
    }
    for (size_t i = 0; i < naps; i++) {
        usleep(1000);
        uint64_t start = clock_mono_ns();
        if (write(there, &value, sizeof(value)) < 0 || read(back, &value, sizeof(value)) < 0)
            bench_fail("an eventfd failed");
        took[i] = (double)(clock_mono_ns() - start) / 1000;
    }
    printf("wake_ups.us %.3f\n", bench_quantile(took, naps, 0.5));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    free(took);
    close(there);
    close(back);
}

/* A worker that may spin, left alone. */
static void bench_idle(struct peer *p, const char *build)
{
    peer_start(p, build, 1);
    usleep(200000);
    uint64_t cpu = bench_worker_cpu_ns(&p->worker), switches = bench_worker_switches(&p->worker);
    sleep(2);
    print(p, "idle.cpu_us", (double)(bench_worker_cpu_ns(&p->worker) - cpu) / 1000);
    print(p, "idle.wake_ups", (double)(bench_worker_switches(&p->worker) - switches));
    bench_worker_stop(&p->worker);
}

/* A v2 body of 1 KB around one text. */
static struct str make_text(void)
{
    static char body[BODY];
    static const char head[] = "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"BYTES\","
                               "\"shape\":[1,1],\"data\":[\"",
                      tail[] = "\"]}]}";
    memset(body, 'x', sizeof(body));
    memcpy(body, head, sizeof(head) - 1);
    memcpy(body + sizeof(body) - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
    return (struct str){ body, sizeof(body) };
}

/* A v2 body of as many numbers as make 1 KB. */
static struct str make_numbers(void)
{
    static char body[BODY + 256];
    int len = snprintf(body, sizeof(body),
                       "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"UINT8\",\"shape\":[1,%d],"
                       "\"data\":[",
                       NUMBERS);
    for (int i = 0; i < NUMBERS; i++)
        len += snprintf(body + len, sizeof(body) - (size_t)len, "%s%d", i ? "," : "", i * 37 % 100);
    len += snprintf(body + len, sizeof(body) - (size_t)len, "]}]}");
    return (struct str){ body, (size_t)len };
}

int main(int argc, char **argv)
{
    static char bytes[BODY];
    memset(bytes, 'x', sizeof(bytes));
    struct peer raw = { .name = "channel", .body = { bytes, sizeof(bytes) } };
    struct peer text = { .name = "worker",
                         .options = "{\"dtype\":\"BYTES\"}",
                         .body = make_text() };
    struct peer numbers = { .name = "worker_numbers",
                            .options = "{\"dtype\":\"UINT8\"}",
                            .body = make_numbers() };
    if (argc < 2)
        return fprintf(stderr, "usage: maas-bench-channel BUILD_DIR [--quick]\n"), 2;
    if (argc > 2) {
        turns = 5000;
        naps = 300;
    }
    bench_pin(0);
    bench_one_core(&raw, argv[1]);
    bench_two_cores(&raw, argv[1]);
    bench_floor();
    bench_one_core(&text, argv[1]);
    bench_two_cores(&text, argv[1]);
    bench_idle(&text, argv[1]);
    bench_one_core(&numbers, argv[1]);
    return 0;
}
