/*
 * recurrent.c: the LSTM over words, and its text.model, little-endian, mapped when it is loaded:
 *
 *     "maastxl1", word_ngrams, char_ngrams, stem, negation, slots, classes, features, words,
 *     width, hidden, directions                                            (u32 each)
 *     labels: classes x TEXT_LABEL_MAX bytes, as of ngrams.c; padding to 64 bytes
 *     keys, numbers: slots x u32 each: a table from a feature's key to its row; padding
 *     embedding: features x width x f32; padding
 *     weights: the network's block (net.c)
 *
 * It is read as hostile input, as ngrams.c reads its file.
 */
#include "text.h"

#include <math.h>
#include <stdlib.h>

const char recurrent_magic[8] = "maastxl1";

struct head {
    char magic[8];
    struct shape shape;
    uint32_t slots, classes, features, words, width, hidden, directions;
};

/* Where the parts of the file begin, and its end. */
struct places {
    uint64_t keys, embedding, weights, end;
};

static struct places places_of(const struct head *h, const struct net_shape *net)
{
    struct places p;
    p.keys = file_aligned(sizeof(*h) + (size_t)h->classes * TEXT_LABEL_MAX);
    p.embedding = p.keys + file_aligned(2 * (size_t)h->slots * sizeof(uint32_t));
    p.weights = p.embedding + file_aligned((size_t)h->features * h->width * sizeof(float));
    p.end = p.weights + net_weights(net) * sizeof(float);
    return p;
}

static struct net_shape net_of(const struct head *h)
{
    return (struct net_shape){ h->width, h->hidden, h->directions, h->classes };
}

maas_status recurrent_write(FILE *file, const struct text_model *m)
{
    const struct recurrent *r = &m->recurrent;
    const struct net_shape *net = &r->learnt.shape;
    struct head head = { .shape = m->shape,
                         .slots = m->table.slots,
                         .classes = m->classes,
                         .features = r->features,
                         .words = r->words,
                         .width = net->width,
                         .hidden = net->hidden,
                         .directions = net->directions };
    const size_t cells = (size_t)r->features * net->width;
    memcpy(head.magic, recurrent_magic, sizeof(head.magic));
    fwrite(&head, sizeof(head), 1, file);
    fwrite(m->labels, TEXT_LABEL_MAX, m->classes, file);
    maas_status status = file_pad(file, sizeof(head) + (size_t)m->classes * TEXT_LABEL_MAX);
    fwrite(m->table.keys, sizeof(uint32_t), m->table.slots, file);
    fwrite(r->numbers, sizeof(uint32_t), m->table.slots, file);
    if (!status)
        status = file_pad(file, 2 * (size_t)m->table.slots * sizeof(uint32_t));
    fwrite(r->embedding, sizeof(float), cells, file);
    if (!status)
        status = file_pad(file, cells * sizeof(float));
    fwrite(r->plain, sizeof(float), net_weights(net), file);
    return status;
}

/* ---- reading */

static bool head_good(const struct head *h)
{
    return h->slots >= 2 && h->slots <= TEXT_SLOTS_MAX && !(h->slots & (h->slots - 1)) &&
           file_shape_good(&h->shape) && h->classes >= 2 && h->classes <= TEXT_CLASSES_MAX &&
           h->features < h->slots && h->words >= 1 && h->words <= TEXT_WORDS_MAX && h->width >= 1 &&
           h->width <= NET_WIDTH_MAX && h->hidden >= 4 && h->hidden <= NET_HIDDEN_MAX &&
           h->hidden % 4 == 0 && h->directions >= 1 && h->directions <= 2 &&
           (uint64_t)h->features * h->width <= TEXT_WEIGHTS_MAX;
}

static bool numbers_good(const struct text_model *m)
{
    for (uint32_t i = 0; i < m->table.slots; i++)
        if (m->table.keys[i] && m->recurrent.numbers[i] >= m->recurrent.features)
            return false;
    return true;
}

static maas_status pack(struct recurrent *r, const struct net_shape *shape, maas_error *error)
{
    r->packed = aligned_alloc(64, file_aligned(net_weights(shape) * sizeof(float)));
    if (!r->packed)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the network");
    net_pack(r->packed, shape, r->plain);
    r->net = net_over(shape, r->packed, true);
    r->learnt = net_over(shape, r->plain, false);
    return MAAS_OK;
}

static maas_status check_body(struct text_model *m, const struct net_shape *net, maas_error *error)
{
    const struct recurrent *r = &m->recurrent;
    if (!file_labels(m, (const char *)m->map + sizeof(struct head)))
        return file_damaged(error, "its labels are not sorted texts");
    if (!file_table_good(&m->table) || !numbers_good(m))
        return file_damaged(error, "its table is full, or leads beyond the features");
    if (!file_all_small(r->embedding, (uint64_t)r->features * net->width) ||
        !file_all_small(r->plain, net_weights(net)))
        return file_damaged(error, "a weight is too large, or no number");
    return MAAS_OK;
}

maas_status recurrent_read(struct text_model *m, maas_error *error)
{
    struct recurrent *r = &m->recurrent;
    struct head head;
    const char *map = m->map;
    if (m->map_bytes < sizeof(head))
        return file_damaged(error, "it is too short");
    memcpy(&head, map, sizeof(head));
    if (!head_good(&head))
        return file_damaged(error, "a number in its head is out of range");
    const struct net_shape net = net_of(&head);
    const struct places p = places_of(&head, &net);
    if (m->map_bytes != p.end)
        return file_damaged(error, "its size is not what its head says");
    m->network = TEXT_LSTM;
    m->shape = head.shape;
    m->classes = head.classes;
    m->table = (struct table){ (const uint32_t *)(const void *)(map + p.keys), head.slots };
    r->features = head.features;
    r->words = head.words;
    r->numbers = m->table.keys + head.slots;
    r->embedding = (const float *)(const void *)(map + p.embedding);
    r->plain = (const float *)(const void *)(map + p.weights);
    maas_status status = check_body(m, &net, error);
    return status ? status : pack(r, &net, error);
}

/* ---- scores */

/* What a text is computed in. */
struct desk {
    const struct text_model *model;
    struct net_work work;
    uint32_t *steps;  /* sequence_of's */
    uint32_t *counts; /* features of each word */
    uint32_t words;   /* that were seen */
};

static struct desk desk_at(const struct text_model *m, float *memory, bool explaining)
{
    const struct recurrent *r = &m->recurrent;
    struct desk d = { .model = m, .steps = (uint32_t *)(void *)memory };
    d.counts = d.steps + 2 * (size_t)r->words;
    d.work = net_work_at(memory + file_aligned(3 * r->words * sizeof(float)) / sizeof(float),
                         &r->net.shape, 1, r->words, explaining);
    return d;
}

size_t recurrent_scratch(const struct text_model *m, bool explaining)
{
    const struct recurrent *r = &m->recurrent;
    return file_aligned(3 * r->words * sizeof(float)) / sizeof(float) +
           net_work_floats(&r->net.shape, 1, r->words, explaining);
}

static void add_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct desk *d = arg;
    const struct recurrent *r = &d->model->recurrent;
    const uint32_t width = r->net.shape.width;
    const uint32_t slot = table_slot(&d->model->table, key);
    (void)first;
    if (last >= r->words)
        return;
    float *x = d->work.x[0] + (size_t)last * width;
    for (; d->words <= last; d->counts[d->words++] = 0)
        memset(d->work.x[0] + (size_t)d->words * width, 0, width * sizeof(*x));
    if (d->model->table.keys[slot] == 0)
        return;
    const float *row = r->embedding + (size_t)r->numbers[slot] * width;
    for (uint32_t i = 0; i < width; i++)
        x[i] += row[i];
    d->counts[last]++;
}

/* The embeddings of a text's words, and the network over them up to work.z. */
static struct sequence read_text(struct desk *d, const struct net *net, maas_str text)
{
    const uint32_t width = net->shape.width;
    (void)features_of(&d->model->shape, text, add_feature, d);
    for (uint32_t t = 0; t < d->words; t++)
        for (uint32_t i = 0; d->counts[t] && i < width; i++)
            d->work.x[0][(size_t)t * width + i] /= sqrtf((float)d->counts[t]);
    const struct sequence s = sequence_of(d->steps, &d->words, 1);
    net_read(net, &d->work, &s);
    net_judge(net, &d->work, 1);
    return s;
}

void recurrent_scores(const struct text_model *m, maas_str text, float *scratch, float *out)
{
    struct desk d = desk_at(m, scratch, false);
    (void)read_text(&d, &m->recurrent.net, text);
    memcpy(out, d.work.z, m->classes * sizeof(*out));
}

void recurrent_words(const struct text_model *m, maas_str text, uint32_t class, float *scratch,
                     float *out, uint32_t count)
{
    const struct net *net = &m->recurrent.learnt;
    const uint32_t width = net->shape.width;
    struct desk d = desk_at(m, scratch, true);
    const struct sequence s = read_text(&d, net, text);
    for (uint32_t c = 0; c < m->classes; c++)
        d.work.z[c] = (c == class ? 1.0f : 0.0f) - 1 / (float)m->classes;
    if (s.tokens == 0)
        return;
    net_judge_backward(net, &d.work, 1, NULL);
    net_read_backward(net, &d.work, &s, NULL);
    for (uint32_t t = 0; t < count && t < d.words; t++)
        for (uint32_t i = 0; i < width; i++)
            out[t] += d.work.x[0][(size_t)t * width + i] * d.work.dx[0][(size_t)t * width + i];
}
