/*
 * matmul.h: products of matrices, row-major. Pure functions, outputs first; memory is the caller's
 * and nothing is allocated. [any, one thread each: the process sets OpenBLAS to one]
 */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H

#include <stdbool.h>
#include <stddef.h>

/* c [m, n] = op(a) op(b) + beta c. a is [m, k] ([k, m] when ta), b is [k, n] ([n, k] when tb).
 * Calls of the same shape give a row the same bits; calls of other m or n may not. */
void matmul(float *c, const float *a, bool ta, const float *b, bool tb, size_t m, size_t n,
            size_t k, float beta);

#endif
