/*
 * equations.c: four outer products at a time, since one by itself is all loads and stores; Cholesky
 * from the left upper corner, a row at a time, so that inner loops run along rows and need no sum
 * across lanes. Compiled for three levels of the processor, of which each call picks one, as
 * kernels/dense.c does.
 */
#include "equations.h"

#include <math.h>
#include <string.h>

#include "recommender.h"

enum { TOGETHER = 4 };

/* a[i][j] += sum of w q[i] q[j] over four entries, and one step of Cholesky behind row k. */
#define KERNELS(suffix, target)                                                                    \
    target static void outer_##suffix(double *a, double q[TOGETHER][REC_RANK_MAX],                 \
                                      const double w[TOGETHER], uint32_t n)                        \
    {                                                                                              \
        for (uint32_t i = 0; i < n; i++) {                                                         \
            const double w0 = w[0] * q[0][i], w1 = w[1] * q[1][i];                                 \
            const double w2 = w[2] * q[2][i], w3 = w[3] * q[3][i];                                 \
            double *row = a + (size_t)i * n;                                                       \
            for (uint32_t j = i; j < n; j++)                                                       \
                row[j] += w0 * q[0][j] + w1 * q[1][j] + w2 * q[2][j] + w3 * q[3][j];               \
        }                                                                                          \
    }                                                                                              \
    target static void eliminate_##suffix(double *a, uint32_t k, uint32_t n)                       \
    {                                                                                              \
        const double *from = a + (size_t)k * n;                                                    \
        for (uint32_t i = k + 1; i < n; i++) {                                                     \
            const double factor = from[i];                                                         \
            double *row = a + (size_t)i * n;                                                       \
            for (uint32_t j = i; j < n; j++)                                                       \
                row[j] -= factor * from[j];                                                        \
        }                                                                                          \
    }

KERNELS(plain, )
#if defined(__x86_64__)
KERNELS(avx2, __attribute__((target("avx2,fma"))))
KERNELS(avx512, __attribute__((target("avx512f"))))
#endif

typedef void outer_fn(double *a, double q[TOGETHER][REC_RANK_MAX], const double w[TOGETHER],
                      uint32_t n);
typedef void eliminate_fn(double *a, uint32_t k, uint32_t n);

struct kernels {
    outer_fn *outer;
    eliminate_fn *eliminate;
};

static struct kernels pick(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct kernels){ outer_avx512, eliminate_avx512 };
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct kernels){ outer_avx2, eliminate_avx2 };
#endif
    return (struct kernels){ outer_plain, eliminate_plain };
}

void equations_add(double *a, const float *factors, const uint32_t *columns, const float *weights,
                   uint64_t count, uint32_t n)
{
    const struct kernels kernels = pick();
    double q[TOGETHER][REC_RANK_MAX], w[TOGETHER];
    for (uint64_t i = 0; i < count; i += TOGETHER) {
        for (uint64_t k = 0; k < TOGETHER; k++) {
            const bool there = i + k < count;
            const uint64_t row = !there ? 0 : columns ? columns[i + k] : i + k;
            w[k] = !there ? 0 : weights ? (double)weights[i + k] : 1;
            for (uint32_t j = 0; j < n; j++)
                q[k][j] = there ? (double)factors[row * n + j] : 0;
        }
        kernels.outer(a, q, w, n);
    }
}

bool equations_solve(double *a, double *b, uint32_t n)
{
    const struct kernels kernels = pick();
    for (uint32_t k = 0; k < n; k++) {
        double *row = a + (size_t)k * n;
        if (!(row[k] > 0))
            return false;
        const double scale = 1 / sqrt(row[k]);
        for (uint32_t j = k; j < n; j++)
            row[j] *= scale;
        kernels.eliminate(a, k, n);
        b[k] /= row[k];
        for (uint32_t j = k + 1; j < n; j++)
            b[j] -= row[j] * b[k];
    }
    for (uint32_t i = n; i-- > 0;) {
        for (uint32_t k = i + 1; k < n; k++)
            b[i] -= a[(size_t)i * n + k] * b[k];
        b[i] /= a[(size_t)i * n + i];
    }
    return true;
}
