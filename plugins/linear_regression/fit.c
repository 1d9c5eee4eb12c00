/*
 * fit.c: least squares by QR.
 *
 * Columns are scaled by powers of two (exact) and X P = Q R comes from LAPACK's dgeqp3
 * (Householder, column pivoting). The solution is refined on the augmented system [I X; X' 0] [r;
 * b] = [y; 0] with defects in long double; refining b alone does not help where the residual is
 * large (Wampler5: 6 digits). Standard errors: se_j = sqrt(sigma^2 (X'X)^-1_jj) with (X'X)^-1 =
 * R^-1 R^-T.
 *
 * Rejected: the normal equations X'X b = X'y (they square the condition number: no digit is left on
 * one NIST set) and dgelsy, which does the same QR inside but keeps Q and R from the refinement.
 * Sources: Golub and Van Loan, Matrix Computations, ch. 5.3; Bjorck, Iterative refinement of linear
 * least squares solutions I, BIT 7 (1967).
 */
#include "linreg.h"

#include <math.h>
#include <stdlib.h>

/* LAPACK and BLAS by their Fortran names; all arrays column-major. */
void dgeqp3_(const int *m, const int *n, double *a, const int *lda, int *jpvt, double *tau,
             double *work, const int *lwork, int *info);
void dormqr_(const char *side, const char *trans, const int *m, const int *n, const int *k,
             const double *a, const int *lda, const double *tau, double *c, const int *ldc,
             double *work, const int *lwork, int *info, size_t side_len, size_t trans_len);
void dtrtrs_(const char *uplo, const char *trans, const char *diag, const int *n, const int *nrhs,
             const double *a, const int *lda, double *b, const int *ldb, int *info, size_t uplo_len,
             size_t trans_len, size_t diag_len);
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info,
             size_t uplo_len, size_t diag_len);

enum { REFINEMENTS = 3 };
/* A column whose part beyond the others is smaller than this is taken for rounding. The hardest
 * certified set, Wampler's fifth powers, stands at 1e-5. */
#define DEPENDENT 1e-12

struct qr {
    int n, p, lwork;
    double *a;     /* n x p column-major: R above, Householder vectors below */
    double *tau;   /* p */
    double *scale; /* p: the power of two each column was multiplied by */
    double *work;
    double *rhs; /* n */
    int *pivot;  /* p, from 1 */
};

static void qr_release(struct qr *q)
{
    free(q->a);
    free(q->tau);
    free(q->scale);
    free(q->work);
    free(q->rhs);
    free(q->pivot);
}

static bool qr_allocate(struct qr *q, uint64_t n, uint32_t p)
{
    memset(q, 0, sizeof(*q));
    q->n = (int)n;
    q->p = (int)p;
    q->lwork = 64 * ((int)p + 1) + 2 * (int)p;
    q->a = malloc(n * p * sizeof(double));
    q->tau = malloc(p * sizeof(double));
    q->scale = malloc(p * sizeof(double));
    q->work = malloc((size_t)q->lwork * sizeof(double));
    q->rhs = malloc(n * sizeof(double));
    q->pivot = calloc(p, sizeof(int));
    return q->a && q->tau && q->scale && q->work && q->rhs && q->pivot;
}

static void qr_load(struct qr *q, const double *x)
{
    size_t n = (size_t)q->n, p = (size_t)q->p;
    for (size_t j = 0; j < p; j++) {
        double most = 0;
        for (size_t i = 0; i < n; i++)
            most = fmax(most, fabs(x[i * p + j]));
        q->scale[j] = most > 0 ? ldexp(1.0, -ilogb(most)) : 1.0;
        for (size_t i = 0; i < n; i++)
            q->a[j * n + i] = x[i * p + j] * q->scale[j];
    }
}

static maas_status factor_failed(int info, maas_error *error)
{
    return maas_fail(error, MAAS_E_INTERNAL, "the QR factorisation failed (LAPACK says %d)", info);
}

/* X S P = Q R. The intercept is kept in front, so that a constant feature is the dependent one;
 * pivoting sorts the rest of R's diagonal, so its first tiny element marks such a column. */
static maas_status qr_factor(struct qr *q, bool intercept, uint32_t *out_dependent,
                             maas_error *error)
{
    int info = 0;
    double most = 0;
    q->pivot[0] = intercept;
    dgeqp3_(&q->n, &q->p, q->a, &q->n, q->pivot, q->tau, q->work, &q->lwork, &info);
    if (info)
        return factor_failed(info, error);
    for (size_t j = 0; j < (size_t)q->p; j++) {
        double diagonal = fabs(q->a[j * (size_t)q->n + j]);
        most = fmax(most, diagonal);
        if (diagonal > most * DEPENDENT)
            continue;
        *out_dependent = (uint32_t)q->pivot[j] - 1;
        return maas_fail(error, MAAS_E_INVALID, "column %u depends linearly on the others",
                         *out_dependent);
    }
    return MAAS_OK;
}

/* v (n) becomes Q'v or Qv. */
static bool qr_rotate(struct qr *q, const char *trans, double *v)
{
    int one = 1, info = 0;
    dormqr_("L", trans, &q->n, &one, &q->p, q->a, &q->n, q->tau, v, &q->n, q->work, &q->lwork,
            &info, 1, 1);
    return info == 0;
}

/* v (p) becomes R^-1 v or R^-T v. */
static bool qr_triangle(struct qr *q, const char *trans, double *v)
{
    int one = 1, info = 0;
    dtrtrs_("U", trans, "N", &q->p, &one, q->a, &q->n, v, &q->n, &info, 1, 1, 1);
    return info == 0;
}

/* The state of the refinement: residual r and solution b of [I X; X' 0] [r; b] = [y; 0]. */
struct refine {
    long double *r, *b; /* n, p */
    double *g;          /* n, of which p are used */
};

/* q->rhs = y - r - X b, g = -(S P)' X' r: what the present solution leaves of the system. */
static void defects(const double *x, const double *y, struct qr *q, struct refine *s)
{
    size_t n = (size_t)q->n, p = (size_t)q->p;
    for (size_t i = 0; i < n; i++) {
        long double f = (long double)y[i] - s->r[i];
        for (size_t j = 0; j < p; j++)
            f -= (long double)x[i * p + j] * s->b[j];
        q->rhs[i] = (double)f;
    }
    for (size_t j = 0; j < p; j++) {
        size_t column = (size_t)q->pivot[j] - 1;
        long double g = 0;
        for (size_t i = 0; i < n; i++)
            g -= (long double)x[i * p + column] * s->r[i];
        s->g[j] = (double)(g * q->scale[column]);
    }
}

/* With h = R^-T g and d = Q'f: db = R^-1 (d1 - h), dr = Q [h; d2]. */
static bool correct(struct qr *q, struct refine *s)
{
    size_t n = (size_t)q->n, p = (size_t)q->p;
    if (!qr_triangle(q, "T", s->g) || !qr_rotate(q, "T", q->rhs))
        return false;
    for (size_t j = 0; j < p; j++) {
        double h = s->g[j];
        s->g[j] = q->rhs[j] - h;
        q->rhs[j] = h;
    }
    if (!qr_triangle(q, "N", s->g) || !qr_rotate(q, "N", q->rhs))
        return false;
    for (size_t j = 0; j < p; j++)
        s->b[q->pivot[j] - 1] += (long double)s->g[j] * q->scale[q->pivot[j] - 1];
    for (size_t i = 0; i < n; i++)
        s->r[i] += q->rhs[i];
    return true;
}

static maas_status solve_refined(struct qr *q, const double *x, const double *y, double *beta,
                                 maas_error *error)
{
    size_t n = (size_t)q->n, p = (size_t)q->p;
    struct refine s = { calloc(n, sizeof(*s.r)), calloc(p, sizeof(*s.b)), calloc(n, sizeof(*s.g)) };
    maas_status status =
        s.r && s.b && s.g ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the fit");
    for (int step = 0; step <= REFINEMENTS && !status; step++) {
        defects(x, y, q, &s);
        if (!correct(q, &s))
            status = factor_failed(0, error);
    }
    for (size_t j = 0; j < p && !status; j++)
        beta[j] = (double)s.b[j];
    free(s.r);
    free(s.b);
    free(s.g);
    return status;
}

/* root_k = S P (column k of R^-1), S the scaling: (X'X)^-1 is the sum of root_k root_k'. */
static void inverse_root(struct qr *q, double *root)
{
    size_t p = (size_t)q->p, n = (size_t)q->n;
    int info = 0;
    dtrtri_("U", "N", &q->p, q->a, &q->n, &info, 1, 1);
    for (size_t k = 0; k < p; k++)
        for (size_t i = 0; i <= k; i++) {
            size_t at = (size_t)q->pivot[i] - 1;
            root[k * p + at] = q->a[k * n + i] * q->scale[at];
        }
}

static void statistics(const double *x, const double *y, bool intercept, struct fit *f)
{
    long double rss = 0, tss = 0, mean = 0;
    for (uint64_t i = 0; i < f->n && intercept; i++)
        mean += y[i] / (long double)f->n;
    for (uint64_t i = 0; i < f->n; i++) {
        long double r = y[i], d = y[i] - mean;
        for (uint32_t j = 0; j < f->p; j++)
            r -= (long double)x[i * f->p + j] * f->beta[j];
        rss += r * r;
        tss += d * d;
    }
    f->sigma2 = (double)(rss / (long double)(f->n - f->p));
    f->r2 = tss > 0 ? (double)(1 - rss / tss) : 1;
    for (uint32_t j = 0; j < f->p; j++) {
        long double variance = 0;
        for (uint32_t k = 0; k < f->p; k++)
            variance += (long double)f->root[(size_t)k * f->p + j] * f->root[(size_t)k * f->p + j];
        f->error[j] = (double)sqrtl(f->sigma2 * variance);
    }
}

maas_status fit_least_squares(const double *x, const double *y, uint64_t n, uint32_t p,
                              bool intercept, struct fit *out, uint32_t *out_dependent,
                              maas_error *error)
{
    struct qr q;
    struct fit f = { .p = p, .n = n };
    maas_status status = MAAS_OK;
    *out_dependent = p;
    if (n <= p || n > INT32_MAX / p) /* LAPACK counts in int */
        return maas_fail(error, MAAS_E_INVALID, "%llu rows are too %s for %u coefficients",
                         (unsigned long long)n, n <= p ? "few" : "many", p);
    f.beta = calloc(p, sizeof(double));
    f.error = calloc(p, sizeof(double));
    f.root = calloc((size_t)p * p, sizeof(double));
    if (!qr_allocate(&q, n, p) || !f.beta || !f.error || !f.root)
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a fit of %llu x %u",
                           (unsigned long long)n, p);
    if (!status) {
        qr_load(&q, x);
        status = qr_factor(&q, intercept, out_dependent, error);
    }
    if (!status)
        status = solve_refined(&q, x, y, f.beta, error);
    if (!status) {
        inverse_root(&q, f.root);
        statistics(x, y, intercept, &f);
    }
    qr_release(&q);
    if (status)
        fit_release(&f);
    else
        *out = f;
    return status;
}

void fit_release(struct fit *f)
{
    free(f->beta);
    free(f->error);
    free(f->root);
    memset(f, 0, sizeof(*f));
}

/* ---- Student's t: P(T <= t) = 1 - I_x(dof/2, 1/2) / 2 with x = dof / (dof + t^2) */

/* Lentz's continued fraction of the regularised incomplete beta function (Numerical Recipes, 6.4).
 */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 / fmax(1e-300, 1 - (a + b) * x / (a + 1)), h = d;
    for (int m = 1; m < 1000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        h *= d * c;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        double step = d * c;
        h *= step;
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return h;
}

static double incomplete_beta(double a, double b, double x)
{
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double student_t975(double dof)
{
    double low = 0, high = 1e4;
    for (int i = 0; i < 200; i++) {
        double t = (low + high) / 2;
        double tail = incomplete_beta(dof / 2, 0.5, dof / (dof + t * t)) / 2;
        *(tail > 0.025 ? &low : &high) = t;
    }
    return (low + high) / 2;
}
