/*
 * equations.h: the normal equations of one user or item: sums of outer products, and their solution
 * by Cholesky. Symmetric matrices [n, n] are kept in their upper half, row-major; what stands below
 * is never read. Sums go in the order of the entries: the same bits whatever stands beside. [any]
 */
#ifndef RECOMMENDER_EQUATIONS_H
#define RECOMMENDER_EQUATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* a += the sum over `count` entries of weight q q', q being row columns[i] of factors [, n];
 * columns NULL: row i; weights NULL: 1. n <= REC_RANK_MAX. */
void equations_add(double *a, const float *factors, const uint32_t *columns, const float *weights,
                   uint64_t count, uint32_t n);
/* Solves a x = b; a becomes its factor, b becomes x. False: a is not positive definite. */
bool equations_solve(double *a, double *b, uint32_t n);

#endif
