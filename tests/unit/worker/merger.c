/*
 * merger.c: a plugin that tells which call a row was in, so that tests can see what was merged.
 *
 * Inputs   "x" FP64 [rows, -1], "text" BYTES [rows]
 * Outputs  "seen" FP64 [rows, 3]: x * scale, rows of the call, number of the call
 *          "echo" BYTES [rows]: the text
 *          (4 MiB of it where mode is "large")
 * Options  independent (rows_independent), rows (max_rows); parameters scale and mode.
 */
#include <maas/author.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "merger.h"

#define TEXT                                                                                       \
    {                                                                                              \
        MAAS_HANDLE, 128, 1                                                                        \
    }
#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

struct maas_model {
    const maas_host *host;
    uint32_t independent, rows, calls;
};

static const int64_t wide[] = { -1, -1 }, flat[] = { -1 }, triple[] = { -1, 3 };
static const maas_port inputs[] = {
    { .name = { "x", 1 }, .dtype = FP64, .ndim = 2, .shape = wide },
    { .name = { "text", 4 }, .dtype = TEXT, .ndim = 1, .shape = flat },
};
static const maas_port outputs[] = {
    { .name = { "seen", 4 }, .dtype = FP64, .ndim = 2, .shape = triple },
    { .name = { "echo", 4 }, .dtype = TEXT, .ndim = 1, .shape = flat },
};
static const maas_option_decl independent = {
    sizeof(independent), MAAS_OPTION_BOOL, "independent", "true", NULL, "rows are independent"
};
static const maas_option_decl rows = { sizeof(rows), MAAS_OPTION_INT, "rows",
                                       "64",         "0..1000",       "of a call" };
static const maas_option_decl scale = { sizeof(scale), MAAS_OPTION_FLOAT, "scale",
                                        "1",           "-1000..1000",     "multiplies" };
static const maas_option_decl mode = { sizeof(mode), MAAS_OPTION_TEXT, "mode", "plain",
                                       NULL,         "anything" };
static const maas_option_decl *const options[] = { &independent, &rows, NULL };
static const maas_option_decl *const params[] = { &scale, &mode, NULL };

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    m->independent = (uint32_t)spec->options[0].integer;
    m->rows = (uint32_t)spec->options[1].integer;
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
    s->inputs = inputs;
    s->outputs = outputs;
    s->input_count = s->output_count = 2;
    s->max_rows = m->rows;
    s->rows_independent = m->independent;
    s->params = params;
    return MAAS_OK;
}

static int64_t width(const maas_request *r)
{
    return r->inputs[0].tensor.shape[1];
}

static char large[4 << 20];

static maas_str *large_texts(const maas_request *r)
{
    maas_str *texts = calloc(r->rows, sizeof(*texts));
    memset(large, 'a', sizeof(large));
    for (uint32_t i = 0; texts && i < r->rows; i++)
        texts[i] = (maas_str){ large, sizeof(large) };
    return texts;
}

/* Does any row begin with it? */
static int holds(const maas_request *r, double what)
{
    const double *x = r->inputs[0].tensor.data;
    for (uint32_t i = 0; i < r->rows; i++)
        if (x[(int64_t)i * width(r)] == what)
            return 1;
    return 0;
}

static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    (void)m;
    return holds(r, MERGER_INVALID) ? maas_fail(error, MAAS_E_INVALID, "it means nothing")
                                    : MAAS_OK;
}

static void answer(const maas_model *m, const maas_request *r)
{
    const double *x = r->inputs[0].tensor.data;
    double *y = calloc(3 * (size_t)r->rows, sizeof(*y));
    int64_t seen[2] = { r->rows, 3 }, echo[1] = { r->rows };
    maas_named out[2] = {
        { outputs[0].name,
          { .data = y, .device_type = 1, .ndim = 2, .dtype = FP64, .shape = seen } },
        { outputs[1].name, r->inputs[1].tensor },
    };
    out[1].tensor.shape = echo;
    maas_str *texts = strcmp(r->params[1].text.data, "large") == 0 ? large_texts(r) : NULL;
    if (texts)
        out[1].tensor.data = texts;
    for (uint32_t i = 0; y && i < r->rows; i++) {
        y[3 * i] = x[(int64_t)i * width(r)] * r->params[0].real;
        y[3 * i + 1] = r->rows;
        y[3 * i + 2] = m->calls;
    }
    if (holds(r, MERGER_MERGED_SHAPE) && r->rows > 1)
        seen[0]--;
    maas_status status = y ? MAAS_OK : MAAS_E_EXHAUSTED;
    if (holds(r, MERGER_TWO_EMITS) && !status) {
        status = m->host->emit(m->host, r, &out[1], 1);
        status = status ? status : m->host->emit(m->host, r, &out[0], 1);
    } else if (!status && !(holds(r, MERGER_MERGED_SILENT) && r->rows > 1)) {
        status = m->host->emit(m->host, r, out, 2);
    }
    free(y);
    free(texts);
    m->host->done(m->host, r, status, NULL);
}

struct errand {
    const maas_model *model;
    const maas_request *request;
};

static void *run_errand(void *arg)
{
    struct errand errand = *(struct errand *)arg;
    free(arg);
    usleep(500);
    answer(errand.model, errand.request);
    return NULL;
}

static maas_status by_thread(const maas_model *m, const maas_request *r, maas_error *error)
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

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    m->calls++;
    if (holds(r, MERGER_REFUSED))
        return maas_fail(error, MAAS_E_INVALID, "not this row");
    if (holds(r, MERGER_MERGED_FAILS) && r->rows > 1)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "not so many");
    while (holds(r, MERGER_UNTIL_CANCELLED) && !m->host->cancelled(m->host, r))
        usleep(100);
    if (holds(r, MERGER_UNTIL_CANCELLED))
        return maas_fail(error, MAAS_E_CANCELLED, "saw that it was cancelled");
    if (holds(r, MERGER_SLOW))
        usleep(20000 * r->rows);
    if (holds(r, MERGER_THREAD))
        return by_thread(m, r, error);
    answer(m, r);
    return MAAS_OK;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "test.merger",
                                    .options = options,
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .validate = validate,
                                    .infer = infer };

__attribute__((visibility("default"))) const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
