/*
 * plugin.c: linear regression behind the ABI. The plugin to copy: options, load, describe, infer;
 * train and evaluate, and explain, as extensions.
 *
 * Input  "features"   FP64 [rows, p]   labelled with the features' names
 * Output "prediction" FP64 [rows]
 *        "interval"   FP64 [rows, 2]   the 95 % prediction interval
 * Explained by "base" FP64 [rows] and "contribution" FP64 [rows, p], which sum up to the
 * prediction.
 *
 * Copy this file for a plugin of your own; the functions stand in the order of a model's life.
 */
#include "linreg.h"

#include <maas/ext/explain.h>

#include <math.h>
#include <stdlib.h>

struct maas_model {
    const maas_host *host;
    struct linreg linreg;
    double t975;
    maas_str *labels;
    int64_t input_shape[2], output_shape[1], interval_shape[2];
    maas_port input, outputs[2], explanation[2];
};

#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

/* ---- serving */

static void unload(maas_model *m)
{
    linreg_release(&m->linreg);
    free(m->labels);
    free(m);
}

static const maas_str bounds[] = { { "lower", 5 }, { "upper", 5 } };

static void ports_init(maas_model *m)
{
    m->input_shape[0] = m->output_shape[0] = m->interval_shape[0] = -1;
    m->input_shape[1] = m->linreg.features;
    m->interval_shape[1] = 2;
    for (uint32_t i = 0; i < m->linreg.features; i++)
        m->labels[i] = maas_text(m->linreg.names[i]);
    m->input = (maas_port){ .name = maas_text("features"),
                            .dtype = FP64,
                            .ndim = 2,
                            .shape = m->input_shape,
                            .labels = m->labels,
                            .label_count = m->linreg.features };
    m->outputs[0] = (maas_port){
        .name = maas_text("prediction"), .dtype = FP64, .ndim = 1, .shape = m->output_shape
    };
    m->outputs[1] = (maas_port){ .name = maas_text("interval"),
                                 .dtype = FP64,
                                 .ndim = 2,
                                 .shape = m->interval_shape,
                                 .labels = bounds,
                                 .label_count = 2 };
    m->explanation[0] = m->outputs[0];
    m->explanation[0].name = maas_text("base");
    m->explanation[1] = m->input;
    m->explanation[1].name = maas_text("contribution");
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    maas_status status = linreg_read(spec->root, &m->linreg, error);
    if (!status && !(m->labels = calloc(m->linreg.features, sizeof(*m->labels))))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    if (status) {
        unload(m);
        return status;
    }
    m->host = host;
    m->t975 = student_t975((double)(m->linreg.fit.n - m->linreg.fit.p));
    ports_init(m);
    *out = m;
    return MAAS_OK;
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &m->input;
    s->input_count = 1;
    s->outputs = m->outputs;
    s->output_count = 2;
    s->rows_independent = 1;
    s->resident_bytes =
        sizeof(*m) + (uint64_t)m->linreg.fit.p * (m->linreg.fit.p + 2) * sizeof(double);
    s->task = "regression";
    return MAAS_OK;
}

/* What shape and dtype cannot say. Runs before requests are merged. */
static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    for (uint32_t i = 0; i < r->rows; i++)
        for (uint32_t j = 0; j < m->linreg.features; j++)
            if (!isfinite(*x++))
                return maas_fail(error, MAAS_E_INVALID, "row %u: feature '%s' is not finite", i,
                                 m->linreg.names[j]);
    return MAAS_OK;
}

/* One row at a time, in a fixed order: a product over the whole batch (dgemv) would round
 * differently with its size, and a row's answer must not depend on its neighbours. */
static maas_status predict_rows(const maas_model *m, const maas_request *r, double *design,
                                double *y, double *interval, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    for (uint32_t i = 0; i < r->rows; i++) {
        double half;
        if (i % 256 == 0 && m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
        linreg_expand(&m->linreg, x + (size_t)i * m->linreg.features, design);
        y[i] = linreg_predict(&m->linreg, design, m->t975, &half);
        interval[2 * i] = y[i] - half;
        interval[2 * i + 1] = y[i] + half;
        if (!isfinite(interval[2 * i]) || !isfinite(interval[2 * i + 1]))
            return maas_fail(error, MAAS_E_INVALID, "row %u is too large to predict", i);
    }
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    size_t numbers = m->linreg.fit.p + 3 * (size_t)r->rows;
    double *design = m->host->alloc(m->host, numbers * sizeof(double), 64);
    if (!design)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    double *y = design + m->linreg.fit.p, *interval = y + r->rows;
    maas_status status = predict_rows(m, r, design, y, interval, error);
    int64_t rows[1] = { r->rows }, pairs[2] = { r->rows, 2 };
    maas_named out[2] = {
        { m->outputs[0].name,
          { .data = y, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = rows } },
        { m->outputs[1].name,
          { .data = interval, .device_type = 1, .ndim = 2, .dtype = FP64, .shape = pairs } },
    };
    if (!status)
        status = maas_answer(m->host, r, out, 2);
    m->host->free(m->host, design);
    return status;
}

/* ---- explaining */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = m->explanation;
    s->task = "explanation";
    return status;
}

static maas_status explain_rows(const maas_model *m, const maas_request *r, double *base,
                                double *parts, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    for (uint32_t i = 0; i < r->rows; i++) {
        size_t at = (size_t)i * m->linreg.features;
        if (i % 256 == 0 && m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
        linreg_contributions(&m->linreg, x + at, &base[i], parts + at);
        for (uint32_t j = 0; j < m->linreg.features; j++)
            if (!isfinite(parts[at + j]))
                return maas_fail(error, MAAS_E_INVALID, "row %u is too large to explain", i);
    }
    return MAAS_OK;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    size_t numbers = (size_t)r->rows * (1 + m->linreg.features);
    double *base = m->host->alloc(m->host, numbers * sizeof(double), 64);
    if (!base)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    double *parts = base + r->rows;
    maas_status status = explain_rows(m, r, base, parts, error);
    int64_t rows[1] = { r->rows }, cells[2] = { r->rows, m->linreg.features };
    maas_named out[2] = {
        { m->explanation[0].name,
          { .data = base, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = rows } },
        { m->explanation[1].name,
          { .data = parts, .device_type = 1, .ndim = 2, .dtype = FP64, .shape = cells } },
    };
    if (!status)
        status = maas_answer(m->host, r, out, 2);
    m->host->free(m->host, base);
    return status;
}

static const maas_explain explain_extension = {
    .size = sizeof(maas_explain), .abi = MAAS_ABI, .describe = explain_describe, .explain = explain
};

/* ---- training */

static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    return linreg_evaluate(m->host, &m->linreg, spec, job, error);
}

static const maas_train train_extension = { .size = sizeof(maas_train),
                                            .abi = MAAS_ABI,
                                            .options = linreg_train_options,
                                            .train = linreg_train,
                                            .evaluate = evaluate };

static const void *extension(const char *id)
{
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explain_extension;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &train_extension : NULL;
}

/* ---- the one exported symbol */

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.linreg",
                                    .version = "1.0",
                                    .title = "Linear regression",
                                    .vendor = "maas",
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
