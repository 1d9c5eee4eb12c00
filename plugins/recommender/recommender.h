/*
 * recommender.h: the parts of the recommender: ratings, factors, neighbours, the model's file, and
 * the asking of a request; plugin.c puts them behind the ABI.
 *
 * Users and items are indices; names stand in the model. r[u][i]: what u gave i (explicit), or how
 * often (implicit).
 */
#ifndef RECOMMENDER_H
#define RECOMMENDER_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>

#include "dataset/checksum.h"

enum {
    REC_USERS_MAX = 4000000,
    REC_ITEMS_MAX = 1000000,
    REC_RATINGS_MAX = 100000000,
    REC_NAME_MAX = 255,
    REC_RANK_MAX = 128,
    REC_LIST_MAX = 10000, /* ids of one list of a request */
    REC_K_MAX = 1024,
    REC_NEIGHBOURS_MAX = 1000,    /* of one item or user */
    REC_NEAR_MAX = 500000000,     /* of all together */
    REC_BECAUSE_MAX = 3,          /* reasons that are told for an item */
    REC_LOOK_OPERATIONS = 200000, /* between two looks at whether it was cancelled; below 1 ms */
};
#define REC_NOBODY    UINT32_MAX
#define REC_VALUE_MAX 1e15f /* of what stands in a file, so that no sum of a request overflows */

enum rec_method { REC_ALS = 1, REC_IALS, REC_ITEM_COSINE, REC_USER_COSINE, REC_POPULARITY };

/* Sparse rows: row r has entries [from[r], from[r + 1]) of column and value, columns ascending. */
struct rec_rows {
    uint32_t count, *column;
    uint64_t *from;
    float *value;
};

struct rec_names {
    uint32_t count;
    uint64_t *from; /* count + 1, into text */
    char *text;
    uint32_t *sorted; /* by name */
};

struct rec_model {
    uint32_t method, rank;
    float mean, most, alpha, ridge; /* most: the best rating that was given */
    float bias_ridge;               /* ratings of the mean that each bias has beside its own */
    float shrink;                   /* cosines: common ratings at which a similarity counts half */
    uint32_t neighbours;            /* cosines: kept of each at most */
    struct rec_names users, items;
    struct rec_rows by_user, by_item;
    struct rec_rows near;               /* cosines: of each item, or user, its nearest */
    float *user_bias, *item_bias;       /* als, cosines */
    float *user_factors, *item_factors; /* als, ials: [count, rank] */
    double *gram, *root; /* ials: [rank, rank]: the sum of q q' over all items; Cholesky of it with
                            the ridge */
    float *popularity;   /* by item, at most 1 */
    float *item_norm, *user_norm; /* lengths of columns and rows */
};

/* ---- cancelling: looked at by the work that was done */
struct rec_work { /* zero: cannot be cancelled. [one thread] */
    const maas_host *host;
    const maas_request *request;
    uint64_t since; /* operations since the last look */
    bool cancelled;
};
/* So many operations were done; true: cancelled, then or before. w may be NULL. */
static inline bool rec_cancelled(struct rec_work *w, uint64_t operations)
{
    if (!w || !w->host)
        return false;
    w->since += operations;
    if (w->since >= REC_LOOK_OPERATIONS) {
        w->since = 0;
        w->cancelled = w->cancelled || w->host->cancelled(w->host, w->request);
    }
    return w->cancelled;
}

/* ---- data.c, names.c */
struct rec_ratings { /* as they stand in the file, each pair once */
    uint32_t *user, *item;
    float *value;
    uint64_t count, room;
};
struct rec_reading {
    const char *dir, *file, *user_column, *item_column, *rating_column; /* rating "": each is 1 */
    uint32_t test_every;  /* rows whose number is a multiple of it are a test; 0: none */
    double test_fraction; /* each row is a test with this probability */
    uint64_t random;      /* of test_fraction */
    bool sum; /* of the values of a pair that stands there again; else the last counts */
    struct rec_work *work;
};
struct rec_data {
    struct rec_ratings train, test;
    struct rec_names users, items;
};
maas_status rec_data_read(const struct rec_reading *how, struct rec_data *out, maas_error *error);
void rec_data_release(struct rec_data *d);
/* Rows out of ratings; by_item: rows are items. false: no memory, or cancelled (work may be NULL).
 */
bool rec_rows_make(struct rec_rows *out, const struct rec_ratings *r, uint32_t rows, bool by_item,
                   struct rec_work *work);
void rec_rows_release(struct rec_rows *r);
/* The value at a column of a row; NULL: there is none. */
const float *rec_rows_find(const struct rec_rows *r, uint32_t row, uint32_t column);

struct rec_table; /* names while they are read */
struct rec_table *rec_table_new(uint32_t most);
void rec_table_free(struct rec_table *t); /* accepts NULL */
maas_status rec_table_index(struct rec_table *t, maas_str name, uint32_t *out, maas_error *error);
bool rec_table_names(const struct rec_table *t, struct rec_names *out); /* false: no memory */
void rec_names_release(struct rec_names *n);
bool rec_names_sort(struct rec_names *n);
maas_str rec_name(const struct rec_names *n, uint32_t index);
uint32_t rec_find(const struct rec_names *n, maas_str name); /* REC_NOBODY */

/* ---- top.c: the best of many, in a heap */
struct rec_scored {
    uint32_t index;
    float score;
};
struct rec_top { /* a better score first, of equals the more popular, of those the lower index */
    struct rec_scored *best; /* [most] */
    uint32_t count, most;
    const float *popularity; /* by index; NULL: all are equal */
};
void rec_top_offer(struct rec_top *t, uint32_t index, float score);
void rec_top_sort(struct rec_top *t);     /* the best in front; ends the offering */
void rec_top_by_index(struct rec_top *t); /* the lowest index in front; ends the offering */

/* ---- solve.c: normal equations by Cholesky. A matrix is [n, n], its upper half counts. */
#define REC_SOLVE_DOUBLES(rank) ((size_t)(rank) * ((rank) + 8)) /* space for one row */
/* a = u' u in place; false: a is not positive definite. */
bool rec_root(double *a, uint32_t n);
void rec_root_forward(const double *u, double *b, uint32_t n);  /* b := inverse of u' times b */
void rec_root_backward(const double *u, double *b, uint32_t n); /* b := inverse of u times b */
/* The sum of q q'; false: cancelled. */
bool rec_gram(double *gram, const float *factors, uint32_t count, uint32_t rank,
              struct rec_work *work);
struct rec_side { /* those whose factors stand while the others' are solved */
    const struct rec_model *m;
    const float *factors, *biases;
    const double *gram, *root; /* ials: of these factors */
    double *space;             /* REC_SOLVE_DOUBLES */
    struct rec_work *work;
};
struct rec_row { /* what one gave */
    const uint32_t *columns;
    const float *values;
    uint64_t count;
    float bias;
};
/* The left side of a row's equations; false: cancelled. */
bool rec_left_side(const struct rec_side *s, const struct rec_row *row, double *a);
/* What an entry says: als: what the biases leave; ials: its confidence. */
double rec_target(const struct rec_side *s, const struct rec_row *row, uint64_t entry);
/* The factors of a row; false: not to be solved in finite numbers, or cancelled. */
bool rec_solve_row(const struct rec_side *s, const struct rec_row *row, float *out);

/* ---- factors.c: biases, and alternating least squares
 *
 * als minimises sum (r - mean - b[u] - b[i] - p[u] q[i])^2 + ridge (n[u] |p[u]|^2 + n[i] |q[i]|^2)
 * (Koren, Bell, Volinsky 2009; weighted as Zhou et al. 2008); biases are shrunk means: b = sum of
 * what is left / (n + bias_ridge).
 * ials minimises sum over all pairs c (preferred - p[u] q[i])^2 + ridge (|p|^2 + |q|^2), with c = 1
 * + alpha r and preferred = r > 0 (Hu, Koren, Volinsky 2008).
 */
struct rec_learning {
    uint32_t sweeps;
    uint64_t random;
};
maas_status rec_learn_biases(struct rec_model *m, struct rec_work *work, maas_error *error);
maas_status rec_learn_factors(struct rec_model *m, const struct rec_learning *how,
                              struct rec_work *work, maas_error *error);
/* ials: the gram and root of the items' factors; false: no memory, no finite root, or cancelled. */
bool rec_prepare_fold(struct rec_model *m, struct rec_work *work);
/* The bias of somebody who gave these ratings: a user's own ratings give its own. */
float rec_fold_bias(const struct rec_model *m, const struct rec_row *row);
/* The same of the vector; space: REC_SOLVE_DOUBLES. false: as rec_solve_row. */
bool rec_fold(const struct rec_model *m, const struct rec_row *row, double *space,
              struct rec_work *work, float *vector);

/* ---- neighbours.c: a similarity is the cosine times common / (common + shrink) */
struct rec_meeting { /* who shares how much with somebody: [subjects]; zero between two meetings */
    double *sum;
    uint32_t *common, *touched, count;
};
size_t rec_meeting_bytes(uint32_t subjects);
void rec_meeting_place(struct rec_meeting *meeting, void *zeroed, uint32_t subjects);
/* Keeps the best m->neighbours of each item (item-cosine), or user (user-cosine), in m->near. */
maas_status rec_learn_neighbours(struct rec_model *m, struct rec_work *work, maas_error *error);
/* user-cosine: the users but `self` nearest to one who gave these ratings, into an empty top, by
 * index. false: cancelled. */
bool rec_find_neighbours(const struct rec_model *m, const struct rec_row *row, uint32_t self,
                         struct rec_meeting *meeting, struct rec_top *top, struct rec_work *work);
/* Adds an item's similarities to all others, through who rated both; false: cancelled. */
bool rec_add_similar(const struct rec_model *m, uint32_t item, struct rec_meeting *meeting,
                     float *scores, struct rec_work *work);

/* ---- scores.c */
struct rec_person { /* who is asked for: ratings, and by the method a vector or neighbours */
    struct rec_row row;
    const float *vector;
    const uint32_t *near;
    const float *nearness;
    uint32_t near_count;
};
/* A user of the model as it was learnt. */
struct rec_person rec_person_of(const struct rec_model *m, uint32_t user);
/* Scores of all items for a person; false: cancelled. */
bool rec_scores(const struct rec_model *m, const struct rec_person *who, float *scores,
                struct rec_work *work);
/* How near each item is to all of these: the mean of its similarities, -1 to 1. */
bool rec_similar(const struct rec_model *m, const uint32_t *items, uint32_t count, float *scores,
                 struct rec_meeting *meeting, struct rec_work *work);
/* Before rec_because, once for a person; space: REC_SOLVE_DOUBLES. false: cannot be told. */
bool rec_because_start(const struct rec_model *m, const struct rec_person *who, double *space,
                       struct rec_work *work);
/* What each of a person's ratings adds to an item's score: out [row.count]; false: cancelled. */
bool rec_because(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                 double *space, float *out, struct rec_work *work);
/* Predicted rating of a pair; either may be REC_NOBODY. */
float rec_predict(const struct rec_model *m, uint32_t user, uint32_t item);

/* ---- ask.c: the rows of one request, each alone, so its bits do not hang on its batch */
enum rec_input { REC_USER, REC_ITEMS, REC_ALLOW, REC_DENY, REC_INPUTS };
struct rec_asking; /* [call] */
/* MAAS_E_INVALID: a list is too long. */
maas_status rec_ask_check(const maas_request *r, maas_error *error);
maas_status rec_ask_start(const maas_host *host, const struct rec_model *m, const maas_request *r,
                          struct rec_asking **out, maas_error *error);
void rec_ask_end(struct rec_asking *a);         /* accepts NULL */
uint32_t rec_ask_k(const struct rec_asking *a); /* how long its lists are */
/* The k best of one row: names and scores [k], filled up with "" and 0. */
maas_status rec_ask_row(struct rec_asking *a, uint32_t row, maas_str *names, float *scores,
                        maas_error *error);
/* The reasons for what rec_ask_row found last: names and weights [k, REC_BECAUSE_MAX]. */
maas_status rec_ask_why(struct rec_asking *a, maas_str *names, float *weights, maas_error *error);

/* ---- model.c, file.c: the artifact's one file, recommender.model */
maas_status rec_write(const char *dir, const struct rec_model *m, maas_error *error);
maas_status rec_read(const char *dir, struct rec_model *out, maas_error *error);
/* A file's bytes; *out is to be released whatever is returned. */
maas_status rec_parse(const uint8_t *bytes, size_t len, struct rec_model *out, maas_error *error);
void rec_release(struct rec_model *m);
/* What follows from the ratings and factors: rows by item, norms, popularity, the gram. */
maas_status rec_complete(struct rec_model *m, struct rec_work *work, maas_error *error);

/* ---- train.c, measure.c: "maas.train/1" */
extern const maas_option_decl *const rec_train_options[];
maas_status rec_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                      maas_error *error);
maas_status rec_evaluate(const maas_host *host, const struct rec_model *m,
                         const maas_train_spec *spec, const maas_request *job, maas_error *error);
struct rec_measuring { /* ratings by the model's indices; REC_NOBODY: not known there */
    const struct rec_ratings *pairs;
    uint32_t k;
    float relevant; /* ratings from which on an item is */
};
/* Tells the metrics of `pairs` as those of the test. */
maas_status rec_measure(const struct rec_model *m, const struct rec_measuring *how,
                        struct rec_work *work, maas_error *error);

#endif
