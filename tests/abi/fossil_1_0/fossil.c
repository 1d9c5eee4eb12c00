/*
 * fossil.c: "test.fossil", a plugin of ABI 1.0, compiled against the headers of that day. It uses
 * every member that 1.0 has: options, parameters, labels, every function of the host, both
 * extensions. It must load and answer for ever; it is never edited.
 *
 * The artifact is scale.txt: "scale <number> end". y = scale * factor * (left + right), kind is its
 * sign.
 */
#include "layout.h"

#include <math.h>
#include <stdlib.h>

struct maas_model {
    const maas_host *host;
    double scale;
    int64_t level;
};

static const int64_t pairs[] = { -1, 2 }, rows_only[] = { -1 };
static const maas_str sides[] = { { "left", 4 }, { "right", 5 } };
static const maas_port input = { .name = { "x", 1 },
                                 .dtype = { MAAS_FLOAT, 64, 1 },
                                 .ndim = 2,
                                 .shape = pairs,
                                 .labels = sides,
                                 .label_count = 2 };
static const maas_port outputs[] = {
    { .name = { "y", 1 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 1, .shape = rows_only },
    { .name = { "kind", 4 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_only },
};
static const maas_port parts = { .name = { "part", 4 },
                                 .dtype = { MAAS_FLOAT, 64, 1 },
                                 .ndim = 2,
                                 .shape = pairs,
                                 .labels = sides,
                                 .label_count = 2 };
static const maas_option_decl level = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_INT,
                                        .name = "level",
                                        .fallback = "1",
                                        .choices = "1..9",
                                        .help = "a number" };
static const maas_option_decl factor = { .size = sizeof(maas_option_decl),
                                         .kind = MAAS_OPTION_FLOAT,
                                         .name = "factor",
                                         .fallback = "1",
                                         .help = "multiplies the answer" };
static const maas_option_decl strict = { .size = sizeof(maas_option_decl),
                                         .kind = MAAS_OPTION_BOOL,
                                         .name = "strict",
                                         .fallback = "false",
                                         .help = "refuses what is negative" };
static const maas_option_decl *const options[] = { &level, NULL };
static const maas_option_decl *const params[] = { &factor, &strict, NULL };

static maas_status init(const maas_host *host, maas_error *error)
{
    if (host->size < sizeof(*host) || !host->now_ns(host))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "the host is older than 1.0");
    host->log(host, MAAS_LOG_DEBUG, "the fossil is awake");
    return MAAS_OK;
}

static void deinit(void)
{
}

static maas_status read_scale(const char *root, double *out, maas_error *error)
{
    char path[1024], end[4] = "";
    snprintf(path, sizeof(path), "%s/scale.txt", root);
    FILE *file = fopen(path, "r");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'scale.txt'");
    int fields = fscanf(file, "scale %lf %3s", out, end);
    fclose(file);
    if (fields != 2 || strcmp(end, "end") != 0 || !isfinite(*out))
        return maas_fail(error, MAAS_E_DATA_LOSS, "'scale.txt' is damaged");
    return MAAS_OK;
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    double scale;
    maas_status status = read_scale(spec->root, &scale, error);
    if (status)
        return status;
    maas_model *m = host->alloc(host, sizeof(*m), 64);
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    const maas_option *option = maas_option_find(spec->options, spec->option_count, "level");
    *m = (maas_model){ .host = host, .scale = scale, .level = option->integer };
    host->metric(host, MAAS_METRIC_GAUGE, "level", (double)m->level);
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    m->host->free(m->host, m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &input;
    s->outputs = outputs;
    s->input_count = 1;
    s->output_count = 2;
    s->max_rows = 1000;
    s->max_concurrency = 2;
    s->rows_independent = 1;
    s->resident_bytes = sizeof(*m);
    s->task = "regression";
    s->params = params;
    return MAAS_OK;
}

static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    (void)m;
    for (uint32_t i = 0; i < 2 * r->rows; i++)
        if (!(fabs(x[i]) < 1e100) || (r->params[1].integer && x[i] < 0))
            return maas_fail(error, MAAS_E_INVALID, "row %u is not welcome", i / 2);
    return MAAS_OK;
}

static maas_status look(const maas_model *m, const maas_request *r, maas_error *error)
{
    if (r->deadline_ns && m->host->now_ns(m->host) > r->deadline_ns)
        return maas_fail(error, MAAS_E_DEADLINE, "too late");
    if (m->host->cancelled(m->host, r))
        return maas_fail(error, MAAS_E_CANCELLED, "nobody waits");
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const maas_host *host = m->host;
    const double *x = r->inputs[0].tensor.data;
    int64_t rows = r->rows;
    maas_status status = look(m, r, error);
    double *y = host->alloc(host, r->rows * sizeof(*y), 64);
    maas_str *kinds = host->alloc(host, r->rows * sizeof(*kinds), 64);
    if (!status && (!y || !kinds))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        y[i] = m->scale * r->params[0].real * (x[2 * i] + x[2 * i + 1]);
        kinds[i] = maas_text(y[i] < 0 ? "below" : "above");
    }
    if (!status) { /* an emit each: any number of them is allowed */
        maas_named one = maas_output(&outputs[0], y, &rows);
        maas_named two = maas_output(&outputs[1], kinds, &rows);
        maas_status sent = host->emit(host, r, &one, 1);
        if (!sent)
            sent = host->emit(host, r, &two, 1);
        host->done(host, r, sent, sent ? "could not send" : NULL);
    }
    host->free(host, kinds);
    host->free(host, y);
    return status;
}

/* ---- "maas.explain/1" */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = &parts;
    s->output_count = 1;
    return status;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    int64_t shape[2] = { r->rows, 2 };
    double *part = m->host->alloc(m->host, 2 * r->rows * sizeof(*part), 64);
    if (!part)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < 2 * r->rows; i++)
        part[i] = m->scale * r->params[0].real * x[i];
    maas_named out = maas_output(&parts, part, shape);
    maas_status status = maas_answer(m->host, r, &out, 1);
    m->host->free(m->host, part);
    return status;
}

static const maas_explain explaining = {
    .size = sizeof(maas_explain), .abi = MAAS_ABI, .describe = explain_describe, .explain = explain
};

/* ---- "maas.train/1" */

static maas_status train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/scale.txt", spec->out);
    FILE *file = fopen(path, "w");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write 'scale.txt'");
    fprintf(file, "scale %llu end\n", (unsigned long long)spec->seed);
    fclose(file);
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    (void)spec;
    (void)error;
    maas_emit_scalar(m->host, job, "scale", m->scale);
    m->host->done(m->host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static const maas_train training = { .size = sizeof(maas_train),
                                     .abi = MAAS_ABI,
                                     .options = options,
                                     .train = train,
                                     .evaluate = evaluate };

static const void *extension(const char *id)
{
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explaining;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &training : NULL;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "test.fossil",
                                    .version = "1.0",
                                    .title = "A plugin of ABI 1.0",
                                    .vendor = "maas",
                                    .options = options,
                                    .init = init,
                                    .deinit = deinit,
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .validate = validate,
                                    .infer = infer,
                                    .extension = extension };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
