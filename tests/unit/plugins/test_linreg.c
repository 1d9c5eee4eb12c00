/*
 * The fit of linear regression against the certified results of NIST's Statistical Reference
 * Datasets (StRD), against numpy, scikit-learn and scipy, and what cannot be fitted. The data sets
 * are found by MAAS_TEST_DATA; unset, those tests are skipped and say so.
 *
 * Literal values: numpy 1.24 by the formulas in linreg.h on the normal equations of these eight
 * rows (which are well conditioned), the ridge by scikit-learn 1.2 (StandardScaler, Ridge, with
 * sample_weight), distributions by scipy 1.10 (stats.t.sf, stats.f.sf; quantiles
 * as the roots of stats.t.sf by brentq, since stats.t.ppf has nine digits).
 */
#include "linreg_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>

#define ROWS_MAX  64
#define TERMS_MAX 8

struct nist {
    double beta[TERMS_MAX], error[TERMS_MAX], r2, deviation, f;
    uint32_t terms;
    double x[ROWS_MAX][TERMS_MAX], y[ROWS_MAX];
    uint32_t rows, features;
};

/* The files' own layout: certified values as "B0 value error", then "Data: y x…" and the rows. */
static void nist_read(const char *name, struct nist *out)
{
    char path[1024], line[512];
    bool data = false;
    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/regression/nist/%s.dat", getenv("MAAS_TEST_DATA"), name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("MAAS_TEST_DATA is set but '%s' is missing", path);
    while (fgets(line, sizeof(line), file)) {
        uint32_t term;
        double value, error;
        if (!data && sscanf(line, " B%u %lf %lf", &term, &value, &error) == 3 && term < TERMS_MAX) {
            out->beta[out->terms] = value;
            out->error[out->terms++] = error;
        } else if (!data && sscanf(line, " R-Squared %lf", &value) == 1) {
            out->r2 = value;
        } else if (!data && sscanf(line, " Standard Deviation %lf", &value) == 1) {
            out->deviation = value;
        } else if (!data && sscanf(line, " Regression %*u %*f %*f %lf", &value) == 1) {
            out->f = value;
        } else if (strncmp(line, "Data:", 5) == 0 && out->terms > 0) {
            data = true;
        } else if (data && out->rows < ROWS_MAX) {
            char *at = line, *end;
            out->y[out->rows] = strtod(at, &end);
            uint32_t n = 0;
            for (at = end; (out->x[out->rows][n] = strtod(at, &end)), end != at; at = end)
                n++;
            out->features = n > 0 ? n : out->features;
            out->rows += n > 0;
        }
    }
    fclose(file);
    assert_true(out->rows > out->terms && out->terms > 1);
}

/* Digits of agreement, as NIST scores it: -log10 of the relative error. */
static double digits(double got, double certified)
{
    double e = certified == 0 ? fabs(got) : fabs(got - certified) / fabs(certified);
    return e == 0 ? 15 : fmin(15, -log10(e));
}

static void need_data(void)
{
    if (getenv("MAAS_TEST_DATA"))
        return;
    print_message("skipped: MAAS_TEST_DATA is not set\n");
    skip();
}

/* The rows of a set, each repeated `times`, of powers up to `degree`. */
static void fit_nist(const struct nist *set, uint32_t degree, uint64_t times, struct fit *out)
{
    struct column columns[TERMS_MAX] = { 0 };
    struct linreg m = {
        .features = set->features, .degree = degree, .intercept = true, .columns = columns
    };
    uint32_t dependent;
    uint64_t n = set->rows * times;
    maas_error error = MAAS_ERROR_INIT;
    double *x = calloc(n * set->terms, sizeof(*x)), *y = calloc(n, sizeof(*y));
    assert_true(x && y);
    assert_int_equal(set->terms, set->features * degree + 1);
    for (uint64_t i = 0; i < n; i++) {
        linreg_expand(&m, set->x[i % set->rows], x + i * set->terms);
        y[i] = set->y[i % set->rows];
    }
    struct array rows = { .x = x, .y = y, .n = n, .p = set->terms };
    if (fit_array(&rows, true, 0, out, &dependent, &error))
        fail_msg("%s", error.text);
    free(x);
    free(y);
}

static void certified(const char *name, uint32_t degree, double least)
{
    struct nist set;
    struct fit fit;
    double worst = 15, worst_error = 15;
    need_data();
    nist_read(name, &set);
    fit_nist(&set, degree, 1, &fit);
    for (uint32_t j = 0; j < set.terms; j++) {
        worst = fmin(worst, digits(fit.beta[j], set.beta[j]));
        if (set.error[j] > 0)
            worst_error = fmin(worst_error, digits(fit.error[j], set.error[j]));
    }
    double r2 = digits(fit.r2, set.r2), f = set.f > 0 ? digits(fit.f, set.f) : 15;
    double deviation = digits(sqrt(fit.sigma2), set.deviation);
    print_message("%s: %.1f digits, standard errors %.1f, residual deviation %.1f, R2 %.1f, F "
                  "%.1f\n",
                  name, worst, worst_error, deviation, r2, f);
    fit_release(&fit);
    assert_true(worst >= least && worst_error >= least && r2 >= least && f >= least);
    assert_true(set.deviation == 0 || deviation >= least);
}

static void longley_and_norris_have_twelve_certified_digits(void **state)
{
    (void)state;
    certified("Longley", 1, 12);
    certified("Norris", 1, 12);
}

static void wampler_1_to_5_have_certified_digits(void **state)
{
    (void)state;
    static const char *const names[] = { "Wampler1", "Wampler2", "Wampler3", "Wampler4",
                                         "Wampler5" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        certified(names[i], 5, 9);
}

/* The same certified coefficients from many blocks of rows. */
static void rows_repeated_over_many_blocks_keep_the_digits(void **state)
{
    (void)state;
    struct nist set;
    struct fit fit;
    double worst = 15;
    need_data();
    nist_read("Wampler4", &set);
    fit_nist(&set, 5, 1000, &fit);
    for (uint32_t j = 0; j < set.terms; j++)
        worst = fmin(worst, digits(fit.beta[j], set.beta[j]));
    print_message("Wampler4 a thousand times: %.1f digits\n", worst);
    assert_true(fit.n == 21000 && worst >= 9);
    fit_release(&fit);
}

/* ---- eight rows with weights; x0 is a row to predict */

enum { N = 8 };
static const double design[N * 3] = { 1, 1, 2.5, 1, 2, 0.5, 1, 3, 4, 1, 4, 1,
                                      1, 5, 3.5, 1, 6, 2,   1, 7, 5, 1, 8, 1.5 };
static const double features[N * 2] = { 1, 2.5, 2, 0.5, 3, 4, 4, 1, 5, 3.5, 6, 2, 7, 5, 8, 1.5 };
static const double target[N] = { 3.1, 2.9, 7.2, 5.8, 9.9, 8.1, 13.2, 9.4 };
static const double weights[N] = { 1, 2, 0.5, 1, 4, 1, 0.25, 3 };
static const double x0[3] = { 1, 4.5, 3 };

static void near(const char *what, double got, double wanted)
{
    if (digits(got, wanted) < 12)
        fail_msg("%s is %.17g, not %.17g", what, got, wanted);
}

static struct fit fit_eight(const double *w, double ridge)
{
    struct array rows = { .x = design, .y = target, .w = w, .n = N, .p = 3 };
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    if (fit_array(&rows, true, ridge, &fit, &dependent, &error))
        fail_msg("%s", error.text);
    return fit;
}

static void weighted_least_squares_agrees_with_numpy(void **state)
{
    (void)state;
    static const double beta[] = { 0.01412279153675601, 0.9661740886718825, 1.3159503500205907 };
    static const double error[] = { 0.6832648303650258, 0.10534280330414625, 0.19526898106037158 };
    static const double t[] = { 0.020669571898221488, 9.171714235497797, 6.739167392970296 };
    static const double p[] = { 0.984308725200864, 0.0002583853993583827, 0.0010912198637628306 };
    static const double mean[] = { 1, 83 / 17.0, 2.215686274509804 };
    struct fit f = fit_eight(weights, 0);
    assert_true(fabs(f.beta[0] - beta[0]) < 1e-13);
    for (int j = 1; j < 3; j++)
        near("a coefficient", f.beta[j], beta[j]);
    for (int j = 0; j < 3; j++) {
        near("a standard error", f.error[j], error[j]);
        near("a mean", f.mean[j], mean[j]);
        assert_true(fabs(f.beta[j] / f.error[j] - t[j]) < 1e-11);
        assert_true(fabs(student_tail(f.beta[j] / f.error[j], f.dof) - p[j]) < 1e-12);
    }
    near("R2", f.r2, 0.9660680415671358);
    near("sigma2", f.sigma2, 0.7240521050257858);
    near("F", f.f, 71.17685555039078);
    assert_true(digits(fisher_tail(f.f, 2, f.dof), 0.00021209103711233092) > 11);
    fit_release(&f);
}

static void intervals_agree_with_numpy(void **state)
{
    (void)state;
    struct linreg m = { .fit = fit_eight(weights, 0) };
    double leverage, y = linreg_predict(&m, x0, &leverage);
    near("the prediction", y, 8.309757240621998);
    near("confidence", student_quantile(0.95, 5) * sqrt(m.fit.sigma2 * leverage),
         0.7406711556641146);
    near("prediction", student_quantile(0.95, 5) * sqrt(m.fit.sigma2 * (1 + leverage)),
         2.30933997716309);
    near("90 %", student_quantile(0.9, 5) * sqrt(m.fit.sigma2 * leverage), 0.580603265262792);
    assert_true(linreg_predict(&m, x0, NULL) == y);
    fit_release(&m.fit);
}

static void a_ridge_agrees_with_scikit_learn(void **state)
{
    (void)state;
    static const double beta[] = { 0.37992741347456516, 0.9187950762213161, 1.255254229501677 };
    static const double deviation[] = { 0.6831931222618289, 0.10473453301121044,
                                        0.19414145913589867 };
    struct fit f = fit_eight(weights, 0.7);
    for (int j = 0; j < 3; j++) {
        near("a coefficient", f.beta[j], beta[j]);
        near("a deviation", f.error[j], deviation[j]);
    }
    near("degrees of freedom", f.dof, 5.104915080830642);
    near("sigma2", f.sigma2, 0.7556851670128067);
    assert_true(f.f == -1);
    fit_release(&f);
}

static void without_an_intercept_r2_is_against_zero(void **state)
{
    (void)state;
    struct array rows = { .x = features, .y = target, .w = weights, .n = N, .p = 2 };
    struct fit f;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(fit_array(&rows, false, 0, &f, &dependent, &error), MAAS_OK);
    near("a coefficient", f.beta[0], 0.9676840543039266);
    near("a coefficient", f.beta[1], 1.3182217410345003);
    near("R2", f.r2, 0.9957519009447829);
    near("F", f.f, 703.1982220767001);
    fit_release(&f);
}

/* Weights times c: the same coefficients, errors and tests; sigma2 is of weight 1. */
static void weights_matter_by_their_ratios_only(void **state)
{
    (void)state;
    double more[N];
    struct fit a = fit_eight(weights, 0), ones = fit_eight(NULL, 0);
    for (int i = 0; i < N; i++)
        more[i] = weights[i] * 3e7;
    struct fit b = fit_eight(more, 0);
    for (int j = 1; j < 3; j++) {
        near("a coefficient", b.beta[j], a.beta[j]);
        near("an error", b.error[j], a.error[j]);
        assert_true(fabs(ones.beta[j] - a.beta[j]) > 1e-3);
    }
    near("sigma2", b.sigma2, a.sigma2 * 3e7);
    fit_release(&a);
    fit_release(&b);
    fit_release(&ones);
}

static void sizes_near_the_ends_of_double_are_fitted_or_refused(void **state)
{
    (void)state;
    double x[N * 3], y[N];
    struct fit f;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    struct array rows = { .x = x, .y = y, .n = N, .p = 3 };
    struct fit plain = fit_eight(NULL, 0);
    for (int i = 0; i < N; i++) {
        x[3 * i] = 1;
        x[3 * i + 1] = design[3 * i + 1] * 0x1p900;
        x[3 * i + 2] = design[3 * i + 2] * 0x1p-900;
        y[i] = target[i] * 0x1p100;
    }
    assert_int_equal(fit_array(&rows, true, 0, &f, &dependent, &error), MAAS_OK);
    near("a coefficient", f.beta[1], plain.beta[1] * 0x1p-800);
    near("an error", f.error[2], plain.error[2] * 0x1p1000);
    fit_release(&f);
    fit_release(&plain);
    for (int i = 0; i < N; i++)
        y[i] = target[i] * 0x1p1000;
    assert_int_equal(fit_array(&rows, true, 0, &f, &dependent, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "too large or too small"));
}

static void a_constant_target_has_r2_1_and_no_f(void **state)
{
    (void)state;
    double y[N];
    struct array rows = { .x = design, .y = y, .n = N, .p = 3 };
    struct fit f;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    for (int i = 0; i < N; i++)
        y[i] = 0.1;
    assert_int_equal(fit_array(&rows, true, 0, &f, &dependent, &error), MAAS_OK);
    near("the intercept", f.beta[0], 0.1);
    assert_true(f.r2 == 1 && f.f == -1 && f.sigma2 < 1e-30);
    fit_release(&f);
}

/* ---- what cannot be fitted */

static void dependent_columns_and_too_few_rows_are_refused(void **state)
{
    (void)state;
    static const double x[] = { 1, 1, 2, 1, 2, 4, 1, 3, 6, 1, 4, 8 }, y[] = { 1, 2, 3, 5 };
    struct array rows = { .x = x, .y = y, .n = 4, .p = 3 };
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(fit_array(&rows, true, 0, &fit, &dependent, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "depends linearly"));
    assert_in_range(dependent, 1, 2);
    rows.n = 3;
    assert_int_equal(fit_array(&rows, true, 0, &fit, &dependent, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "too few"));
    assert_int_equal(dependent, 3);
    rows.n = 0;
    assert_int_equal(fit_array(&rows, true, 0, &fit, &dependent, &error), MAAS_E_INVALID);
}

/* What a ridge is for: more columns than rows, columns that depend on each other. */
static void a_ridge_fits_what_least_squares_cannot(void **state)
{
    (void)state;
    static const double x[] = { 1, 1, 2, 5, 1, 2, 4, 1, 1, 3, 6, 2 }, y[] = { 1, 2, 3 };
    static const double constant[] = { 1, 7, 2, 1, 7, 4, 1, 7, 5 };
    struct array rows = { .x = x, .y = y, .n = 3, .p = 4 };
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(fit_array(&rows, true, 0.1, &fit, &dependent, &error), MAAS_OK);
    near("equal shares of equal columns", fit.beta[1], 2 * fit.beta[2]);
    fit_release(&fit);
    rows.x = constant;
    rows.p = 3;
    assert_int_equal(fit_array(&rows, true, 0.1, &fit, &dependent, &error), MAAS_E_INVALID);
    assert_int_equal(dependent, 1);
}

/* Rounding of long columns must not hide a dependence, nor scale feign one. */
static void dependence_is_seen_through_rounding_and_scale(void **state)
{
    (void)state;
    enum { LONG = 20000 };
    double *x = malloc(LONG * 3 * sizeof(double)), *y = malloc(LONG * sizeof(double));
    struct array rows = { .x = x, .y = y, .n = LONG, .p = 3 };
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_true(x && y);
    for (int i = 0; i < LONG; i++) {
        x[i * 3] = 1;
        x[i * 3 + 1] = sin(i);
        x[i * 3 + 2] = sin(i) / 3 + 0.1;
        y[i] = cos(i);
    }
    assert_int_equal(fit_array(&rows, true, 0, &fit, &dependent, &error), MAAS_E_INVALID);
    for (int i = 0; i < LONG; i++) {
        x[i * 3 + 2] = cos(i) * 1e-200;
        y[i] = 2 + sin(i) - 3 * cos(i);
    }
    assert_int_equal(fit_array(&rows, true, 0, &fit, &dependent, &error), MAAS_OK);
    assert_true(digits(fit.beta[0], 2) > 13 && digits(fit.beta[1], 1) > 13 &&
                digits(fit.beta[2], -3e200) > 13);
    fit_release(&fit);
    free(x);
    free(y);
}

/* ---- memory */

struct endless { /* rows made up as they are asked for */
    uint64_t at, n, passes;
};

static maas_status endless_rewind(void *from, maas_error *error)
{
    (void)error;
    struct endless *e = from;
    e->at = 0;
    e->passes++;
    return MAAS_OK;
}

static maas_status endless_next(void *from, double *x, double *y, double *weight, bool *out_end,
                                maas_error *error)
{
    struct endless *e = from;
    (void)error;
    *out_end = e->at == e->n;
    x[0] = *weight = 1;
    for (uint64_t j = 1; j < 5; j++)
        x[j] = (double)((e->at * 2654435761u * j >> 7) % 1000) / 1000;
    *y = 1 + x[1] - 2 * x[2] + 3 * x[3] - 4 * x[4];
    e->at++;
    return MAAS_OK;
}

/* A million rows of five numbers would be 48 MB. */
static void memory_does_not_grow_with_the_rows(void **state)
{
    (void)state;
    static const double largest[5] = { 1, 1, 1, 1, 1 };
    struct endless e = { .n = 1000000 };
    struct rows rows = { &e, endless_rewind, endless_next };
    struct fit_plan plan = {
        .p = 5, .intercept = true, .largest = largest, .largest_y = 10, .largest_weight = 1
    };
    struct rusage before, after;
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(fit_least_squares(&rows, &plan, &fit, &dependent, &error), MAAS_OK);
    getrusage(RUSAGE_SELF, &after);
    print_message("a million rows: %ld kB more\n", after.ru_maxrss - before.ru_maxrss);
    assert_true(after.ru_maxrss - before.ru_maxrss < 4096);
    assert_true(digits(fit.beta[4], -4) > 12 && fit.n == 1000000);
    fit_release(&fit);
}

/* Rows that fit are read from their source once, others in each pass; the fit is the same. */
static void rows_are_kept_up_to_a_bound(void **state)
{
    (void)state;
    static const double largest[5] = { 1, 1, 1, 1, 1 };
    const uint64_t most = KEPT_MAX_BYTES / (7 * sizeof(double));
    const struct fit_plan plan = {
        .p = 5, .intercept = true, .largest = largest, .largest_y = 10, .largest_weight = 1
    };
    for (int i = 0; i < 2; i++) {
        struct endless e = { .n = i ? most + 1 : 100000 };
        struct rows source = { &e, endless_rewind, endless_next };
        struct kept_rows kept;
        struct rows rows = kept_over(&kept, &source, 5);
        struct fit fit, plain;
        uint32_t dependent;
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(fit_least_squares(&rows, &plan, &fit, &dependent, &error), MAAS_OK);
        assert_true(i ? e.passes > 2 && kept.state == KEPT_NEVER && !kept.numbers : e.passes == 1);
        kept_release(&kept);
        assert_int_equal(fit_least_squares(&source, &plan, &plain, &dependent, &error), MAAS_OK);
        assert_memory_equal(fit.beta, plain.beta, 5 * sizeof(double));
        assert_memory_equal(fit.error, plain.error, 5 * sizeof(double));
        fit_release(&fit);
        fit_release(&plain);
    }
}

/* ---- distributions */

static void tails_agree_with_scipy(void **state)
{
    (void)state;
    static const struct {
        double t, dof, p;
    } t[] = { { 1, 1, 0.5 },
              { 2.5, 3, 0.08770664700806555 },
              { 12.7062047361747, 1, 0.05 },
              { 2, 30.5, 0.0544736635996799 },
              { 5, 431, 8.356934418941962e-07 },
              { 30, 10, 3.9617923420313195e-11 },
              { 0.01, 1e6, 0.9920212893655477 },
              { 40, 5, 1.8411962171772952e-07 } };
    static const struct {
        double f, dof1, dof2, p;
    } f[] = { { 1, 1, 1, 0.5 },
              { 3.5, 4, 20, 0.025385230866441275 },
              { 80.5, 6, 9, 2.626634216736234e-07 },
              { 1e-3, 2, 7, 0.9990006425205645 },
              { 2, 100, 1000, 1.1465421435216455e-07 },
              { 500, 3, 12, 7.303815807694688e-13 } };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        if (digits(student_tail(t[i].t, t[i].dof), t[i].p) < 10)
            fail_msg("t %g %g: %.17g", t[i].t, t[i].dof, student_tail(t[i].t, t[i].dof));
    for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++)
        if (digits(fisher_tail(f[i].f, f[i].dof1, f[i].dof2), f[i].p) < 10)
            fail_msg("F %g %g %g: %.17g", f[i].f, f[i].dof1, f[i].dof2,
                     fisher_tail(f[i].f, f[i].dof1, f[i].dof2));
    /* Of very many rows the continued fraction has fewer digits, more than anyone reads. */
    assert_true(digits(student_tail(1.96, 1e8), 0.049995793069328096) > 8);
    assert_true(digits(fisher_tail(1.001, 50, 1e7), 0.4714116019749723) > 8);
    assert_true(digits(student_quantile(0.95, 1e8), 1.9599640082627663) > 8);
    assert_true(student_tail(INFINITY, 3) == 0 && student_tail(0, 3) == 1);
    assert_true(fisher_tail(0, 2, 3) == 1 && fisher_tail(INFINITY, 2, 3) == 0);
}

static void quantiles_agree_with_scipy(void **state)
{
    (void)state;
    static const struct {
        double level, dof, t;
    } q[] = { { 0.95, 1, 12.706204736174692 },   { 0.95, 9, 2.262157162798204 },
              { 0.95, 431, 1.9654833203397433 }, { 0.99, 2.5, 7.163728138948783 },
              { 0.5, 7, 0.7111417780817866 },    { 0.9999, 1, 6366.197671316636 },
              { 0.9999, 30, 4.482417175409785 }, { 0.01, 12, 0.012797059671070862 } };
    for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
        if (digits(student_quantile(q[i].level, q[i].dof), q[i].t) < 10)
            fail_msg("%g %g: %.17g", q[i].level, q[i].dof, student_quantile(q[i].level, q[i].dof));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longley_and_norris_have_twelve_certified_digits),
        cmocka_unit_test(wampler_1_to_5_have_certified_digits),
        cmocka_unit_test(rows_repeated_over_many_blocks_keep_the_digits),
        cmocka_unit_test(weighted_least_squares_agrees_with_numpy),
        cmocka_unit_test(intervals_agree_with_numpy),
        cmocka_unit_test(a_ridge_agrees_with_scikit_learn),
        cmocka_unit_test(without_an_intercept_r2_is_against_zero),
        cmocka_unit_test(weights_matter_by_their_ratios_only),
        cmocka_unit_test(sizes_near_the_ends_of_double_are_fitted_or_refused),
        cmocka_unit_test(a_constant_target_has_r2_1_and_no_f),
        cmocka_unit_test(dependent_columns_and_too_few_rows_are_refused),
        cmocka_unit_test(a_ridge_fits_what_least_squares_cannot),
        cmocka_unit_test(dependence_is_seen_through_rounding_and_scale),
        cmocka_unit_test(memory_does_not_grow_with_the_rows),
        cmocka_unit_test(rows_are_kept_up_to_a_bound),
        cmocka_unit_test(tails_agree_with_scipy),
        cmocka_unit_test(quantiles_agree_with_scipy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
