/*
 * matmul.c: products by OpenBLAS' sgemm.
 */
#include "matmul.h"

#include <cblas.h>

void matmul(float *c, const float *a, bool ta, const float *b, bool tb, size_t m, size_t n,
            size_t k, float beta)
{
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)(ta ? m : k), b,
                (blasint)(tb ? k : n), beta, c, (blasint)n);
}
