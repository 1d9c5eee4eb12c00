/*
 * text.h: the parts of the text classifier: words of a text, features of the words, a model file,
 * training; plugin.c puts them behind the ABI.
 *
 * Model: a text is a bag of n-grams, each known by a 32-bit hash, its key. With w[c][f] the weight
 * of feature f for class c, score z[c] = b[c] + (sum of w[c][f] over the text's n features, with
 * repetition) / sqrt(n), and p = softmax(z). Features that training has not seen weigh 0.
 */
#ifndef TEXT_H
#define TEXT_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>
#include <stdint.h>

enum {
    TEXT_CLASSES_MAX = 4096,
    TEXT_LABEL_MAX = 256, /* bytes of a label, with its NUL */
    TEXT_NGRAM_MAX = 5,
    TEXT_STEM_MAX = 16,
    TEXT_NEGATION_MAX = 8,
};
#define TEXT_WEIGHTS_MAX ((uint64_t)1 << 28) /* slots x classes */
#define TEXT_SLOTS_MAX   (UINT32_C(1) << 27)

/* ---- words.c: UTF-8 to words, without a segmenter */
struct word {
    uint64_t hash;         /* of its characters, folded: case, and width of Latin letters */
    const char *from, *to; /* as it stands in the text */
    bool single;           /* a character of a script that is written without spaces */
    bool stop;             /* punctuation stands before it */
    bool negates;          /* not, never, isn't and the like */
};
struct reader {
    const char *at, *end;
};
/* The next word; false: the end. Bytes that are no UTF-8 stand for U+FFFD, each. A word is a run of
 * letters, digits and apostrophes; a Chinese, Japanese or Korean character is one by itself; of the
 * rest only ! and ? are words. */
bool words_next(struct reader *reader, struct word *out);
/* The next character, folded; its bytes are passed. reader->at < reader->end. */
uint32_t words_character(struct reader *reader);

/* ---- features.c */
struct shape {            /* what features a model has */
    uint32_t word_ngrams; /* runs of 1 … so many words */
    uint32_t char_ngrams; /* of longer words: runs of 3 … so many characters; 0: none */
    uint32_t stem;        /* the first characters of longer words, as a feature; 0: none */
    uint32_t negation; /* so many words behind a negating one, up to punctuation, are others; 0 */
};
/* Called for each feature: its key, never 0, and the words [first, last] that it is made of,
 * counted from 0. */
typedef void feature_fn(void *arg, uint32_t key, uint32_t first, uint32_t last);
/* All features of a text in a fixed order; the number of its words. */
uint32_t features_of(const struct shape *shape, maas_str text, feature_fn *fn, void *arg);

/* ---- table.c: keys in a table with open addressing, at most half full */
struct table {
    const uint32_t *keys; /* slots; 0: empty */
    uint32_t slots;       /* a power of two */
};
/* The slot of the key, or of the empty place where it belongs; the table has an empty place. */
uint32_t table_slot(const struct table *table, uint32_t key);

/* ---- model.c: the artifact's one file, text.model */
struct text_model {
    struct shape shape;
    uint32_t classes;
    char (*labels)[TEXT_LABEL_MAX]; /* classes, sorted */
    float *bias;                    /* classes */
    struct table table;
    const float *weights; /* slots x classes; 0 of empty slots */
    void *map;            /* the file, when it was loaded; NULL: weights are malloc's */
    size_t map_bytes;
};
maas_status text_write(const char *dir, const struct text_model *m, maas_error *error);
maas_status text_read(const char *dir, struct text_model *out, maas_error *error);
void text_release(struct text_model *m);
/* Probabilities of all classes, for one text. */
void text_scores(const struct text_model *m, maas_str text, float *out);
/* What each word of a text adds to the score of class `class` beside the mean of all classes; a
 * feature's part is shared by its words. out holds `count` numbers, zero at first; words beyond are
 * left out. */
void text_words(const struct text_model *m, maas_str text, uint32_t class, float *out,
                uint32_t count);

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const text_train_options[];
maas_status text_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                       maas_error *error);
maas_status text_evaluate(const maas_host *host, const struct text_model *m,
                          const maas_train_spec *spec, const maas_request *job, maas_error *error);

#endif
