/*
 * learn_lstm.c: learning embeddings and the LSTM over them: cross-entropy over drawn batches of
 * rows, back-propagation through time over whole texts (net.c), Adam with a bound on the gradient's
 * norm. Embeddings are learnt lazily: only rows of features that are in the batch, with their own
 * moments.
 *
 * Against learning by heart, which a few thousand texts are soon: features are left out at random
 * (word_dropout), and so are numbers of the embeddings and of what the head sees (dropout). With
 * `nb` the first numbers of an embedding begin as its feature's log-count ratios, one a class,
 * times `prior`, where there is room: the network starts from what naive Bayes knows.
 */
#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "kernels/activation.h"
#include "kernels/embedding.h"
#include "kernels/optim.h"
#include "ratios.h"

#define EMBEDDING_SPREAD 0.1f /* standard deviation at first */
#define GRADIENT_MAX     5.0f
#define NEWEST           0.3f /* what the newest epoch weighs in the mean */
enum { LONGEST = 0, FULLEST = 1 };

/* Learnt numbers with their gradients and Adam's moments; the mean over the epochs, the later
 * weighing more, which is what is scored with; and the best epoch's mean. */
struct numbers {
    float *now, *gradient, *m, *v, *mean, *best;
    size_t count;
};

/* Rows as packed tokens. */
struct batch {
    uint32_t *rows, *lengths, *cursors; /* sorted by falling length; cursor: features that are in */
    uint32_t *steps;                    /* sequence_of's */
    uint32_t *ids, *ends;               /* bags of tokens; ids count within `touched` or all */
    uint32_t *truth;
    float *memory, *mask, *pooled_mask;
    struct net_work work;
    struct sequence sequence;
    uint32_t count;
};

struct learner {
    const struct corpus *corpus;
    struct net_shape shape;
    struct numbers net, embedding;   /* the gradient of embedding: a row for each of `touched` */
    uint32_t *touched, *local, news; /* features of the batch; local: their place there + 1, or 0 */
    struct batch batch;
    uint32_t batch_rows, epochs;
    float dropout, word_dropout;
    double l2;
    uint64_t steps, *random;
};

static void numbers_release(struct numbers *n)
{
    free(n->now);
    free(n->gradient);
    free(n->m);
    free(n->v);
    free(n->mean);
    free(n->best);
}

static void release(void *self)
{
    struct learner *l = self;
    if (!l)
        return;
    struct batch *b = &l->batch;
    void *all[] = { b->rows,  b->lengths, b->cursors, b->steps,       b->ids,     b->ends,
                    b->truth, b->memory,  b->mask,    b->pooled_mask, l->touched, l->local };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
    numbers_release(&l->net);
    numbers_release(&l->embedding);
    free(l);
}

/* ---- a batch */

/* Words of a row: up to the last that has a feature. */
static uint32_t length_of(const struct corpus *c, uint32_t row)
{
    uint64_t n;
    (void)corpus_row(c, row, &n);
    return n ? c->places[c->ends[row] - 1] + 1 : 0;
}

static void sort_rows(struct batch *b, const struct corpus *c, const uint32_t *rows, uint32_t count)
{
    b->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i, length = length_of(c, rows[i]);
        for (; at > 0 && b->lengths[at - 1] < length; at--) {
            b->rows[at] = b->rows[at - 1];
            b->lengths[at] = b->lengths[at - 1];
        }
        b->rows[at] = rows[i];
        b->lengths[at] = length;
    }
}

/* The number of a feature in this batch. */
static uint32_t touch(struct learner *l, uint32_t feature)
{
    if (!l->local[feature]) {
        l->touched[l->news++] = feature;
        l->local[feature] = l->news;
    }
    return l->local[feature] - 1;
}

/* The features of word t of row r, some left out; learning: by their number in the batch. */
static void fill_word(struct learner *l, uint32_t r, uint32_t t, bool learning, uint32_t *at)
{
    const struct corpus *c = l->corpus;
    struct batch *b = &l->batch;
    uint64_t n;
    const uint32_t *features = corpus_row(c, b->rows[r], &n);
    const uint32_t *places = c->places + (features - c->features);
    for (; b->cursors[r] < n && places[b->cursors[r]] == t; b->cursors[r]++) {
        const uint32_t feature = features[b->cursors[r]];
        if (learning && random_real(l->random) < l->word_dropout)
            continue;
        b->ids[(*at)++] = learning ? touch(l, feature) : feature;
    }
}

static void fill(struct learner *l, const uint32_t *rows, uint32_t count, bool learning)
{
    struct batch *b = &l->batch;
    uint32_t at = 0, token = 0;
    sort_rows(b, l->corpus, rows, count);
    memset(b->cursors, 0, count * sizeof(*b->cursors));
    b->sequence = sequence_of(b->steps, b->lengths, count);
    for (uint32_t t = 0; t < b->sequence.steps; t++)
        for (uint32_t r = 0; r < b->sequence.active[t]; r++) {
            fill_word(l, r, t, learning, &at);
            b->ends[token++] = at;
        }
    for (uint32_t r = 0; r < count; r++)
        b->truth[r] = l->corpus->truth[b->rows[r]];
}

/* ---- a step of learning */

/* The rows of the embedding that the batch uses, side by side: what its ids count in. */
static void gather(struct learner *l, float *out)
{
    const uint32_t width = l->shape.width;
    for (uint32_t i = 0; i < l->news; i++)
        memcpy(out + (size_t)i * width, l->embedding.now + (size_t)l->touched[i] * width,
               width * sizeof(*out));
}

static void follow(struct learner *l, double rate)
{
    const uint32_t width = l->shape.width;
    const struct numbers *net = &l->net, *e = &l->embedding;
    l->steps++;
    optim_clip(net->gradient, GRADIENT_MAX, net->count);
    optim_adam(net->now, net->m, net->v, net->gradient, (float)rate, (float)l->l2, l->steps,
               net->count);
    for (uint32_t i = 0; i < l->news; i++) {
        const size_t at = (size_t)l->touched[i] * width;
        optim_adam(e->now + at, e->m + at, e->v + at, e->gradient + (size_t)i * width, (float)rate,
                   (float)l->l2, l->steps, width);
        l->local[l->touched[i]] = 0;
    }
}

static void learn_batch(struct learner *l, double rate)
{
    struct batch *b = &l->batch;
    const struct net net = net_over(&l->shape, l->net.now, false);
    const struct net_work *w = &b->work;
    const uint32_t width = l->shape.width, pooled = net_pooled(&l->shape);
    const size_t tokens = b->sequence.tokens;
    gather(l, l->embedding.gradient);
    embedding_bags(w->x[0], l->embedding.gradient, b->ids, b->ends, tokens, width);
    dropout(w->x[0], b->mask, w->x[0], l->dropout, l->random, tokens * width);
    net_read(&net, w, &b->sequence);
    dropout(w->pooled, b->pooled_mask, w->pooled, l->dropout, l->random, (size_t)b->count * pooled);
    net_judge(&net, w, b->count);
    softmax(w->z, w->z, b->count, l->shape.classes);
    cross_entropy_backward(w->z, w->z, b->truth, 1 / (float)b->count, b->count, l->shape.classes);
    memset(l->net.gradient, 0, l->net.count * sizeof(float));
    net_judge_backward(&net, w, b->count, l->net.gradient);
    dropout_backward(w->dpooled, w->dpooled, b->pooled_mask, (size_t)b->count * pooled);
    net_read_backward(&net, w, &b->sequence, l->net.gradient);
    dropout_backward(w->dx[0], w->dx[0], b->mask, tokens * width);
    memset(l->embedding.gradient, 0, (size_t)l->news * width * sizeof(float));
    embedding_bags_backward(l->embedding.gradient, w->dx[0], b->ids, b->ends, tokens, width);
    follow(l, rate);
}

static void average(struct numbers *n, float share)
{
    for (size_t i = 0; i < n->count; i++)
        n->mean[i] += share * (n->now[i] - n->mean[i]);
}

static maas_status epoch(void *self, struct lesson *lesson, double done, double part,
                         maas_error *error)
{
    struct learner *l = self;
    uint32_t *rows = lesson_rows(lesson);
    l->random = &lesson->random;
    random_shuffle(&lesson->random, rows, lesson->train);
    for (uint32_t at = 0; at < lesson->train; at += l->batch_rows) {
        const uint32_t left = lesson->train - at;
        l->news = 0;
        fill(l, rows + at, left < l->batch_rows ? left : l->batch_rows, true);
        learn_batch(l, lesson->rate);
        if (lesson->host->cancelled(lesson->host, lesson->job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled while learning");
        if (at / l->batch_rows % 16 == 0)
            maas_emit_scalar(lesson->host, lesson->job, "progress",
                             done + part * at / lesson->train);
    }
    average(&l->net, l->epochs ? NEWEST : 1);
    average(&l->embedding, l->epochs ? NEWEST : 1);
    l->epochs++;
    return MAAS_OK;
}

static void score(void *self, uint32_t row, bool kept, float *out)
{
    struct learner *l = self;
    const struct net net = net_over(&l->shape, kept ? l->net.best : l->net.mean, false);
    struct batch *b = &l->batch;
    fill(l, &row, 1, false);
    embedding_bags(b->work.x[0], kept ? l->embedding.best : l->embedding.mean, b->ids, b->ends,
                   b->sequence.tokens, l->shape.width);
    net_read(&net, &b->work, &b->sequence);
    net_judge(&net, &b->work, 1);
    softmax(out, b->work.z, 1, l->shape.classes);
}

static void keep(void *self)
{
    struct learner *l = self;
    memcpy(l->net.best, l->net.mean, l->net.count * sizeof(float));
    memcpy(l->embedding.best, l->embedding.mean, l->embedding.count * sizeof(float));
}

/* ---- beginning */

static bool numbers_take(struct numbers *n, size_t count, size_t gradients)
{
    n->count = count;
    n->now = calloc(count, sizeof(float));
    n->gradient = calloc(gradients + 1, sizeof(float));
    n->m = calloc(count, sizeof(float));
    n->v = calloc(count, sizeof(float));
    n->mean = calloc(count, sizeof(float));
    n->best = calloc(count, sizeof(float));
    return n->now && n->gradient && n->m && n->v && n->mean && n->best;
}

/* The words of the longest row, and the features of the fullest. */
static void measure(const struct corpus *c, uint64_t out[2])
{
    out[LONGEST] = out[FULLEST] = 1;
    for (uint32_t i = 0; i < c->rows; i++) {
        uint64_t n, length = length_of(c, i);
        (void)corpus_row(c, i, &n);
        out[LONGEST] = length > out[LONGEST] ? length : out[LONGEST];
        out[FULLEST] = n > out[FULLEST] ? n : out[FULLEST];
    }
}

static bool batch_take(struct learner *l, uint64_t ids, uint64_t tokens, uint64_t steps)
{
    struct batch *b = &l->batch;
    const size_t rows = l->batch_rows, u = sizeof(uint32_t);
    b->rows = calloc(rows, u);
    b->lengths = calloc(rows, u);
    b->cursors = calloc(rows, u);
    b->truth = calloc(rows, u);
    b->steps = calloc(2 * steps, u);
    b->ids = calloc(ids, u);
    b->ends = calloc(tokens, u);
    b->mask = malloc(tokens * l->shape.width * sizeof(float));
    b->pooled_mask = malloc(rows * net_pooled(&l->shape) * sizeof(float));
    b->memory = calloc(net_work_floats(&l->shape, rows, tokens, true), sizeof(float));
    if (!b->rows || !b->lengths || !b->cursors || !b->truth || !b->steps || !b->ids || !b->ends ||
        !b->mask || !b->pooled_mask || !b->memory)
        return false;
    b->work = net_work_at(b->memory, &l->shape, rows, tokens, true);
    return true;
}

static maas_status take_memory(struct learner *l, maas_error *error)
{
    const struct corpus *c = l->corpus;
    const size_t cells = (size_t)c->distinct * l->shape.width;
    uint64_t most[2];
    measure(c, most);
    const uint64_t ids = most[FULLEST] * l->batch_rows, tokens = most[LONGEST] * l->batch_rows;
    const uint64_t news = ids < c->distinct ? ids : c->distinct;
    if (cells > TEXT_WEIGHTS_MAX)
        return maas_fail(error, MAAS_E_INVALID,
                         "%u features of width %u are too many weights; set 'features'",
                         c->distinct, l->shape.width);
    l->touched = calloc(c->distinct + 1ull, sizeof(uint32_t));
    l->local = calloc(c->distinct + 1ull, sizeof(uint32_t));
    if (!l->touched || !l->local ||
        !numbers_take(&l->net, net_weights(&l->shape), net_weights(&l->shape)) ||
        !numbers_take(&l->embedding, cells, news * l->shape.width) ||
        !batch_take(l, ids, tokens, most[LONGEST]))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu weights",
                         (unsigned long long)cells);
    return MAAS_OK;
}

static void spread(float *w, size_t count, double most, uint64_t *random)
{
    for (size_t i = 0; i < count; i++)
        w[i] = (float)((2 * random_real(random) - 1) * most);
}

/* Uniform within 1 / sqrt(inputs of a cell), as is usual; the forget gates begin open. */
static void draw_net(struct learner *l, uint64_t *random)
{
    const struct net net = net_over(&l->shape, l->net.now, false);
    const uint32_t hidden = l->shape.hidden;
    const size_t head = (size_t)(net.head - l->net.now), bias = (size_t)(net.bias - l->net.now);
    spread(l->net.now, head, 1 / sqrt(hidden), random);
    spread(l->net.now + head, bias - head, 1 / sqrt(net_pooled(&l->shape)), random);
    for (uint32_t d = 0; d < l->shape.directions; d++) {
        float *b = l->net.now + (net.lstm[d].b - l->net.now);
        memset(b, 0, 4 * (size_t)hidden * sizeof(*b));
        for (uint32_t k = 0; k < hidden; k++)
            b[hidden + k] = 1;
    }
}

static maas_status draw_embedding(struct learner *l, const struct lesson *lesson, uint64_t *random,
                                  maas_error *error)
{
    const uint32_t width = l->shape.width, classes = l->shape.classes;
    const float prior = (float)lesson_option(lesson, "prior")->real;
    for (size_t i = 0; i < l->embedding.count; i++)
        l->embedding.now[i] = EMBEDDING_SPREAD * (float)random_normal(random);
    if (!lesson_option(lesson, "nb")->integer || classes > width)
        return MAAS_OK;
    float *ratios = ratios_of(lesson);
    if (!ratios)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the ratios");
    for (uint32_t f = 0; f < l->corpus->distinct; f++)
        for (uint32_t c = 0; c < classes; c++)
            l->embedding.now[(size_t)f * width + c] = prior * ratios[(size_t)f * classes + c];
    free(ratios);
    return MAAS_OK;
}

static maas_status begin(const struct lesson *lesson, void **out_self, maas_error *error)
{
    struct learner *l = calloc(1, sizeof(*l));
    uint64_t random = lesson->random ^ 0x6c73746d; /* a sequence of its own */
    *out_self = l;
    if (!l)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to learn with");
    l->corpus = lesson->corpus;
    l->shape = (struct net_shape){ (uint32_t)lesson_option(lesson, "width")->integer,
                                   (uint32_t)lesson_option(lesson, "hidden")->integer / 4 * 4,
                                   lesson_option(lesson, "both_ways")->integer ? 2 : 1,
                                   lesson->corpus->labels.count };
    l->batch_rows = (uint32_t)lesson_option(lesson, "batch")->integer;
    l->dropout = (float)lesson_option(lesson, "dropout")->real;
    l->word_dropout = (float)lesson_option(lesson, "word_dropout")->real;
    l->l2 = lesson_option(lesson, "l2")->real;
    maas_status status = take_memory(l, error);
    if (status)
        return status;
    draw_net(l, &random);
    return draw_embedding(l, lesson, &random, error);
}

static maas_status write(void *self, const char *dir, maas_error *error)
{
    const struct learner *l = self;
    const struct corpus *c = l->corpus;
    const struct text_model model = {
        .network = TEXT_LSTM,
        .shape = c->shape,
        .classes = l->shape.classes,
        .labels = c->labels.names,
        .table = { c->keys, c->slots },
        .recurrent = { .features = c->distinct,
                       .words = c->words,
                       .numbers = c->numbers,
                       .embedding = l->embedding.best,
                       .plain = l->net.best,
                       .learnt = net_over(&l->shape, l->net.best, false) },
    };
    return text_write(dir, &model, error);
}

const struct method learn_lstm = { .rate = 0.002,
                                   .begin = begin,
                                   .epoch = epoch,
                                   .score = score,
                                   .keep = keep,
                                   .write = write,
                                   .release = release };
