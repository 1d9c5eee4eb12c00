/*
 * faulty.c: "maas.faulty", a plugin that breaks each rule on demand (faulty.h). It looks like a
 * regression model (features [rows, 1] in, prediction [rows] out), so that every surface can drive
 * it, and needs nothing from its artifact.
 *
 * Option `concurrency` is its max_concurrency. Of a request's parameters `scale` multiplies the
 * echo and `delay_ms` is slept, deaf to a cancel, before the deed.
 */
#include "faulty.h"

#include <maas/author.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct maas_model {
    const maas_host *host;
    uint32_t concurrency;
    _Atomic int running, most;
    const maas_request *last;
};

#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

static const int64_t input_shape[] = { -1, 1 }, output_shape[] = { -1 };
static const maas_str feature = { "x", 1 };
static const maas_port input = { .name = { "features", 8 },
                                 .dtype = FP64,
                                 .ndim = 2,
                                 .shape = input_shape,
                                 .labels = &feature,
                                 .label_count = 1 };
static const maas_port output = {
    .name = { "prediction", 10 }, .dtype = FP64, .ndim = 1, .shape = output_shape
};
static const maas_option_decl concurrency = { .size = sizeof(maas_option_decl),
                                              .kind = MAAS_OPTION_INT,
                                              .name = "concurrency",
                                              .fallback = "0",
                                              .choices = "0..64",
                                              .help = "calls at once; 0: any" };
static const maas_option_decl scale = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_FLOAT,
                                        .name = "scale",
                                        .fallback = "1",
                                        .choices = "-1000..1000",
                                        .help = "multiplies the echo" };
static const maas_option_decl delay = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_INT,
                                        .name = "delay_ms",
                                        .fallback = "0",
                                        .choices = "0..60000",
                                        .help = "sleeps so long before the deed" };
static const maas_option_decl *const options[] = { &concurrency, NULL };
static const maas_option_decl *const params[] = { &scale, &delay, NULL };

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    m->concurrency =
        (uint32_t)maas_option_find(spec->options, spec->option_count, "concurrency")->integer;
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
    s->inputs = &input;
    s->outputs = &output;
    s->input_count = s->output_count = 1;
    s->max_rows = 4096;
    s->max_concurrency = m->concurrency;
    s->rows_independent = 1;
    s->task = "regression";
    s->params = params;
    return MAAS_OK;
}

static const double *features(const maas_request *r)
{
    return r->inputs[0].tensor.data;
}

/* ---- answers */

static maas_status emit(const maas_model *m, const maas_request *r, const char *name, uint8_t code,
                        int64_t rows, void *data)
{
    maas_named out = {
        maas_text(name),
        { .data = data, .device_type = 1, .ndim = 1, .dtype = { code, 64, 1 }, .shape = &rows }
    };
    return m->host->emit(m->host, r, &out, 1);
}

static maas_status echo_with(const maas_model *m, const maas_request *r, double factor)
{
    double *y = m->host->alloc(m->host, r->rows * sizeof(*y), 64);
    if (!y)
        return MAAS_E_EXHAUSTED;
    for (uint32_t i = 0; i < r->rows; i++)
        y[i] = features(r)[i] * factor;
    maas_status status = emit(m, r, "prediction", MAAS_FLOAT, r->rows, y);
    m->host->free(m->host, y);
    return status;
}

static maas_status echo(const maas_model *m, const maas_request *r)
{
    return echo_with(m, r, r->params[0].real);
}

static maas_status finish(const maas_model *m, const maas_request *r, maas_status status)
{
    m->host->done(m->host, r, status, NULL);
    return MAAS_OK;
}

static maas_status answer(const maas_model *m, const maas_request *r, double value)
{
    double *y = calloc(r->rows, sizeof(*y));
    if (!y)
        return MAAS_E_EXHAUSTED;
    for (uint32_t i = 0; i < r->rows; i++)
        y[i] = value;
    maas_status status = emit(m, r, "prediction", MAAS_FLOAT, r->rows, y);
    free(y);
    return finish(m, r, status);
}

/* ---- the faults */

struct errand {
    const maas_model *model;
    const maas_request *request;
};

static void *run_errand(void *arg)
{
    struct errand errand = *(struct errand *)arg;
    free(arg);
    usleep(2000);
    finish(errand.model, errand.request, echo(errand.model, errand.request));
    return NULL;
}

static maas_status other_thread(const maas_model *m, const maas_request *r, maas_error *error)
{
    pthread_t thread;
    struct errand *errand = malloc(sizeof(*errand));
    if (!errand)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    *errand = (struct errand){ m, r };
    if (pthread_create(&thread, NULL, run_errand, errand)) {
        free(errand);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no thread");
    }
    pthread_detach(thread);
    return MAAS_OK;
}

static maas_status huge_alloc(const maas_model *m, maas_error *error)
{
    if (m->host->alloc(m->host, (size_t)1 << 40, 64))
        return maas_fail(error, MAAS_E_INTERNAL, "the host gave 1 TiB");
    return maas_fail(error, MAAS_E_EXHAUSTED, "the host gives no 1 TiB");
}

static maas_status error_without_nul(maas_error *error)
{
    memset(error->text, 'e', sizeof(error->text));
    return MAAS_E_INTERNAL;
}

static maas_status until_cancelled(const maas_model *m, const maas_request *r, maas_error *error)
{
    while (!m->host->cancelled(m->host, r))
        usleep(1000);
    return maas_fail(error, MAAS_E_CANCELLED, "saw that it was cancelled");
}

static maas_status count(maas_model *m, const maas_request *r)
{
    int now = atomic_fetch_add(&m->running, 1) + 1, most = atomic_load(&m->most);
    while (now > most && !atomic_compare_exchange_weak(&m->most, &most, now))
        ;
    usleep(3000);
    atomic_fetch_sub(&m->running, 1);
    return answer(m, r, atomic_load(&m->most));
}

static maas_status free_strange(const maas_model *m, const maas_request *r)
{
    void *memory = m->host->alloc(m->host, 64, 64);
    m->host->free(m->host, memory);
    m->host->free(m->host, memory);
    return finish(m, r, echo(m, r));
}

static maas_status alloc_all(const maas_model *m, const maas_request *r)
{
    for (size_t bytes = 65536; bytes > 0; bytes /= 2)
        while (m->host->alloc(m->host, bytes, 16))
            ;
    return finish(m, r, echo(m, r));
}

static void die(int fault)
{
    volatile uintptr_t nowhere = 0;
    volatile int forever = 1;
    if (fault == FAULTY_ABORT)
        abort();
    if (fault == FAULTY_NULL_WRITE) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)nowhere = 1;
    }
    if (fault == FAULTY_EXIT)
        exit(3);
    while (fault == FAULTY_LOOP && forever)
        ;
}

static maas_status break_contract(maas_model *m, const maas_request *r, int fault,
                                  maas_error *error)
{
    static double some[4097];
    switch (fault) {
    case FAULTY_WRONG_SHAPE:
        return finish(m, r, emit(m, r, "prediction", MAAS_FLOAT, (int64_t)r->rows + 1, some));
    case FAULTY_DONE_TWICE:
        finish(m, r, echo(m, r));
        return finish(m, r, MAAS_OK);
    case FAULTY_NEVER_DONE:
        return MAAS_OK;
    case FAULTY_EMIT_AFTER_DONE:
        finish(m, r, echo(m, r));
        emit(m, r, "prediction", MAAS_FLOAT, r->rows, some);
        return MAAS_OK;
    case FAULTY_DONE_AND_ERROR:
        finish(m, r, echo(m, r));
        return maas_fail(error, MAAS_E_UNAVAILABLE, "an error after done");
    case FAULTY_STATUS_OUT_OF_RANGE:
        return finish(m, r, -7);
    case FAULTY_EMIT_TWICE:
        echo(m, r);
        return finish(m, r, echo(m, r));
    case FAULTY_EMIT_NOTHING:
        return finish(m, r, MAAS_OK);
    case FAULTY_UNKNOWN_OUTPUT:
        return finish(m, r, emit(m, r, "verdict", MAAS_FLOAT, r->rows, some));
    case FAULTY_WRONG_DTYPE:
        return finish(m, r, emit(m, r, "prediction", MAAS_INT, r->rows, some));
    case FAULTY_ERROR_WITHOUT_NUL:
        return error_without_nul(error);
    }
    return finish(m, r, echo(m, r));
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    double first = features(r)[0];
    int fault = first >= 0 && first <= 1000 && first == (int)first ? (int)first : FAULTY_ECHO;
    const maas_request *last = m->concurrency == 1 ? m->last : NULL;
    if (m->concurrency == 1)
        m->last = r;
    usleep((useconds_t)r->params[1].integer * 1000);
    die(fault);
    switch (fault) {
    case FAULTY_SLEEP:
        sleep(5);
        break;
    case FAULTY_HUGE_ALLOC:
        return huge_alloc(m, error);
    case FAULTY_OTHER_THREAD:
        return other_thread(m, r, error);
    case FAULTY_DONE_FOR_ANOTHER:
        if (last)
            finish(m, last, MAAS_E_INTERNAL);
        break;
    case FAULTY_FREE_STRANGE:
        return free_strange(m, r);
    case FAULTY_UNTIL_CANCELLED:
        return until_cancelled(m, r, error);
    case FAULTY_COUNT:
        return count(m, r);
    case FAULTY_ALLOC_ALL:
        return alloc_all(m, r);
    }
    return break_contract(m, r, fault, error);
}

static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    (void)m;
    if (features(r)[0] == FAULTY_INVALID)
        return maas_fail(error, MAAS_E_INVALID, "row 0 means nothing");
    return MAAS_OK;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.faulty",
                                    .version = "1.0",
                                    .title = "Breaks each rule on demand",
                                    .vendor = "maas",
                                    .options = options,
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .validate = validate,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
