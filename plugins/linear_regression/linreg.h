/*
 * linreg.h: the parts of the linear regression plugin: a table of numbers, a fit, a model file.
 *
 * Model: y = b0 + b1 x1 + … + bp xp + e. Shapes below: n rows, p columns of the design matrix (the
 * intercept among them).
 */
#ifndef LINREG_H
#define LINREG_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>
#include <stdint.h>

enum { LINREG_COLUMNS_MAX = 4096, LINREG_NAME_MAX = 64 };

/* ---- table.c: train.csv */
struct table {
    uint64_t rows;
    uint32_t columns;
    char (*names)[LINREG_NAME_MAX]; /* columns */
    double *values;                 /* rows x columns, row-major, finite */
};
/* Reads DIR/train.csv: a header line, then numbers. Errors name line and column. */
maas_status table_read(const char *dir, struct table *out, maas_error *error);
void table_release(struct table *t);

/* ---- fit.c */
struct fit {
    uint32_t p;         /* coefficients, the intercept first when there is one */
    uint64_t n;         /* rows it was fitted on */
    double *beta;       /* p */
    double *error;      /* p standard errors */
    double *covariance; /* p x p: (X'X)^-1, without sigma^2 */
    double sigma2;      /* residual variance, RSS / (n - p) */
    double r2;          /* against the mean when there is an intercept, else against 0 */
};
/*
 * Least squares by Householder QR with column scaling and one step of iterative refinement in long
 * double; never the normal equations. x: n x p row-major, y: n. MAAS_E_INVALID when n <= p or a
 * column depends on the others.
 */
maas_status fit_least_squares(const double *x, const double *y, uint64_t n, uint32_t p,
                              bool intercept, struct fit *out, maas_error *error);
void fit_release(struct fit *f);

/* The 0.975 quantile of Student's t with `dof` degrees of freedom (bisection on the incomplete beta
 * function). */
double student_t975(double dof);

/* ---- model.c: the artifact's one file, model.txt: text, doubles in hexadecimal so that not a bit
 * is lost */
struct linreg {
    uint32_t features; /* raw columns */
    uint32_t degree;   /* powers of each feature: 1 is plain */
    bool intercept;
    char target[LINREG_NAME_MAX];
    char (*names)[LINREG_NAME_MAX];
    struct fit fit; /* p = features * degree + intercept */
};
maas_status linreg_write(const char *dir, const struct linreg *m, maas_error *error);
maas_status linreg_read(const char *dir, struct linreg *out, maas_error *error);
void linreg_release(struct linreg *m);

/* The design row of one row of raw features: [1] x1 x1^2 … x2 … */
void linreg_expand(const struct linreg *m, const double *raw, double *out);
/* Prediction and the half width of its 95 % prediction interval. Fixed order of additions: a row's
 * bits do not depend on its batch. */
double linreg_predict(const struct linreg *m, const double *row, double t975, double *out_half);

#endif
