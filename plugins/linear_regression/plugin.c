/*
 * plugin.c: linear regression behind the ABI. The plugin to copy: options, load, describe, infer;
 * train and evaluate as an extension.
 *
 * Input  "features"   FP64 [rows, p]   labelled with the features' names
 * Output "prediction" FP64 [rows]
 *        "interval"   FP64 [rows, 2]   the 95 % prediction interval
 * Training reads train.csv; the last column is the target unless option `target` names another.
 */
#include "linreg.h"

#include <math.h>
#include <stdlib.h>

struct maas_model {
    const maas_host *host;
    struct linreg linreg;
    double t975;
    maas_str *labels;
    int64_t input_shape[2], output_shape[1], interval_shape[2];
    maas_port input, outputs[2];
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
    m->outputs[1] = (maas_port){
        .name = maas_text("interval"), .dtype = FP64, .ndim = 2, .shape = m->interval_shape
    };
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

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    double *design =
        m->host->alloc(m->host, (m->linreg.fit.p + 3 * (size_t)r->rows) * sizeof(double), 64);
    if (!design)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    double *y = design + m->linreg.fit.p, *interval = y + r->rows;
    for (uint32_t i = 0; i < r->rows; i++) {
        double half;
        linreg_expand(&m->linreg, x + (size_t)i * m->linreg.features, design);
        y[i] = linreg_predict(&m->linreg, design, m->t975, &half);
        interval[2 * i] = y[i] - half;
        interval[2 * i + 1] = y[i] + half;
        if (!isfinite(half) || !isfinite(y[i])) {
            m->host->free(m->host, design);
            return maas_fail(error, MAAS_E_INVALID, "row %u is too large to predict", i);
        }
    }
    int64_t rows[1] = { r->rows }, pairs[2] = { r->rows, 2 };
    maas_named out[2] = {
        { m->outputs[0].name,
          { .data = y, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = rows } },
        { m->outputs[1].name,
          { .data = interval, .device_type = 1, .ndim = 2, .dtype = FP64, .shape = pairs } },
    };
    maas_answer(m->host, r, out, 2);
    m->host->free(m->host, design);
    return MAAS_OK;
}

/* ---- training */

static const maas_option_decl target_option = { .size = sizeof(maas_option_decl),
                                                .kind = MAAS_OPTION_TEXT,
                                                .name = "target",
                                                .fallback = "",
                                                .help =
                                                    "the column to predict; empty: the last one" };
static const maas_option_decl degree_option = { .size = sizeof(maas_option_decl),
                                                .kind = MAAS_OPTION_INT,
                                                .name = "degree",
                                                .fallback = "1",
                                                .choices = "1..20",
                                                .help = "powers of each feature" };
static const maas_option_decl intercept_option = { .size = sizeof(maas_option_decl),
                                                   .kind = MAAS_OPTION_BOOL,
                                                   .name = "intercept",
                                                   .fallback = "true",
                                                   .help = "fit a constant term" };
static const maas_option_decl test_option = { .size = sizeof(maas_option_decl),
                                              .kind = MAAS_OPTION_FLOAT,
                                              .name = "test_fraction",
                                              .fallback = "0.2",
                                              .choices = "0..0.9",
                                              .help =
                                                  "share of the rows kept for the test metrics" };
static const maas_option_decl *const train_options[] = { &target_option, &degree_option,
                                                         &intercept_option, &test_option, NULL };

struct split {     /* rows of the table in shuffled order: the first `train` are fitted */
    double *x, *y; /* design matrix and target */
    uint64_t rows, train;
};

/* splitmix64: small, and the same everywhere. Source: Steele, Lea, Flood, Fast splittable
 * pseudorandom number generators. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t *shuffled(uint64_t rows, uint64_t seed)
{
    uint32_t *order = malloc(rows * sizeof(*order));
    for (uint64_t i = 0; order && i < rows; i++)
        order[i] = (uint32_t)i;
    for (uint64_t i = rows; order && i > 1; i--) {
        uint64_t j = next_random(&seed) % i;
        uint32_t held = order[i - 1];
        order[i - 1] = order[j];
        order[j] = held;
    }
    return order;
}

static void split_fill(struct split *s, const struct linreg *m, const struct table *t,
                       uint32_t target, const uint32_t *order, double *raw)
{
    for (uint64_t i = 0; i < t->rows; i++) {
        const double *row = t->values + (uint64_t)order[i] * t->columns;
        for (uint32_t c = 0, f = 0; c < t->columns; c++)
            if (c != target)
                raw[f++] = row[c];
        linreg_expand(m, raw, s->x + i * m->fit.p);
        s->y[i] = row[target];
    }
}

static maas_status split_make(struct split *s, const struct linreg *m, const struct table *t,
                              uint32_t target, uint64_t seed, double test_fraction,
                              maas_error *error)
{
    uint32_t *order = shuffled(t->rows, seed);
    double *raw = malloc(t->columns * sizeof(*raw));
    memset(s, 0, sizeof(*s));
    s->rows = t->rows;
    s->train = t->rows - (uint64_t)((double)t->rows * test_fraction);
    s->x = malloc(t->rows * m->fit.p * sizeof(double));
    s->y = malloc(t->rows * sizeof(double));
    bool good = order && raw && s->x && s->y;
    if (good)
        split_fill(s, m, t, target, order, raw);
    free(order);
    free(raw);
    return good ? MAAS_OK
                : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu rows",
                            (unsigned long long)t->rows);
}

static maas_status find_target(const struct table *t, maas_str name, uint32_t *out,
                               maas_error *error)
{
    *out = t->columns - 1;
    if (name.len == 0)
        return MAAS_OK;
    for (uint32_t c = 0; c < t->columns; c++)
        if (strlen(t->names[c]) == name.len && memcmp(t->names[c], name.data, name.len) == 0) {
            *out = c;
            return MAAS_OK;
        }
    return maas_fail(error, MAAS_E_INVALID, "option 'target': train.csv has no column '%s'",
                     name.data);
}

static maas_status model_shape(struct linreg *m, const struct table *t, uint32_t target,
                               const maas_train_spec *spec, maas_error *error)
{
    m->features = t->columns - 1;
    m->degree = (uint32_t)maas_option_find(spec->options, spec->option_count, "degree")->integer;
    m->intercept = maas_option_find(spec->options, spec->option_count, "intercept")->integer;
    m->fit.p = m->features * m->degree + m->intercept;
    m->names = calloc(m->features, sizeof(*m->names));
    if (m->features * m->degree > LINREG_COLUMNS_MAX || !m->names)
        return maas_fail(error, MAAS_E_INVALID, "%u features of degree %u are too many",
                         m->features, m->degree);
    memcpy(m->target, t->names[target], sizeof(m->target));
    for (uint32_t c = 0, f = 0; c < t->columns; c++)
        if (c != target)
            memcpy(m->names[f++], t->names[c], LINREG_NAME_MAX);
    return MAAS_OK;
}

/* Mean squared error and R² of rows [from, to). */
static void emit_metrics(const maas_host *host, const maas_request *job, const struct linreg *m,
                         const struct split *s, uint64_t from, uint64_t to, const char *mse_name,
                         const char *r2_name)
{
    double mean = 0, rss = 0, tss = 0, n = (double)(to - from);
    if (from == to)
        return;
    for (uint64_t i = from; i < to; i++)
        mean += s->y[i] / n;
    for (uint64_t i = from; i < to; i++) {
        double half, e = s->y[i] - linreg_predict(m, s->x + i * m->fit.p, 0, &half);
        rss += e * e;
        tss += (s->y[i] - mean) * (s->y[i] - mean);
    }
    maas_emit_scalar(host, job, mse_name, rss / n);
    maas_emit_scalar(host, job, r2_name, tss > 0 ? 1 - rss / tss : 1);
}

static maas_status train_on(const maas_host *host, const maas_train_spec *spec,
                            const maas_request *job, const struct table *t, maas_error *error)
{
    struct linreg m;
    struct split s;
    uint32_t target = 0;
    memset(&m, 0, sizeof(m));
    memset(&s, 0, sizeof(s));
    maas_status status = find_target(
        t, maas_option_find(spec->options, spec->option_count, "target")->text, &target, error);
    if (!status)
        status = model_shape(&m, t, target, spec, error);
    if (!status)
        status = split_make(
            &s, &m, t, target, spec->seed,
            maas_option_find(spec->options, spec->option_count, "test_fraction")->real, error);
    maas_emit_scalar(host, job, "progress", 0.3);
    if (!status)
        status = fit_least_squares(s.x, s.y, s.train, m.fit.p, m.intercept, &m.fit, error);
    if (!status) {
        emit_metrics(host, job, &m, &s, 0, s.train, "train_mse", "train_r2");
        emit_metrics(host, job, &m, &s, s.train, s.rows, "test_mse", "test_r2");
        status = linreg_write(spec->out, &m, error);
    }
    free(s.x);
    free(s.y);
    linreg_release(&m);
    return status;
}

static maas_status train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    struct table t;
    maas_status status = table_read(spec->data, &t, error);
    if (status)
        return status;
    status = train_on(host, spec, job, &t, error);
    table_release(&t);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

/* The columns must be those of the model, by name; all rows are the test. */
static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    struct table t;
    struct split s;
    uint32_t target = 0;
    maas_status status = table_read(spec->data, &t, error);
    if (status)
        return status;
    memset(&s, 0, sizeof(s));
    status = find_target(&t, maas_text(m->linreg.target), &target, error);
    for (uint32_t c = 0, f = 0; c < t.columns && !status; c++)
        if (c != target &&
            (f >= m->linreg.features || strcmp(t.names[c], m->linreg.names[f++]) != 0))
            status = maas_fail(error, MAAS_E_INVALID,
                               "train.csv: column '%s' is not where the model has it", t.names[c]);
    if (!status && t.columns != m->linreg.features + 1)
        status = maas_fail(error, MAAS_E_INVALID, "train.csv: the model has %u features",
                           m->linreg.features);
    if (!status)
        status = split_make(&s, &m->linreg, &t, target, spec->seed, 0, error);
    if (!status) {
        emit_metrics(m->host, job, &m->linreg, &s, 0, s.rows, "mse", "r2");
        m->host->done(m->host, job, MAAS_OK, NULL);
    }
    free(s.x);
    free(s.y);
    table_release(&t);
    return status;
}

static const maas_train train_extension = { .size = sizeof(maas_train),
                                            .abi = MAAS_ABI,
                                            .options = train_options,
                                            .train = train,
                                            .evaluate = evaluate };

static const void *extension(const char *id)
{
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
                                    .infer = infer,
                                    .extension = extension };

__attribute__((visibility("default"))) const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
