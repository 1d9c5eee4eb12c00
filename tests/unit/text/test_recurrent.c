/*
 * test_recurrent.c: the LSTM's model file and scores: against the network's formulas written out,
 * its explanation against finite differences, and a file that is damaged in every place.
 */
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "dice.h"
#include "model_file.h"

enum { SLOTS = 16, CLASSES = 3, FEATURES = 4, WIDTH = 5, HIDDEN = 4, WORDS = 6 };
static const char *const known[FEATURES] = { "not", "so", "good", "bad" };
static const struct net_shape shape = { WIDTH, HIDDEN, 2, CLASSES };
static struct dice dice = { 5 };

static maas_str str(const char *z)
{
    return (maas_str){ z, strlen(z) };
}

static void draw(float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)((double)(dice_roll(&dice) >> 11) * 0x1p-52 - 1);
}

static void first_key(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    (void)first;
    (void)last;
    *(uint32_t *)arg = key;
}

struct parts {
    uint32_t keys[SLOTS], numbers[SLOTS];
    float embedding[FEATURES * WIDTH], *block;
    char labels[CLASSES][TEXT_LABEL_MAX];
};
static struct parts parts;

static void write_model(void)
{
    maas_error error = MAAS_ERROR_INIT;
    const struct table table = { parts.keys, SLOTS };
    const struct shape one = { 1, 0, 0, 0 };
    memset(parts.keys, 0, sizeof(parts.keys));
    for (uint32_t i = 0; i < FEATURES; i++) {
        uint32_t key = 0;
        (void)features_of(&one, str(known[i]), first_key, &key);
        uint32_t at = table_slot(&table, key);
        parts.keys[at] = key;
        parts.numbers[at] = i;
    }
    const struct text_model m = {
        .network = TEXT_LSTM,
        .shape = one,
        .classes = CLASSES,
        .labels = parts.labels,
        .table = table,
        .recurrent = { .features = FEATURES,
                       .words = WORDS,
                       .numbers = parts.numbers,
                       .embedding = parts.embedding,
                       .plain = parts.block,
                       .learnt = net_over(&shape, parts.block, false) },
    };
    assert_int_equal(text_write(folder, &m, &error), MAAS_OK);
}

static maas_status read_model(struct text_model *m)
{
    maas_error error = MAAS_ERROR_INIT;
    return text_read(folder, m, &error);
}

static void scores(const struct text_model *m, const char *text, float p[CLASSES])
{
    const size_t floats = text_scratch(m, false);
    float *scratch = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
    assert_non_null(scratch);
    text_scores(m, str(text), scratch, p);
    free(scratch);
}

/* ---- by the formulas */

/* h [4] of each of `count` words, in doubles. */
static void one_direction(double h[][HIDDEN], double x[][WIDTH], size_t count, size_t direction)
{
    const struct net net = net_over(&shape, parts.block, false);
    const struct lstm_weights *w = &net.lstm[direction];
    double c[HIDDEN] = { 0 }, before[HIDDEN] = { 0 }, sums[4 * HIDDEN];
    for (size_t t = 0; t < count; t++) {
        const double *at = x[direction ? count - 1 - t : t];
        for (size_t g = 0; g < 4 * HIDDEN; g++) {
            sums[g] = w->b[g];
            for (size_t i = 0; i < WIDTH; i++)
                sums[g] += w->w[g * WIDTH + i] * at[i];
            for (size_t k = 0; k < HIDDEN; k++)
                sums[g] += w->u[g * HIDDEN + k] * before[k];
        }
        for (size_t k = 0; k < HIDDEN; k++) {
            c[k] = c[k] / (1 + exp(-sums[HIDDEN + k])) +
                   tanh(sums[2 * HIDDEN + k]) / (1 + exp(-sums[k]));
            h[t][k] = tanh(c[k]) / (1 + exp(-sums[3 * HIDDEN + k]));
        }
        memcpy(before, h[t], sizeof(before));
    }
}

static void by_the_formulas(double z[CLASSES], double x[][WIDTH], size_t count)
{
    const struct net net = net_over(&shape, parts.block, false);
    double pooled[4 * HIDDEN] = { 0 }, h[WORDS][HIDDEN];
    for (size_t d = 0; d < 2; d++) {
        one_direction(h, x, count, d);
        for (size_t k = 0; k < HIDDEN; k++)
            for (size_t t = 0; t < count; t++) {
                double *most = &pooled[2 * d * HIDDEN + k];
                *most = t == 0 || h[t][k] > *most ? h[t][k] : *most;
                pooled[(2 * d + 1) * HIDDEN + k] += h[t][k] / (double)count;
            }
    }
    for (size_t c = 0; c < CLASSES; c++) {
        z[c] = net.bias[c];
        for (size_t i = 0; i < 4 * HIDDEN; i++)
            z[c] += net.head[c * 4 * HIDDEN + i] * pooled[i];
    }
}

static void embeddings(double x[][WIDTH], const int *words, size_t count)
{
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < WIDTH; i++)
            x[t][i] = words[t] < 0 ? 0 : parts.embedding[words[t] * WIDTH + (int)i];
}

static void assert_scores(const float *p, const double *z)
{
    double sum = 0;
    for (size_t c = 0; c < CLASSES; c++)
        sum += exp(z[c]);
    for (size_t c = 0; c < CLASSES; c++)
        assert_true(fabs(p[c] - exp(z[c]) / sum) < 1e-6);
}

static void scores_are_the_formulas(void **state)
{
    (void)state;
    struct text_model m;
    float p[CLASSES];
    double x[WORDS][WIDTH], z[CLASSES];
    write_model();
    assert_int_equal(read_model(&m), MAAS_OK);
    scores(&m, "so unknown good", p);
    embeddings(x, (const int[]){ 1, -1, 2 }, 3);
    by_the_formulas(z, x, 3);
    assert_scores(p, z);
    scores(&m, "bad", p);
    embeddings(x, (const int[]){ 3 }, 1);
    by_the_formulas(z, x, 1);
    assert_scores(p, z);
    scores(&m, "", p);
    by_the_formulas(z, x, 0);
    assert_scores(p, z);
    text_release(&m);
}

static void words_beyond_the_last_that_is_read_do_not_count(void **state)
{
    (void)state;
    struct text_model m;
    float p[CLASSES], longer[CLASSES];
    write_model();
    assert_int_equal(read_model(&m), MAAS_OK);
    scores(&m, "so so good so bad not", p);
    scores(&m, "so so good so bad not good good good good good", longer);
    assert_memory_equal(p, longer, sizeof(p));
    scores(&m, "so so good so bad", longer);
    assert_true(memcmp(p, longer, sizeof(p)) != 0);
    text_release(&m);
}

/* ---- what words weigh */

/* z[class] - mean of z, with word t's embedding stretched. */
static double stretched(const int *words, size_t count, size_t word, double factor, size_t class)
{
    double x[WORDS][WIDTH], z[CLASSES];
    embeddings(x, words, count);
    for (size_t i = 0; i < WIDTH; i++)
        x[word][i] *= factor;
    by_the_formulas(z, x, count);
    return z[class] - (z[0] + z[1] + z[2]) / 3;
}

static void a_words_weight_is_its_embedding_times_the_gradient(void **state)
{
    (void)state;
    struct text_model m;
    float weights[WORDS + 2] = { 0 };
    const int words[] = { 0, 1, 2, -1, 3 };
    write_model();
    assert_int_equal(read_model(&m), MAAS_OK);
    float *scratch = aligned_alloc(64, (text_scratch(&m, true) * sizeof(float) + 63) / 64 * 64);
    assert_non_null(scratch);
    text_words(&m, str("not so good unknown bad"), 2, scratch, weights, WORDS + 2);
    for (size_t t = 0; t < 5; t++) {
        const double slope =
            (stretched(words, 5, t, 1 + 1e-6, 2) - stretched(words, 5, t, 1 - 1e-6, 2)) / 2e-6;
        assert_true(fabs(slope - weights[t]) < 1e-5);
    }
    assert_true(fabsf(weights[2]) > 1e-3f && weights[3] == 0 && weights[5] == 0);
    memset(weights, 0, sizeof(weights));
    text_words(&m, str(""), 2, scratch, weights, WORDS);
    assert_true(weights[0] == 0);
    free(scratch);
    text_release(&m);
}

/* ---- damage */

static void try_file(void)
{
    struct text_model m;
    static float p[TEXT_CLASSES_MAX];
    if (read_model(&m) != MAAS_OK)
        return;
    assert_true(m.classes <= TEXT_CLASSES_MAX);
    scores(&m, "not so good, not bad!", p);
    for (uint32_t c = 0; c < m.classes; c++)
        assert_true(p[c] >= 0 && p[c] <= 1.0001f);
    text_release(&m);
}

static void a_file_that_is_cut_or_changed_is_refused_or_harmless(void **state)
{
    (void)state;
    static char good[8192], bad[8193];
    struct text_model m;
    write_model();
    size_t len = load(good, sizeof(good));
    assert_true(len > 1024 && len < sizeof(good));
    for (size_t cut = 0; cut < len; cut++) {
        store(good, cut);
        assert_int_equal(read_model(&m), MAAS_E_DATA_LOSS);
    }
    memcpy(bad, good, len);
    store(bad, len + 1);
    assert_int_equal(read_model(&m), MAAS_E_DATA_LOSS);
    for (size_t at = 0; at < len; at++)
        for (unsigned flip = 1; flip < 256; flip = flip * 8 + 7) {
            memcpy(bad, good, len);
            bad[at] = (char)(bad[at] ^ (char)flip);
            store(bad, len);
            try_file();
        }
}

static int make_folder(void **state)
{
    (void)state;
    parts.block = aligned_alloc(64, (net_weights(&shape) * sizeof(float) + 63) / 64 * 64);
    if (!parts.block)
        return -1;
    draw(parts.block, net_weights(&shape));
    draw(parts.embedding, FEATURES * WIDTH);
    for (size_t i = 0; i < CLASSES; i++)
        snprintf(parts.labels[i], TEXT_LABEL_MAX, "%c", (char)('a' + i));
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char path[64];
    free(parts.block);
    snprintf(path, sizeof(path), "%s/text.model", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_formulas),
        cmocka_unit_test(words_beyond_the_last_that_is_read_do_not_count),
        cmocka_unit_test(a_words_weight_is_its_embedding_times_the_gradient),
        cmocka_unit_test(a_file_that_is_cut_or_changed_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
