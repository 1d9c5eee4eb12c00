/*
 * learn_ngrams.c: learning the linear network.
 *
 * A feature's weight is learnt as w[c][f] = r[c][f] u[c][f]: r is the log-count ratio of the class
 * against the rest (Wang and Manning, Baselines and Bigrams, 2012; 1 without the option `nb`), u is
 * what cross-entropy with L2 makes of it by SGD or Adam (Kingma and Ba, 2014), row by row in a
 * shuffled order. Adam's moments are kept lazily: a feature that is not in the row is not touched.
 */
#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "kernels/activation.h"
#include "ratios.h"

struct learner {
    const struct corpus *corpus;
    uint32_t classes;
    float *ratio;              /* weights: r; NULL: 1 */
    float *u, *m, *v;          /* weights; m, v: Adam's moments, or NULL */
    float *weights, *bias, *z; /* what is scored with: r u */
    float *best, *best_bias;
    double l2, rate;
    uint64_t steps;
    bool adam;
};

static void release(void *self)
{
    struct learner *l = self;
    if (!l)
        return;
    float *all[] = { l->ratio, l->u, l->m, l->v, l->weights, l->bias, l->z, l->best, l->best_bias };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
    free(l);
}

static uint64_t weight_count(const struct learner *l)
{
    return (uint64_t)l->corpus->distinct * l->classes;
}

/* ---- a row */

/* z = the class probabilities of a row. */
static void score_row(const struct learner *l, const float *weights, const float *bias,
                      uint32_t row)
{
    uint64_t n;
    const uint32_t *f = corpus_row(l->corpus, row, &n);
    const float scale = n ? 1 / sqrtf((float)n) : 0;
    memset(l->z, 0, l->classes * sizeof(*l->z));
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < l->classes; c++)
            l->z[c] += weights[(size_t)f[i] * l->classes + c];
    for (uint32_t c = 0; c < l->classes; c++)
        l->z[c] = l->z[c] * scale + bias[c];
    softmax(l->z, l->z, 1, l->classes);
}

static void update(struct learner *l, size_t at, float gradient, float correct_m, float correct_v)
{
    float r = l->ratio ? l->ratio[at] : 1, rate = (float)l->rate;
    gradient = gradient * r + (float)l->l2 * l->u[at];
    if (l->adam) {
        l->m[at] = 0.9f * l->m[at] + 0.1f * gradient;
        l->v[at] = 0.999f * l->v[at] + 0.001f * gradient * gradient;
        l->u[at] -= rate * (l->m[at] * correct_m) / (sqrtf(l->v[at] * correct_v) + 1e-8f);
    } else {
        l->u[at] -= rate * gradient;
    }
    l->weights[at] = r * l->u[at];
}

static void learn_row(struct learner *l, uint32_t row)
{
    uint64_t n;
    const uint32_t *f = corpus_row(l->corpus, row, &n);
    const float scale = n ? 1 / sqrtf((float)n) : 0;
    const double step = (double)++l->steps;
    const float correct_m = (float)(1 / (1 - pow(0.9, step))),
                correct_v = (float)(1 / (1 - pow(0.999, step)));
    score_row(l, l->weights, l->bias, row);
    l->z[l->corpus->truth[row]] -= 1; /* the gradient of cross-entropy by the scores */
    for (uint32_t c = 0; c < l->classes; c++)
        l->bias[c] -= (float)l->rate * 0.1f * l->z[c];
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < l->classes; c++)
            update(l, (size_t)f[i] * l->classes + c, l->z[c] * scale, correct_m, correct_v);
}

/* ---- the method */

static maas_status make_weights(struct learner *l, maas_error *error)
{
    const uint64_t weights = weight_count(l);
    if ((uint64_t)l->corpus->slots * l->classes > TEXT_WEIGHTS_MAX)
        return maas_fail(error, MAAS_E_INVALID,
                         "%u classes of %u features are too many weights; set 'features'",
                         l->classes, l->corpus->distinct);
    l->u = calloc(weights, sizeof(float));
    l->m = l->adam ? calloc(weights, sizeof(float)) : NULL;
    l->v = l->adam ? calloc(weights, sizeof(float)) : NULL;
    l->weights = calloc(weights, sizeof(float));
    l->best = malloc(weights * sizeof(float));
    l->bias = calloc(l->classes, sizeof(float));
    l->best_bias = calloc(l->classes, sizeof(float));
    l->z = malloc(l->classes * sizeof(float));
    if (!l->u || (l->adam && (!l->m || !l->v)) || !l->weights || !l->best || !l->bias ||
        !l->best_bias || !l->z)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu weights",
                         (unsigned long long)weights);
    return MAAS_OK;
}

static maas_status start_from_ratios(struct learner *l, const struct lesson *lesson,
                                     maas_error *error)
{
    const float prior = (float)lesson_option(lesson, "prior")->real;
    l->ratio = ratios_of(lesson);
    if (!l->ratio)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the ratios");
    for (uint64_t i = 0; i < weight_count(l); i++) {
        l->u[i] = prior;
        l->weights[i] = l->ratio[i] * prior;
    }
    return MAAS_OK;
}

static maas_status begin(const struct lesson *lesson, void **out_self, maas_error *error)
{
    struct learner *l = calloc(1, sizeof(*l));
    *out_self = l;
    if (!l)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to learn with");
    l->corpus = lesson->corpus;
    l->classes = lesson->corpus->labels.count;
    l->adam = lesson_option(lesson, "optimiser")->text.data[0] == 'a';
    l->l2 = lesson_option(lesson, "l2")->real;
    maas_status status = make_weights(l, error);
    if (!status && lesson_option(lesson, "nb")->integer)
        status = start_from_ratios(l, lesson, error);
    return status;
}

static maas_status epoch(void *self, struct lesson *lesson, double done, double part,
                         maas_error *error)
{
    struct learner *l = self;
    uint32_t *rows = lesson_rows(lesson);
    l->rate = lesson->rate;
    random_shuffle(&lesson->random, rows, lesson->train);
    for (uint32_t i = 0; i < lesson->train; i++) {
        learn_row(l, rows[i]);
        if (i % LESSON_LOOK == 0 && lesson->host->cancelled(lesson->host, lesson->job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled while learning");
        if (i % 4096 == 0)
            maas_emit_scalar(lesson->host, lesson->job, "progress",
                             done + part * i / lesson->train);
    }
    return MAAS_OK;
}

static void score(void *self, uint32_t row, bool kept, float *out)
{
    struct learner *l = self;
    score_row(l, kept ? l->best : l->weights, kept ? l->best_bias : l->bias, row);
    memcpy(out, l->z, l->classes * sizeof(*out));
}

static void keep(void *self)
{
    struct learner *l = self;
    memcpy(l->best, l->weights, weight_count(l) * sizeof(*l->best));
    memcpy(l->best_bias, l->bias, l->classes * sizeof(*l->best_bias));
}

/* The weights in the order of the table's slots. */
static maas_status write(void *self, const char *dir, maas_error *error)
{
    struct learner *l = self;
    const struct corpus *c = l->corpus;
    float *weights = calloc((size_t)c->slots * l->classes, sizeof(*weights));
    if (!weights)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to write %u features", c->distinct);
    for (uint32_t i = 0; i < c->slots; i++)
        if (c->keys[i])
            memcpy(weights + (size_t)i * l->classes, l->best + (size_t)c->numbers[i] * l->classes,
                   l->classes * sizeof(*weights));
    const struct text_model model = { .network = TEXT_NGRAMS,
                                      .shape = c->shape,
                                      .classes = l->classes,
                                      .labels = c->labels.names,
                                      .table = { c->keys, c->slots },
                                      .ngrams = { weights, l->best_bias } };
    maas_status status = text_write(dir, &model, error);
    free(weights);
    return status;
}

const struct method learn_ngrams = { .rate = 0.02,
                                     .begin = begin,
                                     .epoch = epoch,
                                     .score = score,
                                     .keep = keep,
                                     .write = write,
                                     .release = release };
