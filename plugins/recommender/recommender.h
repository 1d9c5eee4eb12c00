/*
 * recommender.h: the parts of the recommender: ratings, factors, neighbours, the model's file;
 * plugin.c puts them behind the ABI.
 *
 * Users and items are indices; names stand in the model. r[u][i]: what u gave i (explicit), or how
 * often (implicit).
 */
#ifndef RECOMMENDER_H
#define RECOMMENDER_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>

enum {
    REC_USERS_MAX = 4000000,
    REC_ITEMS_MAX = 1000000,
    REC_RATINGS_MAX = 100000000,
    REC_NAME_MAX = 255,
    REC_RANK_MAX = 128,
    REC_LIST_MAX = 1024, /* k: items of an answer */
    REC_IDS_MAX = 10000, /* ids of one list of a request */
};
#define REC_NOBODY UINT32_MAX

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
    float mean, most, alpha, ridge, bias_ridge; /* most: the best rating that was given */
    struct rec_names users, items;
    struct rec_rows by_user, by_item;
    float *user_bias, *item_bias;       /* als, neighbours */
    float *user_factors, *item_factors; /* als, ials: [count, rank] */
    double *gram;                       /* ials: [rank, rank], the sum of q q' over all items */
    float *popularity;                  /* by item, at most 1 */
    float *item_norm, *user_norm;       /* lengths of columns and rows */
};

/* ---- data.c */
struct rec_ratings { /* as they stand in the file, each pair once */
    uint32_t *user, *item;
    float *value;
    uint64_t count, room;
};
struct rec_reading {
    const char *dir, *file, *user_column, *item_column, *rating_column; /* rating "": each is 1 */
    uint32_t test_every; /* rows whose number is a multiple of it are a test; 0: none */
    bool sum;            /* of the values of a pair that stands there again; else the last counts */
};
struct rec_data {
    struct rec_ratings train, test;
    struct rec_names users, items;
};
maas_status rec_data_read(const struct rec_reading *how, struct rec_data *out, maas_error *error);
void rec_data_release(struct rec_data *d);
/* Rows out of ratings; false: no memory. by_item: rows are items. */
bool rec_rows_make(struct rec_rows *out, const struct rec_ratings *r, uint32_t rows, bool by_item);
void rec_rows_release(struct rec_rows *r);
void rec_names_release(struct rec_names *n);
bool rec_names_sort(struct rec_names *n);
maas_str rec_name(const struct rec_names *n, uint32_t index);
uint32_t rec_find(const struct rec_names *n, maas_str name); /* REC_NOBODY */

/* ---- factors.c: alternating least squares
 *
 *   als   minimises sum (r - mean - b[u] - b[i] - p[u] q[i])^2 + ridge (n[u] |p[u]|^2 + n[i]
 *         |q[i]|^2) (Koren, Bell, Volinsky 2009; weighted as Zhou et al. 2008); biases are shrunk
 *         means: b = sum of what is left / (n + bias_ridge)
 *   ials  minimises sum over all pairs c (preferred - p[u] q[i])^2 + ridge (|p|^2 + |q|^2), with
 *         c = 1 + alpha r and preferred = r > 0 (Hu, Koren, Volinsky 2008)
 */
struct rec_learning {
    uint32_t sweeps;
    uint64_t random;
};
maas_status rec_learn(struct rec_model *m, const struct rec_learning *how, const maas_host *host,
                      const maas_request *job, maas_error *error);
/* Biases of users and items, which are made; false: no memory. mean and bias_ridge are set. */
bool rec_learn_biases(struct rec_model *m);
/* Doubles of work space for somebody of `count` ratings. */
size_t rec_work(uint32_t rank, uint64_t count);
/* The vector of somebody who gave these ratings; work: rec_work doubles. bias: als. Of a user of
 * the training it is the user's own. */
bool rec_fold(const struct rec_model *m, const uint32_t *items, const float *values, uint32_t count,
              double *work, float *vector, float *bias);

/* gram [rank, rank]: the upper half of the sum of q q'. */
void rec_gram(double *gram, const float *factors, uint32_t count, uint32_t rank);

/* ---- scores.c */
struct rec_person { /* who is asked for: ratings, and of a factor model a vector */
    const uint32_t *items;
    const float *values;
    uint32_t count;
    const float *vector;
    float bias;
};
/* A user of the training. */
struct rec_person rec_person_of(const struct rec_model *m, uint32_t user);
/* Scores of all items for a person; space: users floats (user-cosine). */
void rec_scores(const struct rec_model *m, const struct rec_person *who, float *scores,
                float *space);
/* Adds to scores how near each item is to one, -1 to 1. */
void rec_near(const struct rec_model *m, uint32_t item, float *scores);
/* What each of a person's ratings adds to an item's score: out [count]; work: rec_work doubles. */
void rec_because(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                 double *work, float *out);
/* item-cosine: the cosine of two items' columns; user-cosine: their product over users, each by its
 * length; popularity: 0. */
float rec_overlap(const struct rec_model *m, uint32_t a, uint32_t b);
/* Predicted rating of a pair, for als and neighbours' weighted means. */
float rec_predict(const struct rec_model *m, uint32_t user, uint32_t item);

/* ---- top.c */
/* The k best scores' items, best first, of equals the more popular, of those the first; scores of
 * -HUGE_VALF are none. out has room for k; how many there are is returned. */
uint32_t rec_top(const struct rec_model *m, const float *scores, uint32_t k, uint32_t *out);

/* ---- model.c: the artifact's one file, recommender.model */
maas_status rec_write(const char *dir, const struct rec_model *m, maas_error *error);
maas_status rec_read(const char *dir, struct rec_model *out, maas_error *error);
maas_status rec_parse(const uint8_t *bytes, size_t len, struct rec_model *out, maas_error *error);
uint64_t rec_sum(const uint8_t *bytes, size_t len); /* the checksum that ends a file */
void rec_release(struct rec_model *m);
/* What follows from the ratings: norms, popularity, rows by item, neighbours' biases; false: no
 * memory. */
bool rec_complete(struct rec_model *m);

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const rec_train_options[];
maas_status rec_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                      maas_error *error);
maas_status rec_evaluate(const maas_host *host, const struct rec_model *m,
                         const maas_train_spec *spec, const maas_request *job, maas_error *error);

#endif
