/*
 * text.h: the parts of the text classifier: words of a text, features of the words, model files;
 * train.h has training, plugin.c puts all behind the ABI.
 *
 * Two networks. ngrams: a text is a bag of n-grams, each known by a 32-bit hash, its key; with
 * w[c][f] the weight of feature f for class c, z[c] = b[c] + (sum of w[c][f] over the text's n
 * features, with repetition) / sqrt(n). lstm: a text is a sequence of words, each the sum of the
 * embeddings of the features that end with it; an LSTM reads it from both ends, and z is linear in
 * the largest and the mean of what it gave (net.h). p = softmax(z). Features that training has not
 * seen count for nothing.
 */
#ifndef TEXT_H
#define TEXT_H

#include <maas/author.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataset/labels.h"
#include "net.h"

enum {
    TEXT_CLASSES_MAX = LABELS_MAX,
    TEXT_LABEL_MAX = LABEL_MAX, /* bytes of a label, with its NUL */
    TEXT_NGRAM_MAX = 5,
    TEXT_STEM_MAX = 16,
    TEXT_NEGATION_MAX = 8,
    TEXT_WORDS_MAX = 1024, /* that an LSTM reads, of a text */
};
#define TEXT_WEIGHTS_MAX ((uint64_t)1 << 28) /* slots x classes, features x width */
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
struct ngrams {
    const float *weights; /* slots x classes; 0 of empty slots */
    float *bias;          /* classes */
};
struct recurrent {
    uint32_t features, words; /* different features; words that are read of a text */
    const uint32_t *numbers;  /* slots: the feature's row in `embedding` */
    const float *embedding;   /* features x width */
    const float *plain;       /* the network's block of weights, as learnt */
    struct net net, learnt;   /* packed for answering; over `plain` for explaining */
    float *packed;            /* the block that net is packed into */
};
enum network { TEXT_NGRAMS, TEXT_LSTM };
struct text_model {
    enum network network;
    struct shape shape;
    uint32_t classes;
    char (*labels)[TEXT_LABEL_MAX]; /* classes, sorted */
    struct table table;
    struct ngrams ngrams;
    struct recurrent recurrent;
    void *map; /* the file, when it was loaded; NULL: memory is the caller's */
    size_t map_bytes;
};
maas_status text_write(const char *dir, const struct text_model *m, maas_error *error);
maas_status text_read(const char *dir, struct text_model *out, maas_error *error);
void text_release(struct text_model *m);

/* Floats of work space, aligned to 64 bytes, that a text takes at most: for text_scores, or for
 * text_words. */
size_t text_scratch(const struct text_model *m, bool explaining);
/* Probabilities of all classes, for one text. */
void text_scores(const struct text_model *m, maas_str text, float *scratch, float *out);
/* What each word of a text adds to the score of class `class` beside the mean of all classes. Of
 * n-grams exactly, a feature's part shared by its words; of an LSTM to first order: its embedding
 * times the gradient. out holds `count` numbers, zero at first; words beyond are left out. */
void text_words(const struct text_model *m, maas_str text, uint32_t class, float *scratch,
                float *out, uint32_t count);

/* ---- ngrams.c and recurrent.c: a network's part of the above; the head's first 8 bytes say which
 */
extern const char ngrams_magic[8], recurrent_magic[8];
maas_status ngrams_write(FILE *file, const struct text_model *m);
maas_status ngrams_read(struct text_model *m, maas_error *error);
void ngrams_scores(const struct text_model *m, maas_str text, float *out); /* z */
void ngrams_words(const struct text_model *m, maas_str text, uint32_t class, float *out,
                  uint32_t count);
maas_status recurrent_write(FILE *file, const struct text_model *m);
maas_status recurrent_read(struct text_model *m, maas_error *error);
size_t recurrent_scratch(const struct text_model *m, bool explaining);
void recurrent_scores(const struct text_model *m, maas_str text, float *scratch, float *out);
void recurrent_words(const struct text_model *m, maas_str text, uint32_t class, float *scratch,
                     float *out, uint32_t count);

/* ---- file.c: what both files are checked for */
maas_status file_damaged(maas_error *error, const char *what); /* MAAS_E_DATA_LOSS */
bool file_shape_good(const struct shape *shape);
bool file_table_good(const struct table *table); /* an empty place, and as many slots as it may */
/* Copies the labels out of the map; false: one does not end, is empty or out of order, or there is
 * no memory. */
bool file_labels(struct text_model *m, const char *at);
/* None that a sum of many could overflow with, nor NaN. */
bool file_all_small(const float *numbers, uint64_t count);
size_t file_aligned(size_t size); /* up to 64 bytes */
maas_status file_pad(FILE *file, size_t written);

#endif
