/*
 * linreg.h: the parts of the linear regression plugin: a table of numbers, a fit, a model file,
 * training; plugin.c puts them behind the ABI.
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

enum { LINREG_COLUMNS_MAX = 1024, LINREG_NAME_MAX = 64 };

/* ---- table.c: a file of comma-separated values */
struct table {
    uint64_t rows;
    uint32_t columns;
    char (*names)[LINREG_NAME_MAX]; /* columns */
    double *values;                 /* rows x columns, row-major; NaN where no number stands */
    uint64_t *bad_line; /* columns: the first line without a finite number there; 0: none */
};
/* Reads DIR/FILE: a header line, then one row a line. A column without numbers (an id, a remark) is
 * no error until it is used. */
maas_status table_read(const char *dir, const char *file, struct table *out, maas_error *error);
/* The column of that name (len bytes), which must hold numbers only. */
maas_status table_column(const struct table *t, const char *name, size_t len, uint32_t *out,
                         maas_error *error);
void table_release(struct table *t);

/* ---- fit.c */
struct fit {
    uint32_t p;    /* coefficients, the intercept first when there is one */
    uint64_t n;    /* rows it was fitted on */
    double *beta;  /* p */
    double *error; /* p standard errors */
    double *root;  /* p x p, row k is column k of R^-1 (pivots and scales undone): row' (X'X)^-1 row
                      is the sum over k of (root_k . row)^2, which rounding cannot make negative */
    double sigma2; /* residual variance, RSS / (n - p) */
    double r2;     /* against the mean when there is an intercept, else against 0 */
};
/*
 * Least squares by Householder QR with column scaling and pivoting, refined in long double; never
 * the normal equations. x: n x p row-major, y: n. MAAS_E_INVALID when n <= p or when a column
 * depends on the others; *out_dependent is then that column, else p.
 */
maas_status fit_least_squares(const double *x, const double *y, uint64_t n, uint32_t p,
                              bool intercept, struct fit *out, uint32_t *out_dependent,
                              maas_error *error);
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

/* What each feature adds to the prediction (features numbers); the intercept is the base. Base and
 * contributions in their order sum up to the prediction, but for rounding. */
void linreg_contributions(const struct linreg *m, const double *raw, double *out_base, double *out);

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const linreg_train_options[];
maas_status linreg_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error);
/* Metrics of a loaded model on test.csv, or on train.csv where there is none. */
maas_status linreg_evaluate(const maas_host *host, const struct linreg *m,
                            const maas_train_spec *spec, const maas_request *job,
                            maas_error *error);

#endif
