/*
 * linreg.h: the parts of the linear regression plugin: distributions, a fit, a model and its file,
 * training data row by row, training; plugin.c puts them behind the ABI.
 *
 * Model: y = b0 + b1 x1 + … + bp xp + e. Shapes below: n rows, p terms (columns of the design
 * matrix, the intercept among them), `features` columns of the data, each with one term or more.
 */
#ifndef LINREG_H
#define LINREG_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>
#include <stdint.h>

#include "dataset/checksum.h"

enum {
    LINREG_FEATURES_MAX = 1024,
    LINREG_TERMS_MAX = 1024, /* beside the intercept */
    LINREG_DEGREE_MAX = 20,
    LINREG_LEVELS_MAX = 256, /* of one column */
    LINREG_NAME_MAX = 256,   /* bytes of a column's or level's name, with its NUL */
    LINREG_FILE_MAX = 1 << 24,
};

/* ---- distribution.c */
double student_tail(double t, double dof);              /* P(|T| >= |t|): a two-sided p value */
double student_quantile(double level, double dof);      /* the t with P(|T| <= t) = level */
double fisher_tail(double f, double dof1, double dof2); /* P(F >= f) */

/* ---- fit.c */
struct fit {
    uint32_t p;    /* terms, the intercept first when there is one */
    uint64_t n;    /* rows it was fitted on */
    double *beta;  /* p */
    double *error; /* p standard errors; with a ridge: posterior standard deviations */
    double *mean;  /* p weighted means of the terms */
    double *root;  /* p x p, row k: column k of R^-1, scales undone, so (X'WX + D)^-1 is the sum of
                      root_k root_k' and row' (…)^-1 row a sum of squares, never negative */
    bool dense;    /* root has p numbers a row (of a file of version 1); else row k has k + 1 */
    double sigma2; /* residual variance, RSS / dof */
    double dof;    /* n - p; with a ridge n - tr((X'WX + D)^-1 X'WX) */
    double r2;     /* against the mean when there is an intercept, else against 0 */
    double f;      /* ((TSS - RSS) / (p - intercept)) / sigma2; -1: not known, or of a ridge */
};

/* Rows that can be read again and again, in the same order. */
struct rows {
    void *from;
    maas_status (*rewind)(void *from, maas_error *error);
    /* Fills x (p), y and weight (> 0); *out_end: there was no more. */
    maas_status (*next)(void *from, double *x, double *y, double *weight, bool *out_end,
                        maas_error *error);
};

/* ---- kept.c: rows that are read again and again, in memory where they fit */
enum { KEPT_MAX_BYTES = 64 << 20 };
enum kept_state { KEPT_SOME, KEPT_ALL, KEPT_NEVER };
struct kept_rows {
    struct rows source;
    enum kept_state state;
    uint32_t terms;
    uint64_t rows, room, at;
    double *numbers; /* rows x (terms, y, weight) */
};
/* Rows over *k, which stays where it is and is released afterwards. */
struct rows kept_over(struct kept_rows *k, const struct rows *source, uint32_t terms);
void kept_release(struct kept_rows *k);

struct fit_plan {
    uint32_t p;
    bool intercept;        /* x[0] is 1 */
    double ridge;          /* 0: none. On columns that are scaled to standard deviation 1 */
    const double *largest; /* p: no |x| is larger; y's and the weights': */
    double largest_y, largest_weight;
};

/*
 * Weighted least squares in memory that does not grow with the rows: Householder QR by blocks, then
 * refinement with residuals in long double, each a pass over the rows. MAAS_E_INVALID when there
 * are too few rows or a column depends on the others; *out_dependent is then that column, else p.
 */
maas_status fit_least_squares(const struct rows *rows, const struct fit_plan *plan, struct fit *out,
                              uint32_t *out_dependent, maas_error *error);
/* Takes memory for p terms; false: there is none. */
bool fit_allocate(struct fit *f, uint32_t p);
void fit_release(struct fit *f);
/* How many numbers row k of the root has. */
static inline uint32_t fit_root_length(const struct fit *f, uint32_t k)
{
    return f->dense ? f->p : k + 1;
}

/* ---- model.c */
enum linreg_missing { LINREG_REFUSE, LINREG_MEAN, LINREG_MEDIAN, LINREG_DROP };

struct column {
    char name[LINREG_NAME_MAX];
    uint32_t level_count;            /* 0: a column of numbers */
    char (*levels)[LINREG_NAME_MAX]; /* sorted by bytes; the first is the reference */
    double fill;                     /* for an empty cell: a number, or the index of a level */
};

struct linreg {
    uint32_t features, degree; /* degree: powers of each number; 1 is plain */
    bool intercept;
    bool unknown_is_reference; /* a level that is not known; else it is refused */
    enum linreg_missing missing;
    double ridge;
    char target[LINREG_NAME_MAX];
    struct column *columns;
    struct fit fit;
};
void linreg_release(struct linreg *m);
uint32_t linreg_terms(const struct linreg *m); /* with the intercept */
/* Its input is text, a cell as it would stand in a file: it has categories, or fills empty ones. */
bool linreg_takes_text(const struct linreg *m);
bool linreg_fills(const struct linreg *m); /* what empty cells become is known */

/* What a cell means to a column: a number, or the index of its level (-1: taken as the reference).
 */
enum linreg_cell { LINREG_CELL_OK, LINREG_CELL_EMPTY, LINREG_CELL_NO_NUMBER, LINREG_CELL_UNKNOWN };
enum linreg_cell linreg_read_cell(const struct linreg *m, uint32_t feature, maas_str cell,
                                  double *out);
/* The same as an error, `at` in front: "row 3: feature 'age' is missing". */
maas_status linreg_cell_refused(const struct linreg *m, uint32_t feature, maas_str cell,
                                enum linreg_cell why, const char *at, maas_error *error);
bool linreg_cell_is_empty(maas_str cell);
/* The order of levels: by bytes. */
int linreg_order(const char *level, maas_str cell);

/* The terms of one row of values: [1] x1 x1^2 … x2 …, of a level 0 … 1 … 0 */
void linreg_expand(const struct linreg *m, const double *values, double *out);
/* A fixed order of additions: a row's bits do not depend on its batch. leverage: row' (X'WX + D)^-1
 * row; NULL: not wanted. */
double linreg_predict(const struct linreg *m, const double *row, double *out_leverage);
/* What each feature adds: coefficient x (value - mean in training), over its terms. base: the
 * prediction at the means. Base and contributions sum up to the prediction, but for rounding. */
double linreg_base(const struct linreg *m);
void linreg_contributions(const struct linreg *m, const double *row, double *out);

/* ---- file.c: the artifact's one file, linreg.model; of version 1 it was model.txt (old.c) */
maas_status linreg_write(const char *dir, const struct linreg *m, maas_error *error);
maas_status linreg_read(const char *dir, struct linreg *out, maas_error *error);
maas_status linreg_parse(const uint8_t *bytes, size_t size, struct linreg *out, maas_error *error);
maas_status linreg_read_old(FILE *file, struct linreg *out, maas_error *error);

/* ---- data.c: a file of rows as a regression sees it */
struct data_options {
    const char *target, *features, *weight,
        *categories; /* empty: the last; all others; none; auto */
    double test_fraction;
    const uint64_t *seed; /* NULL: the test rows are the last ones */
};
struct data; /* heap: an open file. [one thread] */
enum data_part { DATA_TRAIN, DATA_TEST };
struct data_row {
    enum data_part part;
    const maas_str *cells; /* features, in the model's order; borrowed until the next row */
    double y, weight;
    uint64_t line;
    bool end;
};

/* Opens DIR/train.csv and finds out about its columns, which takes a pass over it, two where levels
 * or means are wanted, and six more for medians. Fills target, columns and features of *m, whose
 * degree, intercept, missing … are set; *m stays the caller's also when it fails. watch: asked for
 * cancelling, or NULL. */
struct data_watch {
    const maas_host *host;
    const maas_request *job;
};
maas_status data_open(const char *dir, const struct data_options *options,
                      const struct data_watch *watch, struct linreg *m, struct data **out,
                      maas_error *error);
/* Opens DIR/FILE for a model that is there: all rows are DATA_TEST. */
maas_status data_open_for(const char *dir, const char *file, const struct data_watch *watch,
                          struct linreg *m, struct data **out, maas_error *error);
void data_close(struct data *d); /* accepts NULL */
maas_status data_rewind(struct data *d, maas_error *error);
maas_status data_next(struct data *d, struct data_row *out, maas_error *error);
/* A row's values: false when a level of it was never learnt and the model refuses such. */
maas_status data_values(const struct data *d, const struct data_row *row, double *values,
                        bool *out_known, maas_error *error);
/* The training rows as terms. *out_plan points into *d. */
void data_plan(struct data *d, struct rows *out_rows, struct fit_plan *out_plan);

/* ---- learn.c: levels, means and medians of the training rows, for data.c */
maas_status learn_columns(struct data *d, struct linreg *m, const bool *categorical,
                          maas_error *error);

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const linreg_train_options[];
maas_status linreg_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error);
/* Metrics of a loaded model on test.csv, or on train.csv where there is none. */
maas_status linreg_evaluate(const maas_host *host, struct linreg *m, const maas_train_spec *spec,
                            const maas_request *job, maas_error *error);

#endif
