/*
 * plugin.c: linear regression behind the ABI. The plugin to copy: options, load, describe, infer;
 * train and evaluate, and explain, as extensions.
 *
 * Input  "features"   FP64  [rows, p]  labelled with the features' names; of a model with
 *                     BYTES [rows, p]  categories or filled cells: each cell as it stands in a file
 * Output "prediction" FP64  [rows]
 *        "interval"   FP64  [rows, 2]  of the parameters interval and level; [rows, 0] of none
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
    bool text;
    double t95, base;
    maas_str *labels;
    int64_t input_shape[2], contribution_shape[2];
    maas_port input, outputs[2], explanation[2];
};

static const int64_t rows_only[] = { -1 }, rows_by_any[] = { -1, -1 };
static const maas_str bounds[] = { { "lower", 5 }, { "upper", 5 } };

/* ---- what a request may set */
static const maas_option_decl interval_param = {
    .size = sizeof(maas_option_decl),
    .kind = MAAS_OPTION_TEXT,
    .name = "interval",
    .fallback = "prediction",
    .choices = "none|confidence|prediction",
    .help = "prediction: where a new observation lies; confidence: where the mean lies"
};
static const maas_option_decl level_param = { .size = sizeof(maas_option_decl),
                                              .kind = MAAS_OPTION_FLOAT,
                                              .name = "level",
                                              .fallback = "0.95",
                                              .choices = "0.01..0.9999",
                                              .help = "how often it lies in the interval" };
static const maas_option_decl *const params[] = { &interval_param, &level_param, NULL };

struct interval {
    bool none, prediction;
    double t;
};

static struct interval interval_of(const maas_model *m, const maas_request *r)
{
    const char *kind = r->params[0].text.data;
    double level = r->params[1].real;
    struct interval i = { .none = strcmp(kind, "none") == 0,
                          .prediction = strcmp(kind, "prediction") == 0,
                          .t = m->t95 };
    if (!i.none && level != 0.95)
        i.t = student_quantile(level, m->linreg.fit.dof);
    return i;
}

/* ---- serving */

static void unload(maas_model *m)
{
    linreg_release(&m->linreg);
    free(m->labels);
    free(m);
}

static void ports_init(maas_model *m)
{
    const maas_dtype number = maas_type(MAAS_FLOAT, 64);
    m->input_shape[0] = m->contribution_shape[0] = -1;
    m->input_shape[1] = m->contribution_shape[1] = m->linreg.features;
    for (uint32_t i = 0; i < m->linreg.features; i++)
        m->labels[i] = maas_text(m->linreg.columns[i].name);
    m->input =
        maas_port_of("features", m->text ? maas_type(MAAS_HANDLE, 128) : number, 2, m->input_shape);
    m->outputs[0] = maas_port_of("prediction", number, 1, rows_only);
    m->outputs[1] = maas_port_of("interval", number, 2, rows_by_any);
    m->explanation[0] = maas_port_of("base", number, 1, rows_only);
    m->explanation[1] = maas_port_of("contribution", number, 2, m->contribution_shape);
    m->input.labels = m->explanation[1].labels = m->labels;
    m->input.label_count = m->explanation[1].label_count = m->linreg.features;
    m->outputs[1].labels = bounds;
    m->outputs[1].label_count = 2;
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
    m->text = linreg_takes_text(&m->linreg);
    m->t95 = student_quantile(0.95, m->linreg.fit.dof);
    m->base = linreg_base(&m->linreg);
    ports_init(m);
    *out = m;
    return MAAS_OK;
}

static uint64_t bytes_of(const struct linreg *m)
{
    uint64_t bytes = (uint64_t)m->fit.p * (m->fit.p + 3) * sizeof(double);
    for (uint32_t i = 0; i < m->features; i++)
        bytes += sizeof(*m->columns) + (uint64_t)m->columns[i].level_count * LINREG_NAME_MAX;
    return bytes;
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &m->input;
    s->input_count = 1;
    s->outputs = m->outputs;
    s->output_count = 2;
    s->rows_independent = 1;
    s->resident_bytes = sizeof(*m) + bytes_of(&m->linreg);
    s->task = "regression";
    s->params = params;
    return MAAS_OK;
}

static maas_status validate_cell(const maas_model *m, uint32_t row, uint32_t feature, maas_str cell,
                                 maas_error *error)
{
    double value;
    char at[32];
    enum linreg_cell is = linreg_read_cell(&m->linreg, feature, cell, &value);
    if (is == LINREG_CELL_OK)
        return MAAS_OK;
    snprintf(at, sizeof(at), "row %u", row);
    return linreg_cell_refused(&m->linreg, feature, cell, is, at, error);
}

/* What shape and dtype cannot say. Runs before requests are merged. */
static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *numbers = r->inputs[0].tensor.data;
    const maas_str *cells = r->inputs[0].tensor.data;
    const uint32_t width = m->linreg.features;
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < r->rows; i++)
        for (uint32_t j = 0; j < width; j++) {
            size_t at = (size_t)i * width + j;
            if (m->text)
                status = validate_cell(m, i, j, cells[at], error);
            else if (!isfinite(numbers[at]))
                status = maas_fail(error, MAAS_E_INVALID, "row %u: feature '%.160s' is not finite",
                                   i, m->linreg.columns[j].name);
            if (status)
                return status;
        }
    return MAAS_OK;
}

/* Row i of the request as terms. */
static void terms_of_row(const maas_model *m, const maas_request *r, uint32_t i, double *values,
                         double *terms)
{
    const uint32_t width = m->linreg.features;
    const void *data = r->inputs[0].tensor.data;
    const double *numbers = (const double *)data + (m->text ? 0 : (size_t)i * width);
    const maas_str *cells = (const maas_str *)data + (m->text ? (size_t)i * width : 0);
    for (uint32_t j = 0; j < width && m->text; j++)
        linreg_read_cell(&m->linreg, j, cells[j], &values[j]);
    linreg_expand(&m->linreg, m->text ? values : numbers, terms);
}

/* One block of the host's: a row's values and terms, then the outputs of all rows. */
struct space {
    double *values, *terms, *first, *second;
};

static bool space_take(const maas_model *m, uint32_t rows, size_t width, struct space *out)
{
    size_t own = (size_t)m->linreg.features + m->linreg.fit.p;
    out->values = m->host->alloc(m->host, (own + (size_t)rows * (1 + width)) * sizeof(double), 64);
    if (!out->values)
        return false;
    out->terms = out->values + m->linreg.features;
    out->first = out->terms + m->linreg.fit.p;
    out->second = out->first + rows;
    return true;
}

static maas_status predict_row(const maas_model *m, const struct interval *interval, uint32_t row,
                               const struct space *s, maas_error *error)
{
    double leverage = 0, *y = &s->first[row], *ends = s->second + 2 * (size_t)row;
    *y = linreg_predict(&m->linreg, s->terms, interval->none ? NULL : &leverage);
    double half = interval->t * sqrt(m->linreg.fit.sigma2 * (interval->prediction + leverage));
    if (!isfinite(*y - half) || !isfinite(*y + half))
        return maas_fail(error, MAAS_E_INVALID, "row %u is too large to predict", row);
    if (interval->none)
        return MAAS_OK;
    ends[0] = *y - half;
    ends[1] = *y + half;
    return MAAS_OK;
}

/* One row at a time, in a fixed order: a product over the whole batch (dgemv) would round
 * differently with its size, and a row's answer must not depend on its neighbours. */
static maas_status predict_rows(const maas_model *m, const maas_request *r,
                                const struct interval *interval, const struct space *s,
                                maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        if (i % 256 == 0 && m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
        terms_of_row(m, r, i, s->values, s->terms);
        status = predict_row(m, interval, i, s, error);
    }
    return status;
}

static maas_status answer(const maas_model *m, const maas_request *r, const maas_port ports[2],
                          const struct space *s, int64_t width)
{
    int64_t one[] = { r->rows }, two[] = { r->rows, width };
    const maas_named out[] = { maas_output(&ports[0], s->first, one),
                               maas_output(&ports[1], s->second, two) };
    return maas_answer(m->host, r, out, 2);
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space space;
    struct interval interval = interval_of(m, r);
    if (!space_take(m, r->rows, 2, &space))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    maas_status status = predict_rows(m, r, &interval, &space, error);
    if (!status)
        status = answer(m, r, m->outputs, &space, interval.none ? 0 : 2);
    m->host->free(m->host, space.values);
    return status;
}

/* ---- explaining */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = m->explanation;
    s->task = "explanation";
    s->params = NULL;
    return status;
}

static maas_status explain_rows(const maas_model *m, const maas_request *r, const struct space *s,
                                maas_error *error)
{
    for (uint32_t i = 0; i < r->rows; i++) {
        double *parts = s->second + (size_t)i * m->linreg.features;
        if (i % 256 == 0 && m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
        terms_of_row(m, r, i, s->values, s->terms);
        linreg_contributions(&m->linreg, s->terms, parts);
        s->first[i] = m->base;
        for (uint32_t j = 0; j < m->linreg.features; j++)
            if (!isfinite(parts[j]))
                return maas_fail(error, MAAS_E_INVALID, "row %u is too large to explain", i);
    }
    return MAAS_OK;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space space;
    if (!space_take(m, r->rows, m->linreg.features, &space))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    maas_status status = explain_rows(m, r, &space, error);
    if (!status)
        status = answer(m, r, m->explanation, &space, m->linreg.features);
    m->host->free(m->host, space.values);
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
                                    .version = "2.0",
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
