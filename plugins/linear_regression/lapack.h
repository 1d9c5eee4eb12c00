/* lapack.h: what fit.c asks of LAPACK, by its Fortran names; arrays are column-major. */
#ifndef LINREG_LAPACK_H
#define LINREG_LAPACK_H

#include <stddef.h>

/* QR of a triangle upon a block of rows: [A; B] = Q [A; 0]. */
void dtpqrt_(const int *m, const int *n, const int *l, const int *nb, double *a, const int *lda,
             double *b, const int *ldb, double *t, const int *ldt, double *work, int *info);
/* QR with column pivoting. */
void dgeqp3_(const int *m, const int *n, double *a, const int *lda, int *jpvt, double *tau,
             double *work, const int *lwork, int *info);
/* A triangular system, and a triangle's inverse. */
void dtrtrs_(const char *uplo, const char *trans, const char *diag, const int *n, const int *nrhs,
             const double *a, const int *lda, double *b, const int *ldb, int *info, size_t uplo_len,
             size_t trans_len, size_t diag_len);
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info,
             size_t uplo_len, size_t diag_len);

#endif
