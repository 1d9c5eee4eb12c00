/*
 * probe.c: a plugin for the worker's tests. Doubles its input, and misbehaves when a row begins
 * with one of the numbers of probe.h.
 */
#include <maas/author.h>
#include <maas/plugin.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

struct maas_model {
    const maas_host *host;
    int64_t in_shape[2], out_shape[1];
    maas_port input, output;
};

static const maas_dtype FP64 = { MAAS_FLOAT, 64, 1 };

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    const maas_option *broken = maas_option_find(spec->options, spec->option_count, "broken");
    if (broken && broken->integer)
        return maas_fail(error, MAAS_E_DATA_LOSS, "the probe was told\nto fail");
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    *m = (maas_model){ .host = host, .in_shape = { -1, 2 }, .out_shape = { -1 } };
    m->input = (maas_port){
        .name = maas_text("features"), .dtype = FP64, .ndim = 2, .shape = m->in_shape
    };
    m->output = (maas_port){
        .name = maas_text("prediction"), .dtype = FP64, .ndim = 1, .shape = m->out_shape
    };
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &m->input;
    s->outputs = &m->output;
    s->input_count = s->output_count = 1;
    s->max_concurrency = 1;
    s->task = "regression";
    return MAAS_OK;
}

static void *nothing(void *arg)
{
    return arg;
}

static double thread_result(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, nothing, NULL) == 0 ? (pthread_join(thread, NULL), 1) : 0;
}

static double mapping_result(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED;
}

/* What came of the deed; most do not return. */
static double misbehave(maas_model *m, const maas_request *r, double deed)
{
    volatile int *nowhere = NULL;
    switch ((int)deed) {
    case PROBE_ABORT:
        abort();
    case PROBE_NULL:
        *nowhere = 1;
        return 0;
    case PROBE_EXIT:
        exit(0);
    case PROBE_SOCKET:
        return socket(AF_UNIX, SOCK_STREAM, 0);
    case PROBE_EXEC:
        return execl("/bin/true", "true", (char *)NULL);
    case PROBE_FORK:
        return fork();
    case PROBE_KILL:
        return kill(getppid(), SIGTERM);
    case PROBE_OPEN:
        return open("/etc/passwd", O_RDONLY) >= 0;
    case PROBE_THREAD:
        return thread_result();
    case PROBE_MAPPING:
        return mapping_result();
    case PROBE_WAIT:
        while (!m->host->cancelled(m->host, r))
            usleep(1000);
        return 0;
    default:
        return 2 * deed;
    }
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    double *y = m->host->alloc(m->host, r->rows * sizeof(*y), 64);
    if (!y)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows; i++)
        y[i] = misbehave(m, r, x[2 * i]);
    if (m->host->cancelled(m->host, r))
        return maas_fail(error, MAAS_E_CANCELLED, "cancelled while working");
    if (x[0] == PROBE_REFUSE)
        return maas_fail(error, MAAS_E_INVALID, "the probe does not like this row");
    int64_t shape[] = { r->rows };
    maas_named out = { maas_text("prediction"),
                       { .data = y, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = shape } };
    return maas_answer(m->host, r, &out, 1);
}

static const maas_option_decl BROKEN = { sizeof(BROKEN), MAAS_OPTION_INT, "broken", "0",
                                         NULL,           "fail to load" };
static const maas_option_decl *const OPTIONS[] = { &BROKEN, NULL };

static const maas_plugin PROBE = { .size = sizeof(PROBE),
                                   .abi = MAAS_ABI,
                                   .id = "test.probe",
                                   .options = OPTIONS,
                                   .load = load,
                                   .unload = unload,
                                   .describe = describe,
                                   .infer = infer };

__attribute__((visibility("default"))) const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &PROBE : NULL;
}
