/*
 * train.c: training and evaluation. A job looks at the data, fits the training rows, emits what the
 * fit is worth and writes the model: same data, options and seed, same bytes. The rows are read
 * from the file in each pass, so memory does not grow with them.
 */
#include "linreg.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "evaluation/evaluation.h"

const maas_option_decl *const linreg_train_options[] = {
    MAAS_OPTION("target", MAAS_OPTION_TEXT, "", NULL, "the column to predict; empty: the last one"),
    MAAS_OPTION("features", MAAS_OPTION_TEXT, "", NULL,
                "the columns to predict from, with commas between; empty: all others"),
    MAAS_OPTION("weight_column", MAAS_OPTION_TEXT, "", NULL,
                "a column of weights, 0 and more; a row of weight 0 is left out; empty: all are 1"),
    MAAS_OPTION("categories", MAAS_OPTION_TEXT, "auto", NULL,
                "auto: a column of texts is one; refuse: texts are wrong; or a list of columns"),
    MAAS_OPTION("unknown", MAAS_OPTION_TEXT, "refuse", "refuse|reference",
                "what the model does with a level that training has not seen"),
    MAAS_OPTION("missing", MAAS_OPTION_TEXT, "refuse", "refuse|mean|median|drop",
                "what an empty cell is: wrong, the mean or median in training, the end of its row"),
    MAAS_OPTION("degree", MAAS_OPTION_INT, "1", "1..20", "powers of each feature that is a number"),
    MAAS_OPTION("intercept", MAAS_OPTION_BOOL, "true", NULL, "fit a constant term"),
    MAAS_OPTION("ridge", MAAS_OPTION_FLOAT, "0", "0..1e12",
                "the penalty on squared coefficients of standardised columns"),
    MAAS_OPTION("test_fraction", MAAS_OPTION_FLOAT, "0.2", "0..0.9",
                "share of the rows kept for the test metrics"),
    MAAS_OPTION("shuffle", MAAS_OPTION_BOOL, "true", NULL,
                "draw the test rows by the seed; false: they are the last ones"),
    NULL,
};

static const maas_option *option(const maas_train_spec *spec, const char *name)
{
    return maas_option_find(spec->options, spec->option_count, name);
}

static const char *text_option(const maas_train_spec *spec, const char *name)
{
    return option(spec, name)->text.data;
}

static enum linreg_missing missing_of(const char *text)
{
    static const char *const names[] = { "refuse", "mean", "median", "drop" };
    uint32_t i = 0;
    while (i < LINREG_DROP && strcmp(text, names[i]) != 0)
        i++;
    return (enum linreg_missing)i;
}

/* ---- what the fit is worth */

/* The name of term j, without spaces: a job's scalars are lines of a name and a value. */
static void term_name(const struct linreg *m, uint32_t j, char *out, size_t size)
{
    uint32_t i = 0, first = m->intercept;
    snprintf(out, size, "intercept");
    if (j < first)
        return;
    for (;; i++) {
        uint32_t levels = m->columns[i].level_count, count = levels ? levels - 1 : m->degree;
        if (j < first + count)
            break;
        first += count;
    }
    const struct column *c = &m->columns[i];
    if (c->level_count)
        snprintf(out, size, "%.48s=%.32s", c->name, c->levels[j - first + 1]);
    else if (j > first)
        snprintf(out, size, "%.80s^%u", c->name, j - first + 1);
    else
        snprintf(out, size, "%.80s", c->name);
    for (; *out; out++)
        if ((unsigned char)*out <= ' ')
            *out = '_';
}

struct told { /* to whom */
    const maas_host *host;
    const maas_request *job;
};

static void tell(const struct told *to, const char *name, const char *of, double value)
{
    char full[128];
    snprintf(full, sizeof(full), "%s%s", name, of);
    if (isfinite(value))
        maas_emit_scalar(to->host, to->job, full, value);
}

static void tell_fit(const struct told *to, const struct linreg *m)
{
    const struct fit *f = &m->fit;
    double lost = (1 - f->r2) * (double)(f->n - m->intercept) / f->dof;
    tell(to, "rows_fitted", "", (double)f->n);
    tell(to, "coefficients", "", f->p);
    tell(to, "degrees_of_freedom", "", f->dof);
    tell(to, "residual_standard_error", "", sqrt(f->sigma2));
    tell(to, "r2", "", f->r2);
    tell(to, "r2_adjusted", "", 1 - lost);
    if (f->f < 0)
        return;
    tell(to, "f_statistic", "", f->f);
    tell(to, "f_p_value", "", fisher_tail(f->f, f->p - m->intercept, f->dof));
}

/* Of a ridge there is no test of a coefficient: it is biased, and t has no Student's distribution.
 */
static void tell_coefficients(const struct told *to, const struct linreg *m)
{
    const struct fit *f = &m->fit;
    for (uint32_t j = 0; j < f->p; j++) {
        char name[96];
        double t = f->beta[j] / f->error[j];
        term_name(m, j, name, sizeof(name));
        tell(to, "coefficient_", name, f->beta[j]);
        tell(to, "standard_error_", name, f->error[j]);
        if (m->ridge > 0)
            continue;
        tell(to, "t_", name, t);
        if (f->error[j] > 0)
            tell(to, "p_", name, student_tail(fabs(t), f->dof));
    }
}

/* Metrics of both parts in one pass. A row with a level that training has not seen is left out and
 * counted, unless the model takes it for the reference. */
struct parts {
    struct regression of[2]; /* enum data_part */
    uint64_t unknown;
};

static maas_status measure_with(struct data *d, const struct linreg *m, double *values, double *x,
                                struct parts *out, maas_error *error)
{
    struct data_row row;
    bool known;
    maas_status status = data_rewind(d, error);
    while (!status && !(status = data_next(d, &row, error)) && !row.end) {
        status = data_values(d, &row, values, &known, error);
        if (!known)
            out->unknown++;
        if (status || !known)
            continue;
        linreg_expand(m, values, x);
        regression_add(&out->of[row.part], linreg_predict(m, x, NULL), row.y);
    }
    return status;
}

static maas_status measure(struct data *d, const struct linreg *m, struct parts *out,
                           maas_error *error)
{
    double *values = calloc((size_t)m->features + m->fit.p, sizeof(*values));
    memset(out, 0, sizeof(*out));
    if (!values)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a row");
    maas_status status = measure_with(d, m, values, values + m->features, out, error);
    free(values);
    return status;
}

static void tell_parts(const struct told *to, const struct parts *p, bool trained)
{
    if (trained)
        regression_emit(&p->of[DATA_TRAIN], to->host, to->job, "train");
    regression_emit(&p->of[DATA_TEST], to->host, to->job, "test");
    if (p->unknown)
        tell(to, "test_rows_of_unknown_levels", "", (double)p->unknown);
}

/* ---- training */

/* "feature 'city=Rome'" instead of "column 7". */
static maas_status name_dependent(const struct linreg *m, uint32_t term, maas_error *error)
{
    char name[96];
    term_name(m, term, name, sizeof(name));
    return maas_fail(error, MAAS_E_INVALID,
                     "feature '%s' is constant or depends linearly on the others", name);
}

static maas_status fit_data(struct data *d, struct linreg *m, maas_error *error)
{
    struct rows file, rows;
    struct kept_rows kept;
    struct fit_plan plan;
    uint32_t dependent;
    data_plan(d, &file, &plan);
    rows = kept_over(&kept, &file, plan.p);
    maas_status status = fit_least_squares(&rows, &plan, &m->fit, &dependent, error);
    kept_release(&kept);
    return status == MAAS_E_INVALID && dependent < plan.p ? name_dependent(m, dependent, error)
                                                          : status;
}

static maas_status train_on(const struct told *to, const maas_train_spec *spec, struct data *d,
                            struct linreg *m, maas_error *error)
{
    struct parts parts;
    maas_emit_scalar(to->host, to->job, "progress", 0.3);
    maas_status status = fit_data(d, m, error);
    if (status)
        return status;
    maas_emit_scalar(to->host, to->job, "progress", 0.8);
    status = measure(d, m, &parts, error);
    if (status)
        return status;
    tell_fit(to, m);
    tell_parts(to, &parts, true);
    tell_coefficients(to, m);
    return linreg_write(spec->out, m, error);
}

static void read_options(const maas_train_spec *spec, struct linreg *m, struct data_options *o)
{
    memset(m, 0, sizeof(*m));
    m->degree = (uint32_t)option(spec, "degree")->integer;
    m->intercept = option(spec, "intercept")->integer;
    m->ridge = option(spec, "ridge")->real;
    m->missing = missing_of(text_option(spec, "missing"));
    m->unknown_is_reference = strcmp(text_option(spec, "unknown"), "reference") == 0;
    *o = (struct data_options){ .target = text_option(spec, "target"),
                                .features = text_option(spec, "features"),
                                .weight = text_option(spec, "weight_column"),
                                .categories = text_option(spec, "categories"),
                                .test_fraction = option(spec, "test_fraction")->real,
                                .seed = option(spec, "shuffle")->integer ? &spec->seed : NULL };
}

maas_status linreg_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    const struct told to = { host, job };
    const struct data_watch watch = { host, job };
    struct data_options options;
    struct linreg m;
    struct data *d = NULL;
    read_options(spec, &m, &options);
    maas_status status = data_open(spec->data, &options, &watch, &m, &d, error);
    if (!status)
        status = train_on(&to, spec, d, &m, error);
    data_close(d);
    linreg_release(&m);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

maas_status linreg_evaluate(const maas_host *host, struct linreg *m, const maas_train_spec *spec,
                            const maas_request *job, maas_error *error)
{
    const struct told to = { host, job };
    const struct data_watch watch = { host, job };
    struct parts parts;
    struct data *d = NULL;
    char path[4096];
    snprintf(path, sizeof(path), "%s/test.csv", spec->data);
    const char *name = access(path, R_OK) == 0 ? "test.csv" : "train.csv";
    maas_status status = data_open_for(spec->data, name, &watch, m, &d, error);
    if (!status)
        status = measure(d, m, &parts, error);
    data_close(d);
    if (status)
        return status;
    tell_parts(&to, &parts, false);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}
