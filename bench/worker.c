/*
 * worker.c: see worker.h.
 */
#include "worker.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fleet/plugin_file.h"
#include "fleet/worker_proc.h"

#define RING_BYTES (4u << 20)

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static void pin(int pid, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(pid, sizeof(set), &set))
        bench_fail("no such CPU");
}

void bench_pin(int cpu)
{
    pin(0, cpu);
}

static bool is_pinned_to(const cpu_set_t *set, int cpu)
{
    return CPU_COUNT(set) == 1 && CPU_ISSET(cpu, set);
}

static void wait_ready(int fd)
{
    char line[512];
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    ssize_t n = poll(&wait, 1, 20000) == 1 ? read(fd, line, sizeof(line) - 1) : -1;
    close(fd);
    line[n > 0 ? n : 0] = 0;
    if (strncmp(line, "ready ", 6) != 0)
        bench_fail(line[0] ? line : "the worker does not become ready");
}

void bench_worker_start(struct bench_worker *w, const char *build, const char *options, int cpu)
{
    char binary[4096], plugin[4096];
    uint8_t sha256[32];
    int ready = -1;
    cpu_set_t mine;
    maas_error error = MAAS_ERROR_INIT;
    snprintf(binary, sizeof(binary), "%s/bin/maas-worker", build);
    snprintf(plugin, sizeof(plugin), "%s/plugins/maas.echo.so", build);
    struct worker_spec spec = { .binary = binary,
                                .plugin_file = plugin,
                                .roots = { build },
                                .options_json = { options },
                                .models = 1,
                                .sha256 = sha256,
                                .memory_max = (uint64_t)4 << 30,
                                .loops = 1 };
    *w = (struct bench_worker){ .pid = -1 };
    sched_getaffinity(0, sizeof(mine), &mine);
    if (!is_pinned_to(&mine, cpu)) { /* else it inherits the pin and knows that it is not to spin */
        cpu_set_t all;
        memset(&all, 0xff, sizeof(all));
        sched_setaffinity(0, sizeof(all), &all);
    }
    maas_status status = plugin_file_digest(plugin, sha256, &error);
    if (!status)
        status = channel_create(1, RING_BYTES, RING_BYTES, &w->channel, &error);
    if (!status)
        status = worker_spawn(&spec, w->channel, &w->pid, &ready, &error);
    sched_setaffinity(0, sizeof(mine), &mine);
    if (status)
        bench_fail(error.text);
    wait_ready(ready);
    pin(w->pid, cpu);
}

void bench_worker_stop(struct bench_worker *w)
{
    kill(w->pid, SIGKILL);
    waitpid(w->pid, NULL, 0);
    channel_free(w->channel);
}

uint64_t bench_worker_cpu_ns(const struct bench_worker *w)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(w->pid, &clock) || clock_gettime(clock, &t))
        bench_fail("the worker's CPU time cannot be read");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of one thread. */
static uint64_t switches_of(const char *path)
{
    char line[256];
    unsigned long long count = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        bench_fail("the worker's status cannot be read");
    while (fgets(line, sizeof(line), file))
        (void)sscanf(line, "voluntary_ctxt_switches: %llu", &count);
    fclose(file);
    return count;
}

uint64_t bench_worker_switches(const struct bench_worker *w)
{
    char path[512];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", w->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        bench_fail("the worker's threads cannot be listed");
    for (struct dirent *task; (task = readdir(tasks)) != NULL;)
        if (task->d_name[0] != '.') {
            snprintf(path, sizeof(path), "/proc/%d/task/%.32s/status", w->pid, task->d_name);
            sum += switches_of(path);
        }
    closedir(tasks);
    return sum;
}

bool bench_send(struct bench_worker *w, uint32_t slot, uint8_t tenant, struct str body)
{
    struct submit_frame frame = { .kind = SUBMIT_INFER,
                                  .surface = SURFACE_V2,
                                  .job = job_id(slot, ++w->generation),
                                  .tenant = { { tenant } },
                                  .max_rows = 1000,
                                  .json_len = UINT32_MAX,
                                  .name_len = 4,
                                  .version_len = 1,
                                  .request_id_len = 7,
                                  .body_len = (uint32_t)body.len };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { "echo", 4 },
                                          { "1", 1 },
                                          { "request", 7 },
                                          { body.data, body.len } };
    if (w->generation == UINT32_MAX)
        bench_fail("too many requests");
    return channel_submit(w->channel, 0, parts, COUNT_OF(parts));
}

bool bench_take_any(struct bench_worker *w, struct complete_frame *out)
{
    size_t len;
    const char *at = channel_peek_complete(w->channel, 0, &len);
    if (!at)
        return false;
    memcpy(out, at, sizeof(*out));
    channel_consume_complete(w->channel, 0);
    return true;
}

bool bench_take(struct bench_worker *w, struct complete_frame *out)
{
    if (!bench_take_any(w, out))
        return false;
    if (out->status != MAAS_OK)
        bench_fail("the worker refused a request");
    return true;
}

void bench_await(struct channel *channel)
{
    struct pollfd fd = { .fd = channel_loop_eventfd(channel, 0), .events = POLLIN };
    uint64_t count;
    size_t len;
    while (!channel_peek_complete(channel, 0, &len)) {
        channel_loop_sleeps(channel, 0, true);
        if (!channel_peek_complete(channel, 0, &len) && poll(&fd, 1, 10000) != 1)
            bench_fail("no answer within 10 s");
        channel_loop_sleeps(channel, 0, false);
        (void)!read(fd.fd, &count, sizeof(count));
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t count, double part)
{
    if (count == 0)
        bench_fail("nothing was measured");
    qsort(values, count, sizeof(*values), by_value);
    return values[(size_t)((double)(count - 1) * part)];
}
