/*
 * train.c: training and evaluation. A job reads the data, picks the columns, splits the rows by the
 * seed, fits the training rows, emits the metrics of both parts and writes the model: same data,
 * options and seed, same bytes.
 */
#include "linreg.h"

#include <stdlib.h>
#include <unistd.h>

#include "dataset/random.h"
#include "evaluation/evaluation.h"

#define OPTION(n, k, f, c, h)                                                                      \
    &(const maas_option_decl)                                                                      \
    {                                                                                              \
        .size = sizeof(maas_option_decl), .kind = (k), .name = (n), .fallback = (f),               \
        .choices = (c), .help = (h)                                                                \
    }

const maas_option_decl *const linreg_train_options[] = {
    OPTION("target", MAAS_OPTION_TEXT, "", NULL, "the column to predict; empty: the last one"),
    OPTION("features", MAAS_OPTION_TEXT, "", NULL,
           "the columns to predict from, with commas between; empty: all others"),
    OPTION("degree", MAAS_OPTION_INT, "1", "1..20", "powers of each feature"),
    OPTION("intercept", MAAS_OPTION_BOOL, "true", NULL, "fit a constant term"),
    OPTION("test_fraction", MAAS_OPTION_FLOAT, "0.2", "0..0.9",
           "share of the rows kept for the test metrics"),
    OPTION("shuffle", MAAS_OPTION_BOOL, "true", NULL,
           "draw the test rows by the seed; false: they are the last ones"),
    NULL,
};

static const maas_option *option(const maas_train_spec *spec, const char *name)
{
    return maas_option_find(spec->options, spec->option_count, name);
}

/* ---- which columns */

struct columns {
    uint32_t target, features[LINREG_COLUMNS_MAX];
};

static maas_status add_feature(struct linreg *m, const struct table *t, struct columns *c,
                               const char *name, size_t len, maas_error *error)
{
    uint32_t at = 0;
    if (m->features == t->columns)
        return maas_fail(error, MAAS_E_INVALID, "more features than columns");
    maas_status status = table_column(t, name, len, &at, error);
    if (status)
        return status;
    if (at == c->target)
        return maas_fail(error, MAAS_E_INVALID, "column '%s' is the target, not a feature",
                         t->names[at]);
    memcpy(m->names[m->features], t->names[at], LINREG_NAME_MAX);
    c->features[m->features++] = at;
    return MAAS_OK;
}

static maas_status choose_features(struct linreg *m, const struct table *t, struct columns *c,
                                   const char *list, maas_error *error)
{
    maas_status status = MAAS_OK;
    m->names = calloc(t->columns, sizeof(*m->names));
    if (!m->names)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the names");
    for (uint32_t i = 0; i < t->columns && !*list && !status; i++)
        if (i != c->target)
            status = add_feature(m, t, c, t->names[i], strlen(t->names[i]), error);
    while (*list && !status) {
        size_t len = strcspn(list, ",");
        status = add_feature(m, t, c, list, len, error);
        list += len + (list[len] == ',');
    }
    return status;
}

static maas_status choose(struct linreg *m, const struct table *t, struct columns *c,
                          const maas_train_spec *spec, maas_error *error)
{
    const char *target = option(spec, "target")->text.data;
    if (!*target)
        target = t->names[t->columns - 1];
    maas_status status = table_column(t, target, strlen(target), &c->target, error);
    if (!status)
        status = choose_features(m, t, c, option(spec, "features")->text.data, error);
    if (status)
        return status;
    memcpy(m->target, t->names[c->target], LINREG_NAME_MAX);
    m->degree = (uint32_t)option(spec, "degree")->integer;
    m->intercept = option(spec, "intercept")->integer;
    m->fit.p = m->features * m->degree + m->intercept;
    if (m->fit.p > LINREG_COLUMNS_MAX)
        return maas_fail(error, MAAS_E_INVALID, "%u features of degree %u are too many",
                         m->features, m->degree);
    return MAAS_OK;
}

/* ---- which rows */

struct split {     /* the first `train` rows are fitted, the others are the test */
    double *x, *y; /* design matrix (rows x p) and target */
    uint64_t rows, train;
};

static void split_release(struct split *s)
{
    free(s->x);
    free(s->y);
}

static void split_fill(struct split *s, const struct linreg *m, const struct table *t,
                       const struct columns *c, const uint32_t *order, double *raw)
{
    for (uint64_t i = 0; i < t->rows; i++) {
        const double *row = t->values + (uint64_t)order[i] * t->columns;
        for (uint32_t f = 0; f < m->features; f++)
            raw[f] = row[c->features[f]];
        linreg_expand(m, raw, s->x + i * m->fit.p);
        s->y[i] = row[c->target];
    }
}

/* seed NULL: the order of the file. */
static maas_status split_make(struct split *s, const struct linreg *m, const struct table *t,
                              const struct columns *c, const uint64_t *seed, double test_fraction,
                              maas_error *error)
{
    uint32_t *order = t->rows > UINT32_MAX ? NULL : malloc(t->rows * sizeof(*order));
    double *raw = malloc(m->features * sizeof(*raw));
    s->rows = t->rows;
    s->train = t->rows - (uint64_t)((double)t->rows * test_fraction);
    s->x = malloc(t->rows * m->fit.p * sizeof(double));
    s->y = malloc(t->rows * sizeof(double));
    bool good = order && raw && s->x && s->y;
    for (uint64_t i = 0; good && i < t->rows; i++)
        order[i] = (uint32_t)i;
    uint64_t random = seed ? *seed : 0;
    if (good && seed)
        random_shuffle(&random, order, t->rows);
    if (good)
        split_fill(s, m, t, c, order, raw);
    free(order);
    free(raw);
    return good ? MAAS_OK
                : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu rows",
                            (unsigned long long)t->rows);
}

/* ---- metrics */

/* Of rows [from, to). */
static void emit_metrics(const maas_host *host, const maas_request *job, const struct linreg *m,
                         const struct split *s, uint64_t from, uint64_t to, const char *part)
{
    struct regression all = { 0 };
    double half;
    for (uint64_t i = from; i < to; i++)
        regression_add(&all, linreg_predict(m, s->x + i * m->fit.p, 0, &half), s->y[i]);
    regression_emit(&all, host, job, part);
}

/* ---- the two jobs */

static maas_status fit_named(struct linreg *m, const struct split *s, maas_error *error)
{
    uint32_t at, p = m->fit.p;
    maas_status status =
        fit_least_squares(s->x, s->y, s->train, p, m->intercept, &m->fit, &at, error);
    if (status != MAAS_E_INVALID || at == p)
        return status;
    return maas_fail(error, status, "feature '%s' is constant or depends linearly on the others",
                     m->names[(at - m->intercept) / m->degree]);
}

static maas_status train_on(const maas_host *host, const maas_train_spec *spec,
                            const maas_request *job, const struct table *t, struct linreg *m,
                            struct split *s, maas_error *error)
{
    struct columns c;
    maas_status status = choose(m, t, &c, spec, error);
    if (!status)
        status = split_make(s, m, t, &c, option(spec, "shuffle")->integer ? &spec->seed : NULL,
                            option(spec, "test_fraction")->real, error);
    maas_emit_scalar(host, job, "progress", 0.3);
    if (!status && host->cancelled(host, job))
        status = maas_fail(error, MAAS_E_CANCELLED, "cancelled before the fit");
    if (!status)
        status = fit_named(m, s, error);
    if (status)
        return status;
    emit_metrics(host, job, m, s, 0, s->train, "train");
    emit_metrics(host, job, m, s, s->train, s->rows, "test");
    return linreg_write(spec->out, m, error);
}

maas_status linreg_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    struct table t;
    struct linreg m;
    struct split s;
    memset(&m, 0, sizeof(m));
    memset(&s, 0, sizeof(s));
    maas_status status = table_read(spec->data, "train.csv", &t, error);
    if (status)
        return status;
    status = train_on(host, spec, job, &t, &m, &s, error);
    table_release(&t);
    split_release(&s);
    linreg_release(&m);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static maas_status find_columns(const struct linreg *m, const struct table *t, struct columns *c,
                                maas_error *error)
{
    maas_status status = table_column(t, m->target, strlen(m->target), &c->target, error);
    for (uint32_t f = 0; f < m->features && !status; f++)
        status = table_column(t, m->names[f], strlen(m->names[f]), &c->features[f], error);
    return status;
}

maas_status linreg_evaluate(const maas_host *host, const struct linreg *m,
                            const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    struct table t;
    struct split s;
    struct columns c;
    char path[1024];
    memset(&s, 0, sizeof(s));
    snprintf(path, sizeof(path), "%s/test.csv", spec->data);
    const char *name = access(path, R_OK) == 0 ? "test.csv" : "train.csv";
    maas_status status = table_read(spec->data, name, &t, error);
    if (status)
        return status;
    status = find_columns(m, &t, &c, error);
    if (!status)
        status = split_make(&s, m, &t, &c, NULL, 0, error);
    if (!status) {
        emit_metrics(host, job, m, &s, 0, s.rows, "test");
        host->done(host, job, MAAS_OK, NULL);
    }
    split_release(&s);
    table_release(&t);
    return status;
}
