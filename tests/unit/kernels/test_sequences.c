/*
 * test_sequences.c: layers over packed sequences: gradients against finite differences (to 1e-3
 * relative, as test_gradients.c), and that neither packing nor the batch changes a row.
 */
#include "kernels/dense.h"
#include "kernels/embedding.h"
#include "kernels/lstm.h"
#include "kernels/sequence.h"

#include "gradients.h"

enum { ROWS = 4, STEPS = 5, TOKENS = 5 + 3 + 3 + 1, INPUTS = 6, HIDDEN = 4 };
static const uint32_t lengths[ROWS] = { 5, 3, 3, 1 };

static struct sequence sequence(uint32_t memory[2 * STEPS])
{
    struct sequence s = sequence_of(memory, lengths, ROWS);
    assert_int_equal(s.steps, STEPS);
    assert_int_equal(s.tokens, TOKENS);
    return s;
}

static void tokens_stand_step_by_step(void **state)
{
    (void)state;
    uint32_t memory[2 * STEPS], mirror[TOKENS];
    static const uint32_t active[STEPS] = { 4, 3, 3, 1, 1 }, starts[STEPS] = { 0, 4, 7, 10, 11 };
    static const uint32_t mirrored[TOKENS] = { 11, 8, 9, 3, 10, 5, 6, 7, 1, 2, 4, 0 };
    struct sequence s = sequence(memory);
    assert_memory_equal(s.active, active, sizeof(active));
    assert_memory_equal(s.starts, starts, sizeof(starts));
    sequence_mirror(mirror, &s);
    assert_memory_equal(mirror, mirrored, sizeof(mirrored));
    static const uint32_t none[2] = { 0, 0 };
    s = sequence_of(memory, none, 2);
    assert_true(s.steps == 0 && s.tokens == 0);
}

/* ---- LSTM */

struct cells {
    float h[TOKENS * HIDDEN], c[TOKENS * HIDDEN], gates[TOKENS * 4 * HIDDEN];
};

static struct lstm_weights weights_of(const struct layer *l)
{
    return (struct lstm_weights){ INPUTS, HIDDEN, l->w, l->w + 4 * HIDDEN * INPUTS, l->b, false };
}

static void lstm(const struct layer *l, float *y)
{
    uint32_t memory[2 * STEPS];
    struct cells cells;
    const struct lstm_weights w = weights_of(l);
    const struct sequence s = sequence(memory);
    lstm_forward(cells.h, cells.c, cells.gates, l->x, &w, &s);
    memcpy(y, cells.h, sizeof(cells.h));
}

static void lstm_gradients(void **state)
{
    (void)state;
    enum { INPUT_WEIGHTS = 4 * HIDDEN * INPUTS, WEIGHTS = INPUT_WEIGHTS + 4 * HIDDEN * HIDDEN };
    uint32_t memory[2 * STEPS];
    struct layer l = { .forward = lstm,
                       .outputs = TOKENS * HIDDEN,
                       .x = vector(TOKENS * INPUTS),
                       .w = vector(WEIGHTS),
                       .b = vector(4 * HIDDEN) };
    float *r = vector(l.outputs), dx[TOKENS * INPUTS], dw[WEIGHTS] = { 0 }, db[4 * HIDDEN] = { 0 };
    float dh[TOKENS * HIDDEN], dc[ROWS * HIDDEN];
    struct cells cells;
    const struct lstm_weights w = weights_of(&l);
    const struct sequence s = sequence(memory);
    lstm_forward(cells.h, cells.c, cells.gates, l.x, &w, &s);
    memcpy(dh, r, sizeof(dh));
    lstm_backward(dx, dw, dw + INPUT_WEIGHTS, db, dh, dc, cells.gates, cells.c, cells.h, l.x, &w,
                  &s);
    agrees(&l, r, l.x, dx, TOKENS * INPUTS);
    agrees(&l, r, l.w, dw, WEIGHTS);
    agrees(&l, r, l.b, db, 4 * HIDDEN);
    free(l.x);
    free(l.w);
    free(l.b);
    free(r);
}

/* By the formulas, one value at a time, in doubles. */
static void one_row_by_the_formulas(double h[HIDDEN], const float *x, size_t steps,
                                    const struct lstm_weights *w)
{
    double c[HIDDEN] = { 0 }, sums[4 * HIDDEN];
    memset(h, 0, HIDDEN * sizeof(*h));
    for (size_t t = 0; t < steps; t++) {
        for (size_t g = 0; g < 4 * HIDDEN; g++) {
            sums[g] = w->b[g];
            for (size_t i = 0; i < INPUTS; i++)
                sums[g] += (double)w->w[g * INPUTS + i] * x[t * INPUTS + i];
            for (size_t k = 0; k < HIDDEN; k++)
                sums[g] += w->u[g * HIDDEN + k] * h[k];
        }
        for (size_t k = 0; k < HIDDEN; k++) {
            c[k] = c[k] / (1 + exp(-sums[HIDDEN + k])) +
                   tanh(sums[2 * HIDDEN + k]) / (1 + exp(-sums[k]));
            h[k] = tanh(c[k]) / (1 + exp(-sums[3 * HIDDEN + k]));
        }
    }
}

/* Each row of the batch is what it is alone, packed weights or not, to the bit where packed. */
static void a_row_is_the_same_in_any_batch(void **state)
{
    (void)state;
    uint32_t memory[2 * STEPS];
    float *x = vector(TOKENS * INPUTS), *w = vector(4 * HIDDEN * INPUTS);
    float *u = vector(4 * HIDDEN * HIDDEN), *b = vector(4 * HIDDEN), line[STEPS * INPUTS];
    _Alignas(64) float wp[4 * HIDDEN * INPUTS], up[4 * HIDDEN * HIDDEN];
    static struct cells plain, packed, alone;
    dense_pack(wp, w, INPUTS, 4 * HIDDEN);
    dense_pack(up, u, HIDDEN, 4 * HIDDEN);
    const struct lstm_weights slow = { INPUTS, HIDDEN, w, u, b, false };
    const struct lstm_weights fast = { INPUTS, HIDDEN, wp, up, b, true };
    const struct sequence s = sequence(memory);
    lstm_forward(plain.h, plain.c, plain.gates, x, &slow, &s);
    lstm_forward(packed.h, packed.c, packed.gates, x, &fast, &s);
    for (uint32_t r = 0; r < ROWS; r++) {
        uint32_t own[2 * STEPS], last = s.starts[lengths[r] - 1] + r;
        double wanted[HIDDEN];
        for (uint32_t t = 0; t < lengths[r]; t++)
            memcpy(line + (size_t)t * INPUTS, x + (s.starts[t] + r) * INPUTS,
                   INPUTS * sizeof(*line));
        const struct sequence one = sequence_of(own, &lengths[r], 1);
        lstm_forward(alone.h, alone.c, alone.gates, line, &fast, &one);
        assert_memory_equal(alone.h + (lengths[r] - 1) * HIDDEN, packed.h + last * HIDDEN,
                            HIDDEN * sizeof(float));
        one_row_by_the_formulas(wanted, line, lengths[r], &slow);
        for (size_t k = 0; k < HIDDEN; k++) {
            assert_true(fabs(wanted[k] - plain.h[last * HIDDEN + k]) < 1e-6);
            assert_true(fabs(wanted[k] - packed.h[last * HIDDEN + k]) < 1e-6);
        }
    }
    free(x);
    free(w);
    free(u);
    free(b);
}

/* ---- pooling, bags */

static void pooled(const struct layer *l, float *y)
{
    uint32_t memory[2 * STEPS];
    const struct sequence s = sequence(memory);
    sequence_pool(y, NULL, l->x, &s, INPUTS, 2 * INPUTS);
}

static void pooling_gradients(void **state)
{
    (void)state;
    uint32_t memory[2 * STEPS], from[ROWS * INPUTS];
    struct layer l = { .forward = pooled,
                       .outputs = ROWS * 2 * INPUTS,
                       .x = vector(TOKENS * INPUTS) };
    float *r = vector(l.outputs), y[ROWS * 2 * INPUTS], dx[TOKENS * INPUTS];
    const struct sequence s = sequence(memory);
    spread(l.x, TOKENS * INPUTS);
    sequence_pool(y, from, l.x, &s, INPUTS, 2 * INPUTS);
    sequence_pool_backward(dx, r, from, &s, INPUTS, 2 * INPUTS);
    agrees(&l, r, l.x, dx, TOKENS * INPUTS);
    free(l.x);
    free(r);
}

static const uint32_t ids[] = { 3, 0, 3, 1, 2, 1 }, ends[] = { 2, 2, 5, 6 }; /* the second: empty */

static void bags(const struct layer *l, float *y)
{
    embedding_bags(y, l->x, ids, ends, 4, INPUTS);
}

static void embedding_gradients(void **state)
{
    (void)state;
    struct layer l = { .forward = bags, .outputs = 4 * INPUTS, .x = vector(4 * INPUTS) };
    float *r = vector(l.outputs), y[4 * INPUTS], dx[4 * INPUTS] = { 0 };
    bags(&l, y);
    for (size_t i = 0; i < INPUTS; i++) {
        assert_true(y[INPUTS + i] == 0);
        assert_true(fabsf(y[i] - (l.x[3 * INPUTS + i] + l.x[i]) / sqrtf(2)) < 1e-6f);
    }
    embedding_bags_backward(dx, r, ids, ends, 4, INPUTS);
    agrees(&l, r, l.x, dx, 4 * INPUTS);
    free(l.x);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_stand_step_by_step),
        cmocka_unit_test(lstm_gradients),
        cmocka_unit_test(a_row_is_the_same_in_any_batch),
        cmocka_unit_test(pooling_gradients),
        cmocka_unit_test(embedding_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
