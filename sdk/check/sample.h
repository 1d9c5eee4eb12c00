/*
 * sample.h: random requests that fit a signature, their answers, and comparing answers row by row.
 * The same seed gives the same request.
 */
#ifndef CHECK_SAMPLE_H
#define CHECK_SAMPLE_H

#include "engine/engine.h"

#define SAMPLE_PORTS_MAX 32
#define SAMPLE_NAME_MAX  129

/* What numbers are drawn: not every model takes all. */
enum flavour {
    FLAVOUR_SIGNED, /* reals -2..2, integers 0..9 */
    FLAVOUR_UNIT,   /* reals 0..1, integers 0..1 */
    FLAVOUR_COUNTS, /* reals and integers 1..100, whole */
    FLAVOUR_ZERO,   /* nothing but 0 */
    FLAVOUR_COUNT,  /* of those above, which are tried on each model */
    FLAVOUR_HUGE,   /* the ends of each type, finite; long texts */
    FLAVOUR_STRANGE /* NaN and infinities, too; texts with NUL bytes */
};

struct sample { /* heap; every input and every string is a block of its own */
    uint32_t rows, input_count;
    maas_named inputs[SAMPLE_PORTS_MAX];
    int64_t shapes[SAMPLE_PORTS_MAX][8];
    char names[SAMPLE_PORTS_MAX][SAMPLE_NAME_MAX]; /* so it may outlive the model */
};

/* From now on the rows of requests are drawn from those of `base`, which stays the caller's. One
 * for the process. NULL: random ones again. */
void sample_from(const struct sample *base);
/* A sample of a decoded request, whose inputs may come in any order. */
struct sample *sample_of(const struct engine_request *request);

/* Free extents are drawn too, 1 to 8, for some seeds 0. Memory that is not there ends the process
 * (CHECK). */
struct sample *sample_new(const maas_signature *s, uint32_t rows, uint64_t seed, int flavour);
/* A copy of `count` rows from `first` on. */
struct sample *sample_slice(const struct sample *from, uint32_t first, uint32_t count);
void sample_free(struct sample *sample);
size_t row_elements(const maas_tensor *t); /* of one row */

struct answer {
    maas_status status;
    maas_error error;
    struct engine_job *job; /* holds the outputs; reused from ask to ask */
    uint32_t rows;
};

struct answer answer_new(void); /* status: none yet */
void answer_free(struct answer *a);

/* How a request is asked; zeroes are the usual way. */
struct manner {
    bool explain; /* through "maas.explain/1" */
    uint64_t deadline_ns;
    bool (*cancelled)(void *arg);
    void *arg;
};
/* Asks on this thread, or on a new one. Status and text are in the answer. */
maas_status ask(struct engine_model *model, const struct sample *sample, const struct manner *how,
                struct answer *out);
maas_status ask_on_a_thread(struct engine_model *model, const struct sample *sample,
                            struct answer *out);

/* `count` rows of both from the given ones on have the same bits; else why names the output. */
bool answers_agree(const struct answer *a, uint32_t a_first, const struct answer *b,
                   uint32_t b_first, uint32_t count, char *why, size_t why_size);
/* No NaN and no infinity, which JSON cannot carry; else why names the output. */
bool answer_finite(const struct answer *a, char *why, size_t why_size);

uint64_t random_next(uint64_t *state); /* splitmix64 (Steele, Lea, Flood 2014) */

#endif
