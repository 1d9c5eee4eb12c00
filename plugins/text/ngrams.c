/*
 * ngrams.c: the linear network over n-grams, and its text.model, little-endian, mapped when it is
 * loaded:
 *
 *     "maastxt1", word_ngrams, char_ngrams, stem, negation, slots, classes   (u32 each)
 *     labels: classes x TEXT_LABEL_MAX bytes, each ends with NUL, sorted
 *     bias: classes x f32; padding to 64 bytes
 *     keys: slots x u32, a table with open addressing (table.c)
 *     weights: slots x classes x f32, the classes of a slot together
 *
 * It is read as hostile input: every number is bounded before it is used, the file's size must be
 * exactly what they say, labels must end, the table must have an empty place, and a weight that is
 * too large is found when it is loaded.
 */
#include "text.h"

#include <math.h>
#include <stdlib.h>

const char ngrams_magic[8] = "maastxt1";

struct head {
    char magic[8];
    struct shape shape;
    uint32_t slots, classes;
};

static size_t head_size(uint32_t classes)
{
    return sizeof(struct head) + (size_t)classes * (TEXT_LABEL_MAX + sizeof(float));
}

static uint64_t weights_of(const struct text_model *m)
{
    return (uint64_t)m->table.slots * m->classes;
}

maas_status ngrams_write(FILE *file, const struct text_model *m)
{
    struct head head = { .shape = m->shape, .slots = m->table.slots, .classes = m->classes };
    memcpy(head.magic, ngrams_magic, sizeof(head.magic));
    fwrite(&head, sizeof(head), 1, file);
    fwrite(m->labels, TEXT_LABEL_MAX, m->classes, file);
    fwrite(m->ngrams.bias, sizeof(float), m->classes, file);
    maas_status status = file_pad(file, head_size(m->classes));
    fwrite(m->table.keys, sizeof(uint32_t), m->table.slots, file);
    fwrite(m->ngrams.weights, sizeof(float), weights_of(m), file);
    return status;
}

static maas_status read_head(struct text_model *m, maas_error *error)
{
    struct head head;
    memcpy(&head, m->map, sizeof(head));
    if (head.slots < 2 || head.slots > TEXT_SLOTS_MAX || (head.slots & (head.slots - 1)) ||
        !file_shape_good(&head.shape) || head.classes < 2 || head.classes > TEXT_CLASSES_MAX)
        return file_damaged(error, "a number in its head is out of range");
    m->shape = head.shape;
    m->classes = head.classes;
    m->table.slots = head.slots;
    if (weights_of(m) > TEXT_WEIGHTS_MAX || m->map_bytes != file_aligned(head_size(m->classes)) +
                                                                head.slots * sizeof(uint32_t) +
                                                                weights_of(m) * sizeof(float))
        return file_damaged(error, "its size is not what its head says");
    return MAAS_OK;
}

maas_status ngrams_read(struct text_model *m, maas_error *error)
{
    maas_status status = m->map_bytes < sizeof(struct head) ? file_damaged(error, "it is too short")
                                                            : read_head(m, error);
    if (status)
        return status;
    const char *map = m->map, *labels = map + sizeof(struct head);
    const size_t bias = m->classes * sizeof(float);
    m->ngrams.bias = malloc(bias);
    if (!m->ngrams.bias)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u classes", m->classes);
    memcpy(m->ngrams.bias, labels + (size_t)m->classes * TEXT_LABEL_MAX, bias);
    m->table.keys = (const uint32_t *)(const void *)(map + file_aligned(head_size(m->classes)));
    m->ngrams.weights = (const float *)(const void *)(m->table.keys + m->table.slots);
    if (!file_labels(m, labels))
        return file_damaged(error, "its labels are not sorted texts");
    if (!file_table_good(&m->table))
        return file_damaged(error, "its table is full");
    if (!file_all_small(m->ngrams.bias, m->classes) ||
        !file_all_small(m->ngrams.weights, weights_of(m)))
        return file_damaged(error, "a weight is too large, or no number");
    return MAAS_OK;
}

/* ---- scores */

struct sum {
    const struct text_model *model;
    float *scores;
    uint32_t features;
};

static const float *weights_at(const struct text_model *m, uint32_t key)
{
    return m->ngrams.weights + (size_t)table_slot(&m->table, key) * m->classes;
}

static void add_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct sum *sum = arg;
    const float *w = weights_at(sum->model, key);
    (void)first;
    (void)last;
    for (uint32_t c = 0; c < sum->model->classes; c++)
        sum->scores[c] += w[c];
    sum->features++;
}

void ngrams_scores(const struct text_model *m, maas_str text, float *out)
{
    struct sum sum = { m, out, 0 };
    memset(out, 0, m->classes * sizeof(*out));
    (void)features_of(&m->shape, text, add_feature, &sum);
    float scale = sum.features ? 1 / sqrtf((float)sum.features) : 0;
    for (uint32_t c = 0; c < m->classes; c++)
        out[c] = out[c] * scale + m->ngrams.bias[c];
}

struct share {
    const struct text_model *model;
    uint32_t class, count, features;
    float *words;
};

static void share_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct share *s = arg;
    const float *w = weights_at(s->model, key);
    float mean = 0;
    for (uint32_t c = 0; c < s->model->classes; c++)
        mean += w[c] / (float)s->model->classes;
    s->features++;
    for (uint32_t i = first; i <= last && i < s->count; i++)
        s->words[i] += (w[s->class] - mean) / (float)(last - first + 1);
}

void ngrams_words(const struct text_model *m, maas_str text, uint32_t class, float *out,
                  uint32_t count)
{
    struct share s = { m, class, count, 0, out };
    (void)features_of(&m->shape, text, share_feature, &s);
    for (uint32_t i = 0; i < count && s.features; i++)
        out[i] /= sqrtf((float)s.features);
}
