/*
 * broken.c: "test.broken", a plugin that keeps every rule, and on demand breaks exactly one. The
 * option `fault` names it; what stands in the table or the symbols is chosen when it is built
 * (BROKEN_...). test_check.c has a row for each.
 *
 * It adds a bias from its artifact, "bias.txt": bias <number> count 3 end. It asks its host for
 * memory, looks at cancelled, and trains, so that every check of maas-plugin-check has work.
 */
#include <maas/author.h>
#include <maas/ext/explain.h>
#include <maas/ext/train.h>

#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

struct maas_model {
    const maas_host *host;
    char fault[32];
    double bias, *scratch; /* scratch: of host->alloc */
    unsigned described, asked;
    int spoiled;
    _Atomic int errands; /* threads that still use the model */
};

static void *volatile leaked;        /* one of many */
static maas_model *latest;           /* of the fault "global" */
static __thread maas_model *of_load; /* of the fault "thread_local" */

static int has(const maas_model *m, const char *fault)
{
    return strcmp(m->fault, fault) == 0;
}

/* ---- load: the artifact */

static maas_status read_bias(const maas_model *m, const char *root, double *out, maas_error *error)
{
    char path[1024], end[8] = "";
    int count = 0;
    snprintf(path, sizeof(path), "%s/bias.txt", root);
    FILE *file = fopen(path, "re");
    if (!file && has(m, "silent"))
        return MAAS_E_NOT_FOUND;
    if (!file && has(m, "no_file_check"))
        abort();
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "no bias.txt");
    int fields = fscanf(file, "bias %lf count %d %7s", out, &count, end);
    fclose(file);
    if (has(m, "accepts_cut"))
        return MAAS_OK;
    if (has(m, "trusts_count") && fields == 3 && count != 3)
        raise(SIGSEGV); /* as an index that was not checked would */
    if (fields != 3 || count != 3 || strcmp(end, "end") != 0 || !isfinite(*out))
        return maas_fail(error, MAAS_E_DATA_LOSS, "bias.txt is damaged");
    return MAAS_OK;
}

static void *idle(void *arg)
{
    (void)arg;
    pause();
    return NULL;
}

static void change_process(const maas_model *m)
{
    pthread_t thread;
    if (has(m, "signal"))
        signal(SIGUSR1, SIG_IGN);
    if (has(m, "locale"))
        setlocale(LC_ALL, "C.UTF-8");
    if (has(m, "chdir") && chdir("/"))
        abort();
    if (has(m, "setenv"))
        setenv("BROKEN", "1", 1);
    if (has(m, "umask"))
        umask(0123);
    if (has(m, "rounding"))
        fesetround(FE_UPWARD);
    if (has(m, "descriptor") && open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
        abort();
    if (has(m, "thread") && pthread_create(&thread, NULL, idle, NULL) == 0)
        pthread_detach(thread);
}

static void unload(maas_model *m)
{
    while (atomic_load(&m->errands))
        sched_yield();
    m->host->free(m->host, m->scratch);
    if (has(m, "global"))
        latest = NULL;
    free(m);
}

static maas_status take_scratch(maas_model *m, maas_error *error)
{
    m->scratch = m->host->alloc(m->host, 64, 64);
    if (!m->scratch && !has(m, "load_no_null"))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    memset(m->scratch, 0, 64);
    return MAAS_OK;
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    snprintf(m->fault, sizeof(m->fault), "%s", spec->options[0].text.data);
    maas_status status = read_bias(m, spec->root, &m->bias, error);
    if (!status && has(m, "exact_size") &&
        (host->size != sizeof(*host) || spec->size != sizeof(*spec)))
        status = maas_fail(error, MAAS_E_UNIMPLEMENTED, "another version");
    if (!status)
        status = take_scratch(m, error);
    if (status) {
        free(m);
        return status;
    }
    change_process(m);
    if (has(m, "leak_load"))
        leaked = malloc(64);
    latest = of_load = m;
    *out = m;
    return MAAS_OK;
}

/* ---- describe */

static const int64_t input_shape[] = { -1, 2 }, output_shape[] = { -1 };
static const maas_port input = {
    .name = { "x", 1 }, .dtype = FP64, .ndim = 2, .shape = input_shape
};
static const maas_port output = {
    .name = { "y", 1 }, .dtype = FP64, .ndim = 1, .shape = output_shape
};

static maas_status describe_well(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)m;
    (void)error;
    s->inputs = &input;
    s->outputs = &output;
    s->input_count = s->output_count = 1;
    s->rows_independent = 1;
    s->max_rows = 4096;
    s->resident_bytes = 64;
    return MAAS_OK;
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    describe_well(m, s, error);
    if (has(m, "changing"))
        s->resident_bytes = m->described++;
    if (has(m, "writes_past"))
        memset((char *)s + s->size, 0, 16);
    if (has(m, "no_output"))
        s->output_count = 0;
    return MAAS_OK;
}

/* ---- infer */

/* Keeps its sum where every call keeps it. */
static double add_slowly(double a, double b, double c)
{
    static volatile double sum;
    sum = a;
    sched_yield();
    sum += b;
    sched_yield();
    return sum + c;
}

static double predict(maas_model *m, const double *x, uint32_t i, uint32_t rows)
{
    double bias = has(m, "global") ? latest->bias : m->bias;
    if (has(m, "thread_local"))
        bias = of_load->bias;
    if (has(m, "counter"))
        bias += m->asked;
    if (has(m, "neighbours"))
        bias += x[2 * (rows - 1)] * 1e-9;
    if (has(m, "static"))
        return add_slowly(x[2 * i], x[2 * i + 1], bias);
    if (has(m, "nan"))
        return NAN;
    return x[2 * i] + x[2 * i + 1] + bias;
}

static maas_status stop(maas_model *m, maas_error *error)
{
    m->spoiled = has(m, "cancel_spoils");
    if (has(m, "cancel_internal"))
        return maas_fail(error, MAAS_E_INTERNAL, "stopped");
    return maas_fail(error, MAAS_E_CANCELLED, "stopped");
}

static void misbehave(const maas_model *m, const maas_request *r)
{
    if (has(m, "exit"))
        exit(0);
    if (has(m, "crash"))
        raise(SIGSEGV);
    while (has(m, "hang"))
        pause();
    if (has(m, "deaf"))
        usleep(r->rows * 300);
    if (has(m, "late_abort") && r->deadline_ns && r->deadline_ns < m->host->now_ns(m->host))
        abort();
}

static maas_status finish(maas_model *m, const maas_request *r, double *y, int64_t rows)
{
    maas_named out = { output.name,
                       { .data = y, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = &rows } };
    if (has(m, "never_done"))
        return m->host->emit(m->host, r, &out, 1);
    maas_answer(m->host, r, &out, 1);
    if (has(m, "done_twice"))
        m->host->done(m->host, r, MAAS_OK, NULL);
    if (has(m, "emit_late"))
        m->host->emit(m->host, r, &out, 1);
    if (!has(m, "keeps"))
        m->host->free(m->host, y);
    if (has(m, "frees_twice"))
        m->host->free(m->host, y);
    return MAAS_OK;
}

/* "async" is no fault: the answer comes from a thread of the plugin's own, after infer returned. */
struct errand {
    maas_model *model;
    const maas_request *request;
};

static maas_status work(maas_model *m, const maas_request *r)
{
    int64_t rows = r->rows;
    double *y = m->host->alloc(m->host, r->rows * sizeof(*y), 64);
    maas_status status = y ? MAAS_OK : MAAS_E_EXHAUSTED;
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        y[i] = predict(m, r->inputs[0].tensor.data, i, r->rows);
        if (i % 64 == 0 && m->host->cancelled(m->host, r))
            status = MAAS_E_CANCELLED;
        else if (!isfinite(y[i]))
            status = MAAS_E_INVALID;
    }
    maas_named out = maas_output(&output, y, &rows);
    if (!status)
        status = m->host->emit(m->host, r, &out, 1);
    m->host->free(m->host, y);
    return status;
}

static void *run_errand(void *arg)
{
    struct errand e = *(struct errand *)arg;
    free(arg);
    maas_status status = work(e.model, e.request);
    e.model->host->done(e.model->host, e.request, status, status ? "not today" : NULL);
    atomic_fetch_sub(&e.model->errands, 1); /* from here on the model may be unloaded */
    return NULL;
}

static maas_status start_errand(maas_model *m, const maas_request *r, maas_error *error)
{
    pthread_t thread;
    struct errand *errand = malloc(sizeof(*errand));
    if (!errand)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    *errand = (struct errand){ m, r };
    atomic_fetch_add(&m->errands, 1);
    if (pthread_create(&thread, NULL, run_errand, errand) == 0) {
        pthread_detach(thread);
        return MAAS_OK;
    }
    atomic_fetch_sub(&m->errands, 1);
    free(errand);
    return maas_fail(error, MAAS_E_EXHAUSTED, "no thread");
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    if (has(m, "async"))
        return start_errand(m, r, error);
    const double *x = r->inputs[0].tensor.data;
    for (uint32_t i = 0; i < r->rows && has(m, "picky"); i++)
        if (x[2 * i] != 77)
            return maas_fail(error, MAAS_E_INVALID, "row %u: 77 or nothing", i);
    double *y = m->host->alloc(m->host, (r->rows + 1) * sizeof(*y), 64);
    if (!y && !has(m, "no_null"))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    misbehave(m, r);
    y[r->rows] = 0;
    m->asked++;
    if (has(m, "leak_infer"))
        leaked = malloc(64);
    for (uint32_t i = 0; i < r->rows; i++) {
        if (i % 64 == 0 && m->host->cancelled(m->host, r)) {
            m->host->free(m->host, y);
            return stop(m, error);
        }
        if (has(m, "forgets") && i == 20)
            continue;
        y[i] = predict(m, x, i, r->rows) + m->spoiled;
        if (!isfinite(y[i]) && !has(m, "nan") && !has(m, "overflows")) {
            m->host->free(m->host, y);
            return maas_fail(error, MAAS_E_INVALID, "row %u is too large", i);
        }
    }
    return finish(m, r, y, (int64_t)r->rows + has(m, "wrong_shape"));
}

/* ---- explain: the prediction again */

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    if (has(m, "explains_anew"))
        m->bias += 1;
    if (!has(m, "explains_other_rows"))
        return infer(m, r, error);
    double some[4097] = { 0 };
    int64_t rows = r->rows + 1;
    maas_named out = {
        output.name, { .data = some, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = &rows }
    };
    return maas_answer(m->host, r, &out, 1);
}

static const maas_explain explaining = {
    .size = sizeof(explaining), .abi = MAAS_ABI, .describe = describe_well, .explain = explain
};

/* ---- train */

static maas_status train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/bias.txt", spec->out);
    FILE *file = fopen(path, "we");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write");
    uint64_t seed = spec->seed;
#ifdef BROKEN_CLOCK
    seed = host->now_ns(host);
#endif
    fprintf(file, "bias %llu count 3 end\n", (unsigned long long)seed);
    fclose(file);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static const maas_train training = { .size = sizeof(training), .abi = MAAS_ABI, .train = train };

static const void *extension(const char *id)
{
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explaining;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &training : NULL;
}

/* ---- the table */

static const maas_option_decl fault = { .size = sizeof(fault),
                                        .kind = MAAS_OPTION_TEXT,
                                        .name = "fault",
                                        .fallback = "none",
                                        .help = "the rule to break" };
static const maas_option_decl *const options[] = { &fault, NULL };

static const maas_plugin plugin = {
#ifdef BROKEN_TABLE
    .size = offsetof(maas_plugin, infer),
#else
    .size = sizeof(plugin),
#endif
    .abi = MAAS_ABI,
#ifndef BROKEN_ID
    .id = "test.broken",
#endif
    .options = options,
    .load = load,
    .unload = unload,
    .describe = describe,
    .infer = infer,
    .extension = extension
};

#ifdef BROKEN_EXPORT
__attribute__((visibility("default"))) int broken_helper(void);
int broken_helper(void)
{
    return 1;
}
#endif

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
#ifdef BROKEN_MAJOR
    (void)host_abi;
    return &plugin;
#elif defined(BROKEN_MINOR)
    return host_abi == MAAS_ABI ? &plugin : NULL;
#else
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
#endif
}
