/*
 * fit.c: weighted least squares over rows that are read again and again, in memory of p^2.
 *
 * One pass folds blocks of rows, sqrt(w) [x y], into a triangle [R z; 0 .] by Householder QR
 * (LAPACK's dtpqrt); a ridge is p more rows, sqrt(lambda) s_j e_j. Then b = R^-1 z is refined: each
 * further pass takes g = X'W(y - Xb) - Db in long double and solves R'R d = g (Bjorck's corrected
 * seminormal equations), until d is below b's rounding. Columns, y and weights are scaled by powers
 * of two, which is exact, so sizes neither overflow nor feign a dependence. Standard errors:
 * se_j = sqrt(sigma^2 (R'R)^-1_jj), (R'R)^-1 = R^-1 R^-T.
 *
 * Digits on NIST's sets, worst coefficient: see tests/unit/plugins/test_linreg.c. Rejected: the
 * normal equations by themselves (no digit is left on one NIST set); refining the augmented system
 * [I X; X' 0], which needs a residual per row in memory.
 * Sources: Golub and Van Loan, Matrix Computations, ch. 5; Gentleman, AS 75 (1974) for rows that
 * come one by one; Bjorck, Stability analysis of the method of seminormal equations, LAA 88 (1987).
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "lapack.h"
#include "linreg.h"

enum { BLOCK = 256, PANEL = 32, REFINEMENTS = 6 };
/* A column whose part beyond the others is smaller than this is taken for rounding. The hardest
 * certified set, Wampler's fifth powers, stands at 1e-5. Rounding grows with the root of the rows.
 */
#define DEPENDENT 1e-12
#define CONSTANT  1e-30L

struct qr {
    const struct rows *rows;
    const struct fit_plan *plan;
    int p, wide, panel;           /* wide: p + 1 */
    double *r;                    /* wide x wide: R, z beside it */
    double *block;                /* BLOCK x wide */
    double *t, *work;             /* panel x wide each */
    double *x;                    /* a row's terms, scaled */
    double *scale;                /* p powers of two */
    double scale_y, scale_weight; /* the latter a power of four: its root is exact, too */
    double *penalty;              /* p: D, of scaled terms */
    long double *b, *g, *sum;     /* p: solution, gradient, weighted sums of the terms */
    long double weights, sum_y;
    uint64_t n;
};

static void qr_release(struct qr *q)
{
    free(q->r);
    free(q->block);
    free(q->t);
    free(q->work);
    free(q->x);
    free(q->scale);
    free(q->penalty);
    free(q->b);
    free(q->g);
    free(q->sum);
}

static bool qr_allocate(struct qr *q)
{
    size_t p = (size_t)q->p, wide = p + 1, panel = (size_t)q->panel;
    q->r = calloc(wide * wide, sizeof(double));
    q->block = calloc(BLOCK * wide, sizeof(double));
    q->t = calloc(panel * wide, sizeof(double));
    q->work = calloc(panel * wide, sizeof(double));
    q->x = calloc(p, sizeof(double));
    q->scale = calloc(p, sizeof(double));
    q->penalty = calloc(p, sizeof(double));
    q->b = calloc(p, sizeof(*q->b));
    q->g = calloc(p, sizeof(*q->g));
    q->sum = calloc(p, sizeof(*q->sum));
    return q->r && q->block && q->t && q->work && q->x && q->scale && q->penalty && q->b && q->g &&
           q->sum;
}

/* The power of two that brings numbers up to `largest` near to 1. */
static double scale_of(double largest)
{
    return largest > 0 ? ldexp(1.0, -ilogb(largest)) : 1.0;
}

static void qr_scale(struct qr *q)
{
    const struct fit_plan *plan = q->plan;
    for (size_t j = 0; j < (size_t)q->p; j++)
        q->scale[j] = scale_of(plan->largest[j]);
    q->scale_y = scale_of(plan->largest_y);
    q->scale_weight = ldexp(1.0, -2 * (ilogb(plan->largest_weight) / 2));
}

static maas_status failed(int info, maas_error *error)
{
    return maas_fail(error, MAAS_E_INTERNAL, "the QR factorisation failed (LAPACK says %d)", info);
}

static maas_status too_extreme(maas_error *error)
{
    return maas_fail(error, MAAS_E_INVALID,
                     "the numbers are too large or too small: the fit is not finite");
}

/* ---- passes */

/* The next row, scaled: terms in q->x. */
static maas_status next_row(struct qr *q, double *y, double *weight, bool *out_end,
                            maas_error *error)
{
    maas_status status = q->rows->next(q->rows->from, q->x, y, weight, out_end, error);
    if (status || *out_end)
        return status;
    for (size_t j = 0; j < (size_t)q->p; j++)
        q->x[j] *= q->scale[j];
    *y *= q->scale_y;
    *weight *= q->scale_weight;
    return MAAS_OK;
}

static maas_status fold(struct qr *q, int rows, maas_error *error)
{
    int zero = 0, room = BLOCK, info = 0;
    if (rows)
        dtpqrt_(&rows, &q->wide, &zero, &q->panel, q->r, &q->wide, q->block, &room, q->t, &q->panel,
                q->work, &info);
    return info ? failed(info, error) : MAAS_OK;
}

static void add_sums(struct qr *q, double y, double weight)
{
    for (size_t j = 0; j < (size_t)q->p; j++)
        q->sum[j] += (long double)weight * q->x[j];
    q->sum_y += (long double)weight * y;
    q->weights += weight;
    q->n++;
}

static maas_status factor_rows(struct qr *q, maas_error *error)
{
    double y, weight;
    bool end = false;
    maas_status status = q->rows->rewind(q->rows->from, error);
    while (!status && !end) {
        int rows = 0;
        while (rows < BLOCK && !(status = next_row(q, &y, &weight, &end, error)) && !end) {
            double root = sqrt(weight);
            for (size_t j = 0; j < (size_t)q->p; j++)
                q->block[j * BLOCK + (size_t)rows] = root * q->x[j];
            q->block[(size_t)q->p * BLOCK + (size_t)rows] = root * y;
            add_sums(q, y, weight);
            rows++;
        }
        if (!status)
            status = fold(q, rows, error);
    }
    return status;
}

/* D_j = lambda s_j^2: s_j, the weighted deviation of column j, is what stands in R below the
 * intercept's row. Then the rows sqrt(D_j) e_j are folded in. */
static maas_status factor_ridge(struct qr *q, maas_error *error)
{
    size_t p = (size_t)q->p, wide = p + 1, first = q->plan->intercept;
    maas_status status = MAAS_OK;
    for (size_t j = first; j < p; j++) {
        double square = 0;
        for (size_t i = first; i <= j; i++)
            square += q->r[j * wide + i] * q->r[j * wide + i];
        q->penalty[j] = q->plan->ridge * q->scale_weight * square / (double)q->weights;
    }
    for (size_t from = 0; from < p && !status; from += BLOCK) {
        size_t rows = p - from < BLOCK ? p - from : BLOCK;
        memset(q->block, 0, BLOCK * wide * sizeof(double));
        for (size_t i = 0; i < rows; i++)
            q->block[(from + i) * BLOCK + i] = sqrt(q->penalty[from + i]);
        status = fold(q, (int)rows, error);
    }
    return status;
}

static maas_status add_gradient(struct qr *q, maas_error *error)
{
    double y, weight;
    bool end = false;
    maas_status status = q->rows->rewind(q->rows->from, error);
    memset(q->g, 0, (size_t)q->p * sizeof(*q->g));
    while (!status && !(status = next_row(q, &y, &weight, &end, error)) && !end) {
        long double residual = y;
        for (size_t j = 0; j < (size_t)q->p; j++)
            residual -= q->x[j] * q->b[j];
        residual *= weight;
        for (size_t j = 0; j < (size_t)q->p; j++)
            q->g[j] += q->x[j] * residual;
    }
    for (size_t j = 0; j < (size_t)q->p; j++)
        q->g[j] -= q->penalty[j] * q->b[j];
    return status;
}

/* ---- the solution */

/* The intercept is kept in front, so that a constant feature is the dependent one; pivoting sorts
 * the rest of R's diagonal, so its first tiny element marks such a column. */
static maas_status find_dependent(const struct qr *q, double *copy, double *tau, double *work,
                                  int *pivot, uint32_t *out_dependent, maas_error *error)
{
    size_t p = (size_t)q->p;
    int info = 0, room = 64 * q->wide + 2 * q->p;
    double most = 0, least = fmax(DEPENDENT, 8 * DBL_EPSILON * sqrt((double)q->n));
    for (size_t j = 0; j < p; j++)
        memcpy(copy + j * p, q->r + j * (p + 1), (j + 1) * sizeof(double));
    pivot[0] = q->plan->intercept;
    dgeqp3_(&q->p, &q->p, copy, &q->p, pivot, tau, work, &room, &info);
    if (info)
        return failed(info, error);
    for (size_t j = 0; j < p; j++) {
        double diagonal = fabs(copy[j * p + j]);
        most = fmax(most, diagonal);
        if (diagonal > most * least)
            continue;
        *out_dependent = (uint32_t)pivot[j] - 1;
        return maas_fail(error, MAAS_E_INVALID, "column %u depends linearly on the others",
                         *out_dependent);
    }
    return MAAS_OK;
}

static maas_status check_rank(const struct qr *q, uint32_t *out_dependent, maas_error *error)
{
    size_t p = (size_t)q->p;
    double *copy = calloc(p * p, sizeof(double)), *tau = calloc(p, sizeof(double));
    double *work = calloc(64 * (p + 1) + 2 * p, sizeof(double));
    int *pivot = calloc(p, sizeof(int));
    maas_status status = copy && tau && work && pivot
                             ? find_dependent(q, copy, tau, work, pivot, out_dependent, error)
                             : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the fit");
    free(copy);
    free(tau);
    free(work);
    free(pivot);
    return status;
}

/* v becomes R^-1 v or R^-T v. */
static maas_status triangle(const struct qr *q, const char *trans, double *v, maas_error *error)
{
    int one = 1, info = 0;
    dtrtrs_("U", trans, "N", &q->p, &one, q->r, &q->wide, v, &q->p, &info, 1, 1, 1);
    return info ? failed(info, error) : MAAS_OK;
}

/* b += (R'R)^-1 g; *out_done: that was below b's rounding. g may be too small or large for double.
 */
static maas_status correct(struct qr *q, bool *out_done, maas_error *error)
{
    size_t p = (size_t)q->p;
    long double most = 0, largest = 0;
    double *step = q->x;
    for (size_t j = 0; j < p; j++)
        most = fmaxl(most, fabsl(q->g[j]));
    *out_done = most == 0;
    for (size_t j = 0; j < p && most > 0; j++)
        step[j] = (double)(q->g[j] / most);
    maas_status status = *out_done ? MAAS_OK : triangle(q, "T", step, error);
    if (!status && !*out_done)
        status = triangle(q, "N", step, error);
    if (status || *out_done)
        return status;
    *out_done = true;
    for (size_t j = 0; j < p; j++)
        largest = fmaxl(largest, fabsl(q->b[j]));
    for (size_t j = 0; j < p; j++) {
        long double by = step[j] * most, small = fmaxl(fabsl(q->b[j]), largest * 0x1p-20L);
        *out_done = *out_done && fabsl(by) <= small * 0x1p-56L;
        q->b[j] += by;
    }
    return MAAS_OK;
}

static maas_status solve(struct qr *q, maas_error *error)
{
    size_t p = (size_t)q->p;
    bool done = false;
    memcpy(q->x, q->r + p * (p + 1), p * sizeof(double));
    maas_status status = triangle(q, "N", q->x, error);
    for (size_t j = 0; j < p; j++)
        q->b[j] = q->x[j];
    for (int i = 0; i < REFINEMENTS && !status && !done; i++) {
        status = add_gradient(q, error);
        if (!status)
            status = correct(q, &done, error);
    }
    return status;
}

/* ---- statistics */

static void unscale(const struct qr *q, struct fit *f)
{
    for (size_t j = 0; j < f->p; j++) {
        f->beta[j] = (double)(q->b[j] * q->scale[j] / q->scale_y);
        f->mean[j] = (double)(q->sum[j] / q->weights) / q->scale[j];
    }
    f->n = q->n;
}

/* Residual and total squares of the coefficients as they are kept: doubles. */
static maas_status add_squares(struct qr *q, long double *rss, long double *tss, maas_error *error)
{
    double y, weight;
    bool end = false;
    long double mean = q->plan->intercept ? q->sum_y / q->weights : 0;
    maas_status status = q->rows->rewind(q->rows->from, error);
    *rss = *tss = 0;
    while (!status && !(status = next_row(q, &y, &weight, &end, error)) && !end) {
        long double residual = y;
        for (size_t j = 0; j < (size_t)q->p; j++)
            residual -= q->x[j] * (long double)(double)q->b[j];
        *rss += weight * residual * residual;
        *tss += weight * (y - mean) * (y - mean);
    }
    return status;
}

static maas_status invert(const struct qr *q, struct fit *f, maas_error *error)
{
    size_t p = f->p;
    int info = 0;
    double weight = sqrt(q->scale_weight);
    for (size_t k = 0; k < p; k++)
        memcpy(f->root + k * p, q->r + k * (p + 1), (k + 1) * sizeof(double));
    dtrtri_("U", "N", &q->p, f->root, &q->p, &info, 1, 1);
    if (info)
        return failed(info, error);
    for (size_t k = 0; k < p; k++)
        for (size_t i = 0; i <= k; i++)
            f->root[k * p + i] *= weight * q->scale[i];
    return MAAS_OK;
}

/* (X'WX + D)^-1_jj */
static long double variance(const struct fit *f, uint32_t j)
{
    long double sum = 0;
    for (uint32_t k = j; k < f->p; k++) {
        long double at = f->root[(size_t)k * f->p + j];
        sum += at * at;
    }
    return sum;
}

/* n - p; of a ridge n - tr(A^-1 (A - D)) = n - p + the sum of A^-1_jj D_j. */
static double degrees(const struct qr *q, const struct fit *f)
{
    long double sum = (long double)f->n - f->p;
    for (uint32_t j = 0; j < f->p; j++)
        sum += variance(f, j) * q->penalty[j] /
               ((long double)q->scale[j] * q->scale[j] * q->scale_weight);
    return (double)sum;
}

static maas_status statistics(struct qr *q, struct fit *f, maas_error *error)
{
    long double rss, tss;
    maas_status status = add_squares(q, &rss, &tss, error);
    if (!status)
        status = invert(q, f, error);
    if (status)
        return status;
    unscale(q, f);
    f->dof = degrees(q, f);
    if (!(f->dof > 0))
        return maas_fail(error, MAAS_E_INVALID, "%llu rows leave no degree of freedom",
                         (unsigned long long)f->n);
    long double sigma2 = rss / f->dof;
    f->sigma2 = (double)(sigma2 / q->scale_weight / q->scale_y / q->scale_y);
    bool constant = tss <= CONSTANT * q->weights; /* of y, which is near 1: rounding alone */
    f->r2 = constant ? 1 : (double)(1 - rss / tss);
    uint32_t model = f->p - q->plan->intercept;
    f->f = q->plan->ridge > 0 || !model ? -1 : (double)fminl((tss - rss) / model / sigma2, DBL_MAX);
    if (constant || isnan(f->f)) /* there is nothing to explain */
        f->f = -1;
    bool finite = isfinite(f->sigma2);
    for (uint32_t j = 0; j < f->p; j++) {
        f->error[j] = (double)sqrtl(f->sigma2 * variance(f, j));
        finite = finite && isfinite(f->error[j]) && isfinite(f->beta[j]) && isfinite(f->mean[j]);
    }
    return finite ? MAAS_OK : too_extreme(error);
}

/* ---- the whole */

static maas_status check_count(const struct qr *q, maas_error *error)
{
    uint64_t p = (uint64_t)q->p;
    if (q->n > p || (q->plan->ridge > 0 && q->n > 1))
        return MAAS_OK;
    return maas_fail(error, MAAS_E_INVALID, "%llu rows are too few for %u coefficients",
                     (unsigned long long)q->n, (unsigned)q->p);
}

static maas_status fit_with(struct qr *q, struct fit *f, uint32_t *out_dependent, maas_error *error)
{
    qr_scale(q);
    maas_status status = factor_rows(q, error);
    if (!status)
        status = check_count(q, error);
    if (!status && q->plan->ridge > 0)
        status = factor_ridge(q, error);
    if (!status)
        status = check_rank(q, out_dependent, error);
    if (!status)
        status = solve(q, error);
    return status ? status : statistics(q, f, error);
}

maas_status fit_least_squares(const struct rows *rows, const struct fit_plan *plan, struct fit *out,
                              uint32_t *out_dependent, maas_error *error)
{
    struct qr q = { .rows = rows, .plan = plan, .p = (int)plan->p, .wide = (int)plan->p + 1 };
    struct fit f;
    q.panel = q.wide < PANEL ? q.wide : PANEL;
    *out_dependent = plan->p;
    bool there = fit_allocate(&f, plan->p);
    there = qr_allocate(&q) && there;
    maas_status status = there ? fit_with(&q, &f, out_dependent, error)
                               : maas_fail(error, MAAS_E_EXHAUSTED,
                                           "no memory for a fit of %u coefficients", plan->p);
    qr_release(&q);
    if (status)
        fit_release(&f);
    else
        *out = f;
    return status;
}

bool fit_allocate(struct fit *f, uint32_t p)
{
    memset(f, 0, sizeof(*f));
    f->p = p;
    f->beta = calloc(p, sizeof(double));
    f->error = calloc(p, sizeof(double));
    f->mean = calloc(p, sizeof(double));
    f->root = calloc((size_t)p * p, sizeof(double));
    return f->beta && f->error && f->mean && f->root;
}

void fit_release(struct fit *f)
{
    free(f->beta);
    free(f->error);
    free(f->mean);
    free(f->root);
    memset(f, 0, sizeof(*f));
}
