/*
 * train.h: training: the rows as features, two ways to learn from them, and the frame around both
 * (epochs, validation, the best epoch, metrics).
 */
#ifndef TEXT_TRAIN_H
#define TEXT_TRAIN_H

#include <maas/ext/train.h>

#include "text.h"

/* ---- corpus.c: rows as lists of their features' numbers, 4 bytes a feature */
struct corpus {
    struct shape shape;
    uint32_t *features; /* numbers, of all rows, one behind the other */
    uint32_t *places;   /* of each: the word that it ends with; NULL where `words` is 0 */
    uint64_t count, room, place_room;
    uint64_t *ends; /* rows: where each row's features end */
    uint32_t *truth;
    uint32_t rows, row_room;
    struct labels labels;
    uint32_t *keys, *numbers, slots; /* table.c's table, and the number of each key */
    uint32_t distinct, distinct_max; /* different features; those beyond are left out */
    uint32_t least;                  /* features that come less often in all are left out */
    uint32_t words;                  /* words of a row whose features are kept; 0: all */
    bool full;
};
/* Rows of texts and labels, in that order, of the columns that the options name. */
struct records;
maas_status corpus_open(const maas_train_spec *spec, const char *part, struct records **out,
                        maas_error *error);
/* Reads the rows; job is looked at for cancelling. shape, distinct_max, least and words are set. */
maas_status corpus_read(struct corpus *c, const maas_train_spec *spec, const maas_host *host,
                        const maas_request *job, maas_error *error);
void corpus_release(struct corpus *c);
/* The features of a row, *out_count of them. */
const uint32_t *corpus_row(const struct corpus *c, uint32_t row, uint64_t *out_count);

/* ---- what is learnt from it: the rows in a drawn order, for test, for validation, to learn from
 */
struct lesson {
    const struct corpus *corpus;
    const maas_train_spec *spec;
    const maas_host *host;
    const maas_request *job;
    uint32_t *order, test, validation, train;
    uint64_t random; /* state */
    double rate;     /* of this epoch */
};
enum { LESSON_LOOK = 64 }; /* rows between two looks at cancelled */
/* The first of the rows to learn from. */
uint32_t *lesson_rows(const struct lesson *l);
const maas_option *lesson_option(const struct lesson *l, const char *name);

struct method {
    double rate; /* of the first epoch, where learning_rate is 0 */
    /* *out_self is freed by release, also when this fails. */
    maas_status (*begin)(const struct lesson *l, void **out_self, maas_error *error);
    /* One pass over the rows; tells its progress from `done` on, a share `part` of all. */
    maas_status (*epoch)(void *self, struct lesson *l, double done, double part, maas_error *error);
    /* Class probabilities of a row, by the weights as they are, or by those that were kept. */
    void (*score)(void *self, uint32_t row, bool kept, float *out);
    void (*keep)(void *self);
    /* Writes the weights that were kept. */
    maas_status (*write)(void *self, const char *dir, maas_error *error);
    void (*release)(void *self); /* accepts NULL */
};
extern const struct method learn_ngrams, learn_lstm; /* learn_ngrams.c, learn_lstm.c */

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const text_train_options[];
maas_status text_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                       maas_error *error);
maas_status text_evaluate(const maas_host *host, const struct text_model *m,
                          const maas_train_spec *spec, const maas_request *job, maas_error *error);

#endif
