/*
 * model.c: the model file, text.model, little-endian, mapped when it is loaded:
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

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WEIGHT_MAX 1e6f

static const char magic[8] = "maastxt1";

struct head {
    char magic[8];
    uint32_t word_ngrams, char_ngrams, stem, negation, slots, classes;
};

static size_t weights_at(uint32_t classes)
{
    size_t end = sizeof(struct head) + (size_t)classes * (TEXT_LABEL_MAX + sizeof(float));
    return (end + 63) / 64 * 64;
}

static uint64_t weights_of(uint32_t slots, uint32_t classes)
{
    return (uint64_t)slots * classes;
}

maas_status text_write(const char *dir, const struct text_model *m, maas_error *error)
{
    static const char zeros[64];
    char path[4096];
    struct head head = { .word_ngrams = m->shape.word_ngrams,
                         .char_ngrams = m->shape.char_ngrams,
                         .stem = m->shape.stem,
                         .negation = m->shape.negation,
                         .slots = m->table.slots,
                         .classes = m->classes };
    memcpy(head.magic, magic, sizeof(magic));
    snprintf(path, sizeof(path), "%s/text.model", dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot create 'text.model': %s",
                         strerror(errno));
    size_t end = sizeof(head) + (size_t)m->classes * (TEXT_LABEL_MAX + sizeof(float));
    fwrite(&head, sizeof(head), 1, file);
    fwrite(m->labels, TEXT_LABEL_MAX, m->classes, file);
    fwrite(m->bias, sizeof(float), m->classes, file);
    fwrite(zeros, 1, weights_at(m->classes) - end, file);
    fwrite(m->table.keys, sizeof(uint32_t), m->table.slots, file);
    fwrite(m->weights, sizeof(float), weights_of(m->table.slots, m->classes), file);
    bool bad = ferror(file);
    return fclose(file) || bad ? maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write 'text.model'")
                               : MAAS_OK;
}

static maas_status damaged(maas_error *error, const char *what)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "text.model is damaged: %s", what);
}

static maas_status map_file(const char *dir, struct text_model *m, maas_error *error)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s/text.model", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'text.model': %s", strerror(errno));
    void *map = fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(struct head)
                    ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                    : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return damaged(error, "it cannot be mapped, or is too short");
    m->map = map;
    m->map_bytes = (size_t)st.st_size;
    return MAAS_OK;
}

static bool labels_are_good(const struct text_model *m)
{
    for (uint32_t i = 0; i < m->classes; i++)
        if (!memchr(m->labels[i], 0, TEXT_LABEL_MAX) || !m->labels[i][0] ||
            (i && strcmp(m->labels[i - 1], m->labels[i]) >= 0))
            return false;
    return true;
}

/* None that a sum of many could overflow with, nor NaN. */
static bool all_small(const float *numbers, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!(fabsf(numbers[i]) <= WEIGHT_MAX))
            return false;
    return true;
}

static bool has_empty(const struct table *table)
{
    for (uint32_t i = 0; i < table->slots; i++)
        if (table->keys[i] == 0)
            return true;
    return false;
}

static maas_status read_head(struct text_model *m, maas_error *error)
{
    struct head head;
    memcpy(&head, m->map, sizeof(head));
    if (memcmp(head.magic, magic, sizeof(magic)) != 0)
        return damaged(error, "it is no model of this plugin");
    if (head.slots < 2 || head.slots > TEXT_SLOTS_MAX || (head.slots & (head.slots - 1)) ||
        head.word_ngrams < 1 || head.word_ngrams > TEXT_NGRAM_MAX ||
        head.char_ngrams > TEXT_NGRAM_MAX || head.stem > TEXT_STEM_MAX ||
        head.negation > TEXT_NEGATION_MAX || head.classes < 2 || head.classes > TEXT_CLASSES_MAX)
        return damaged(error, "a number in its head is out of range");
    m->shape = (struct shape){ head.word_ngrams, head.char_ngrams, head.stem, head.negation };
    m->classes = head.classes;
    m->table.slots = head.slots;
    uint64_t weights = weights_of(head.slots, m->classes);
    if (weights > TEXT_WEIGHTS_MAX || m->map_bytes != weights_at(m->classes) +
                                                          head.slots * sizeof(uint32_t) +
                                                          weights * sizeof(float))
        return damaged(error, "its size is not what its head says");
    return MAAS_OK;
}

static maas_status read_body(struct text_model *m, maas_error *error)
{
    const char *at = (const char *)m->map + sizeof(struct head);
    size_t labels = (size_t)m->classes * TEXT_LABEL_MAX, bias = m->classes * sizeof(float);
    m->labels = malloc(labels);
    m->bias = malloc(bias);
    if (!m->labels || !m->bias)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u classes", m->classes);
    memcpy(m->labels, at, labels);
    memcpy(m->bias, at + labels, bias);
    m->table.keys = (const uint32_t *)(const void *)((const char *)m->map + weights_at(m->classes));
    m->weights = (const float *)(const void *)(m->table.keys + m->table.slots);
    if (!labels_are_good(m))
        return damaged(error, "its labels are not sorted texts");
    if (!has_empty(&m->table))
        return damaged(error, "its table is full");
    if (!all_small(m->bias, m->classes) ||
        !all_small(m->weights, weights_of(m->table.slots, m->classes)))
        return damaged(error, "a weight is too large, or no number");
    return MAAS_OK;
}

maas_status text_read(const char *dir, struct text_model *out, maas_error *error)
{
    struct text_model m;
    memset(&m, 0, sizeof(m));
    maas_status status = map_file(dir, &m, error);
    if (!status)
        status = read_head(&m, error);
    if (!status)
        status = read_body(&m, error);
    if (status)
        text_release(&m);
    else
        *out = m;
    return status;
}

void text_release(struct text_model *m)
{
    free(m->labels);
    free(m->bias);
    if (m->map)
        munmap(m->map, m->map_bytes);
    memset(m, 0, sizeof(*m));
}

/* ---- scores */

struct sum {
    const struct text_model *model;
    float *scores;
    uint32_t features;
};

static void add_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct sum *sum = arg;
    const struct text_model *m = sum->model;
    const float *w = m->weights + (size_t)table_slot(&m->table, key) * m->classes;
    (void)first;
    (void)last;
    for (uint32_t c = 0; c < sum->model->classes; c++)
        sum->scores[c] += w[c];
    sum->features++;
}

static void softmax(float *z, uint32_t count)
{
    float most = z[0], total = 0;
    for (uint32_t i = 1; i < count; i++)
        most = z[i] > most ? z[i] : most;
    for (uint32_t i = 0; i < count; i++)
        total += z[i] = expf(z[i] - most);
    for (uint32_t i = 0; i < count; i++)
        z[i] /= total;
}

void text_scores(const struct text_model *m, maas_str text, float *out)
{
    struct sum sum = { m, out, 0 };
    memset(out, 0, m->classes * sizeof(*out));
    (void)features_of(&m->shape, text, add_feature, &sum);
    float scale = sum.features ? 1 / sqrtf((float)sum.features) : 0;
    for (uint32_t c = 0; c < m->classes; c++)
        out[c] = out[c] * scale + m->bias[c];
    softmax(out, m->classes);
}

struct share {
    const struct text_model *model;
    uint32_t class, count, features;
    float *words;
};

static void share_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct share *s = arg;
    const struct text_model *m = s->model;
    const float *w = m->weights + (size_t)table_slot(&m->table, key) * m->classes;
    float mean = 0;
    for (uint32_t c = 0; c < s->model->classes; c++)
        mean += w[c] / (float)s->model->classes;
    s->features++;
    for (uint32_t i = first; i <= last && i < s->count; i++)
        s->words[i] += (w[s->class] - mean) / (float)(last - first + 1);
}

void text_words(const struct text_model *m, maas_str text, uint32_t class, float *out,
                uint32_t count)
{
    struct share s = { m, class, count, 0, out };
    (void)features_of(&m->shape, text, share_feature, &s);
    for (uint32_t i = 0; i < count && s.features; i++)
        out[i] /= sqrtf((float)s.features);
}
