/*
 * solve.c: the normal equations of one user or item, in double.
 *
 * Whoever gave more than rank / 2 ratings is solved in the space of the factors: a sum of outer
 * products, then Cholesky, rank^3 / 6. Whoever gave fewer, as most do, is solved in the space of
 * its ratings, which needs no matrix of the rank at all: with W what stands without ratings (als:
 * ridge n; ials: the gram of all others and the ridge), Q the factors of what was rated, C the
 * weights and t the targets, the identity of Sherman, Morrison and Woodbury gives
 *
 *     (W + Q C Q')^-1 Q t  =  W^-1 Q (t - D (1 + D K D)^-1 D K t)     K = Q' W^-1 Q, D = sqrt(C)
 *
 * Loops run along rows of the upper half, four at once, so that a compiler turns them into vectors
 * without being allowed to reorder sums. Rejected: BLAS and LAPACK, whose calls cost more than the
 * work at these sizes.
 */
#include "recommender.h"

#include <math.h>

/* y -= sum of f[c] * rows[c * step], of four rows */
static void take_four(double *restrict y, const double *restrict rows, uint32_t step,
                      const double f[4], uint32_t n)
{
    const double *restrict a = rows, *restrict b = rows + step, *restrict c = b + step,
                           *restrict d = c + step;
    const double fa = f[0], fb = f[1], fc = f[2], fd = f[3];
    for (uint32_t j = 0; j < n; j++)
        y[j] -= (fa * a[j] + fb * b[j]) + (fc * c[j] + fd * d[j]);
}

static void take_one(double *restrict y, const double *restrict row, double f, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++)
        y[j] -= f * row[j];
}

static double dot(const double *a, const double *b, uint32_t n)
{
    double sum[4] = { 0 };
    uint32_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (uint32_t c = 0; c < 4; c++)
            sum[c] += a[j + c] * b[j + c];
    for (; j < n; j++)
        sum[0] += a[j] * b[j];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* ---- Cholesky */

bool rec_root(double *a, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double *own = a + (size_t)i * n + i;
        uint32_t k = 0;
        for (; k + 4 <= i; k += 4) {
            const double *at = a + (size_t)k * n + i;
            const double f[] = { at[0], at[n], at[2 * n], at[3 * n] };
            take_four(own, at, n, f, n - i);
        }
        for (; k < i; k++)
            take_one(own, a + (size_t)k * n + i, a[(size_t)k * n + i], n - i);
        if (!(own[0] > 0))
            return false;
        const double scale = 1 / sqrt(own[0]);
        for (uint32_t j = 0; j < n - i; j++)
            own[j] *= scale;
    }
    return true;
}

void rec_root_forward(const double *u, double *b, uint32_t n)
{
    uint32_t k = 0;
    for (; k + 4 <= n; k += 4) { /* the triangle of four, then all behind them at once */
        for (uint32_t i = k; i < k + 4; i++) {
            for (uint32_t j = k; j < i; j++)
                b[i] -= u[(size_t)j * n + i] * b[j];
            b[i] /= u[(size_t)i * n + i];
        }
        take_four(b + k + 4, u + (size_t)k * n + k + 4, n, b + k, n - k - 4);
    }
    for (; k < n; k++) {
        b[k] /= u[(size_t)k * n + k];
        take_one(b + k + 1, u + (size_t)k * n + k + 1, b[k], n - k - 1);
    }
}

void rec_root_backward(const double *u, double *b, uint32_t n)
{
    for (uint32_t i = n; i-- > 0;) {
        const double *row = u + (size_t)i * n;
        b[i] = (b[i] - dot(row + i + 1, b + i + 1, n - i - 1)) / row[i];
    }
}

/* ---- sums of outer products */

struct block { /* four vectors, those that are missing 0 */
    double *q; /* [4, n] */
    double weight[4];
};

static void add_block(double *restrict a, const struct block *b, uint32_t n)
{
    const double *restrict q0 = b->q, *restrict q1 = q0 + n, *restrict q2 = q1 + n,
                           *restrict q3 = q2 + n;
    for (uint32_t i = 0; i < n; i++) {
        const double f0 = b->weight[0] * q0[i], f1 = b->weight[1] * q1[i],
                     f2 = b->weight[2] * q2[i], f3 = b->weight[3] * q3[i];
        double *restrict row = a + (size_t)i * n;
        for (uint32_t j = i; j < n; j++)
            row[j] += (f0 * q0[j] + f1 * q1[j]) + (f2 * q2[j] + f3 * q3[j]);
    }
}

static void widen(double *restrict out, const float *restrict in, uint32_t n)
{
    for (uint32_t k = 0; in && k < n; k++)
        out[k] = (double)in[k];
    for (uint32_t k = 0; !in && k < n; k++)
        out[k] = 0;
}

bool rec_gram(double *gram, const float *factors, uint32_t count, uint32_t n, struct rec_work *work)
{
    double q[4 * REC_RANK_MAX];
    const struct block b = { .q = q, .weight = { 1, 1, 1, 1 } };
    memset(gram, 0, (size_t)n * n * sizeof(*gram));
    for (uint32_t i = 0; i < count && !rec_cancelled(work, (uint64_t)2 * n * n); i += 4) {
        for (uint32_t c = 0; c < 4; c++)
            widen(q + c * n, i + c < count ? factors + (size_t)(i + c) * n : NULL, n);
        add_block(gram, &b, n);
    }
    return !rec_cancelled(work, 0);
}

/* ---- one row */

static double weight(const struct rec_side *s, const struct rec_row *row, uint64_t entry)
{
    return s->gram ? (double)s->m->alpha * (double)fmaxf(row->values[entry], 0) : 1;
}

double rec_target(const struct rec_side *s, const struct rec_row *row, uint64_t entry)
{
    const double value = (double)row->values[entry];
    if (s->gram)
        return value > 0 ? 1 + (double)s->m->alpha * value : 0;
    return value - (double)s->m->mean - (double)row->bias -
           (s->biases ? (double)s->biases[row->columns[entry]] : 0);
}

static double ridge(const struct rec_side *s, const struct rec_row *row)
{
    return (double)s->m->ridge * (s->gram || !row->count ? 1 : (double)row->count);
}

static void gather(const struct rec_side *s, const struct rec_row *row, uint64_t from,
                   struct block *b)
{
    const uint32_t n = s->m->rank;
    for (uint32_t c = 0; c < 4; c++) {
        const bool there = from + c < row->count;
        b->weight[c] = there ? weight(s, row, from + c) : 0;
        widen(b->q + c * n, there ? s->factors + (size_t)row->columns[from + c] * n : NULL, n);
    }
}

bool rec_left_side(const struct rec_side *s, const struct rec_row *row, double *a)
{
    const uint32_t n = s->m->rank;
    double q[4 * REC_RANK_MAX];
    struct block b = { .q = q };
    if (s->gram)
        memcpy(a, s->gram, (size_t)n * n * sizeof(*a));
    else
        memset(a, 0, (size_t)n * n * sizeof(*a));
    for (uint64_t i = 0; i < row->count && !rec_cancelled(s->work, (uint64_t)2 * n * n); i += 4) {
        gather(s, row, i, &b);
        add_block(a, &b, n);
    }
    for (uint32_t i = 0; i < n; i++)
        a[(size_t)i * n + i] += ridge(s, row);
    return !rec_cancelled(s->work, 0);
}

/* In the space of the factors; x [n] is the solution. */
static bool solve_long(const struct rec_side *s, const struct rec_row *row, double *x)
{
    const uint32_t n = s->m->rank;
    double *a = s->space;
    if (!rec_left_side(s, row, a))
        return false;
    memset(x, 0, n * sizeof(*x));
    for (uint64_t i = 0; i < row->count && !rec_cancelled(s->work, n); i++) {
        const double t = rec_target(s, row, i);
        const float *q = s->factors + (size_t)row->columns[i] * n;
        for (uint32_t k = 0; k < n; k++)
            x[k] += t * (double)q[k];
    }
    if (rec_cancelled(s->work, (uint64_t)n * n * n / 6) || !rec_root(a, n))
        return false;
    rec_root_forward(a, x, n);
    rec_root_backward(a, x, n);
    return true;
}

struct few { /* of a row of m ratings */
    uint32_t m;
    double *q; /* [m, n]: what was rated, ials: through the inverse of the root of W */
    double *k; /* [m, m]: their products */
    double *t, *y;
};

static void gather_few(const struct rec_side *s, const struct rec_row *row, struct few *f)
{
    const uint32_t n = s->m->rank, m = f->m;
    for (uint32_t i = 0; i < m; i++) {
        double *q = f->q + (size_t)i * n;
        widen(q, s->factors + (size_t)row->columns[i] * n, n);
        if (s->root)
            rec_root_forward(s->root, q, n);
        f->t[i] = rec_target(s, row, i);
        for (uint32_t j = 0; j <= i; j++)
            f->k[(size_t)i * m + j] = f->k[(size_t)j * m + i] = dot(q, f->q + (size_t)j * n, n);
    }
}

/* y := (1 + C K)^-1 t; d [m] is space. */
static bool weigh_implicit(const struct rec_side *s, const struct rec_row *row, struct few *f,
                           double *d)
{
    const uint32_t m = f->m;
    for (uint32_t i = 0; i < m; i++) {
        d[i] = sqrt(weight(s, row, i));
        f->y[i] = d[i] * dot(f->k + (size_t)i * m, f->t, m);
    }
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < m; j++)
            f->k[(size_t)i * m + j] = f->k[(size_t)i * m + j] * d[i] * d[j] + (i == j);
    if (!rec_root(f->k, m))
        return false;
    rec_root_forward(f->k, f->y, m);
    rec_root_backward(f->k, f->y, m);
    for (uint32_t i = 0; i < m; i++)
        f->y[i] = f->t[i] - d[i] * f->y[i];
    return true;
}

/* y := (ridge n + K)^-1 t */
static bool weigh_explicit(const struct rec_side *s, const struct rec_row *row, struct few *f)
{
    for (uint32_t i = 0; i < f->m; i++) {
        f->k[(size_t)i * f->m + i] += ridge(s, row);
        f->y[i] = f->t[i];
    }
    if (!rec_root(f->k, f->m))
        return false;
    rec_root_forward(f->k, f->y, f->m);
    rec_root_backward(f->k, f->y, f->m);
    return true;
}

/* In the space of the ratings. */
static bool solve_short(const struct rec_side *s, const struct rec_row *row, double *x)
{
    const uint32_t n = s->m->rank, m = (uint32_t)row->count;
    struct few f = { .m = m, .q = s->space };
    f.k = f.q + (size_t)m * n;
    f.t = f.k + (size_t)m * m;
    f.y = f.t + m;
    gather_few(s, row, &f);
    if (!(s->gram ? weigh_implicit(s, row, &f, f.y + m) : weigh_explicit(s, row, &f)))
        return false;
    memset(x, 0, n * sizeof(*x));
    for (uint32_t i = 0; i < m; i++)
        take_one(x, f.q + (size_t)i * n, -f.y[i], n);
    if (s->root)
        rec_root_backward(s->root, x, n);
    return !rec_cancelled(s->work, (uint64_t)m * n * (n / 2 + m) + (uint64_t)n * n);
}

bool rec_solve_row(const struct rec_side *s, const struct rec_row *row, float *out)
{
    double x[REC_RANK_MAX];
    const uint32_t n = s->m->rank;
    bool good = row->count <= n / 2 ? solve_short(s, row, x) : solve_long(s, row, x);
    for (uint32_t k = 0; good && k < n; k++) {
        out[k] = (float)x[k];
        good = fabsf(out[k]) <= REC_VALUE_MAX;
    }
    return good;
}
