/*
 * test_gradients.c: what each layer gives backwards against finite differences of what it gives
 * forwards, to 1e-3 relative: of L = sum(r y) with drawn r, for every value that has a gradient.
 */
#include "kernels/activation.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/optim.h"
#include "kernels/pool.h"

#include "gradients.h"

/* ---- dense */

static void dense(const struct layer *l, float *y)
{
    dense_forward(y, l->x, l->w, l->b, l->rows, l->inputs, l->outputs / l->rows);
}

static void dense_gradients(void **state)
{
    (void)state;
    enum { ROWS = 5, INPUTS = 7, OUTPUTS = 3 };
    struct layer l = { .forward = dense,
                       .outputs = ROWS * OUTPUTS,
                       .x = vector(ROWS * INPUTS),
                       .w = vector(INPUTS * OUTPUTS),
                       .b = vector(OUTPUTS),
                       .rows = ROWS,
                       .inputs = INPUTS };
    float *r = vector(l.outputs), *dx = vector(ROWS * INPUTS);
    float dw[INPUTS * OUTPUTS] = { 0 }, db[OUTPUTS] = { 0 };
    dense_backward(dx, dw, db, r, l.x, l.w, ROWS, INPUTS, OUTPUTS);
    agrees(&l, r, l.x, dx, ROWS * INPUTS);
    agrees(&l, r, l.w, dw, INPUTS * OUTPUTS);
    agrees(&l, r, l.b, db, OUTPUTS);
    free(l.x);
    free(l.w);
    free(l.b);
    free(r);
    free(dx);
}

/* ---- windows */

/* Odd sizes, uneven pads, strides, dilation, groups. */
static const struct conv_shape shapes[] = {
    { 4, 7, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0 },
    { 4, 7, 9, 6, 3, 2, 2, 3, 1, 1, 0, 1, 1, 0, 2, 0, 0 },
    { 4, 8, 7, 4, 2, 3, 1, 2, 2, 2, 1, 0, 0, 3, 4, 0, 0 },
};
enum { SHAPES = 3 };

static void conv(const struct layer *l, float *y)
{
    conv_forward(y, l->patches, l->x, l->w, l->b, l->conv);
}

static void conv_agrees(struct conv_shape s)
{
    assert_true(conv_shape_finish(&s));
    const size_t pixels = s.channels * s.height * s.width;
    const size_t weights = s.filters * s.channels / s.groups * s.kernel_h * s.kernel_w;
    struct layer l = { .forward = conv,
                       .outputs = s.filters * s.out_h * s.out_w,
                       .x = vector(pixels),
                       .w = vector(weights),
                       .b = vector(s.filters),
                       .conv = &s,
                       .patches = vector(conv_patches(&s)) };
    float *r = vector(l.outputs), *dx = vector(pixels);
    float *dw = calloc(weights, sizeof(*dw)), *db = calloc(s.filters, sizeof(*db));
    assert_true(dw && db);
    conv_backward(dx, dw, db, l.patches, r, l.x, l.w, &s);
    agrees(&l, r, l.x, dx, pixels);
    agrees(&l, r, l.w, dw, weights);
    agrees(&l, r, l.b, db, s.filters);
    float *all[] = { l.x, l.w, l.b, l.patches, r, dx, dw, db };
    for (size_t i = 0; i < 8; i++)
        free(all[i]);
}

static void conv_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        conv_agrees(shapes[i]);
}

static void max(const struct layer *l, float *y)
{
    pool_max(y, NULL, l->x, l->conv);
}

static void average(const struct layer *l, float *y)
{
    pool_average(y, l->x, l->count_pads, l->conv);
}

static void pools_agree(struct conv_shape s)
{
    s.filters = s.groups = s.channels;
    assert_true(conv_shape_finish(&s));
    const size_t pixels = s.channels * s.height * s.width, outputs = s.filters * s.out_h * s.out_w;
    struct layer l = { .forward = max, .outputs = outputs, .x = vector(pixels), .conv = &s };
    float *r = vector(outputs), *dx = vector(pixels), *y = vector(outputs);
    uint32_t *from = malloc(outputs * sizeof(*from));
    assert_non_null(from);
    spread(l.x, pixels);
    pool_max(y, from, l.x, &s);
    pool_max_backward(dx, r, from, &s);
    agrees(&l, r, l.x, dx, pixels);
    l.forward = average;
    for (int i = 0; i < 2; i++) {
        l.count_pads = i;
        pool_average_backward(dx, r, i, &s);
        agrees(&l, r, l.x, dx, pixels);
    }
    free(l.x);
    free(r);
    free(dx);
    free(y);
    free(from);
}

static void pool_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        pools_agree(shapes[i]);
}

/* ---- single values */

enum { VALUES = 40, CLASSES = 8 };

static void values_relu(const struct layer *l, float *y)
{
    relu(y, l->x, VALUES);
}

static void values_sigmoid(const struct layer *l, float *y)
{
    sigmoid(y, l->x, VALUES);
}

static void values_tanh(const struct layer *l, float *y)
{
    tanh_forward(y, l->x, VALUES);
}

static void activation_gradients(void **state)
{
    (void)state;
    static const struct {
        void (*forward)(const struct layer *l, float *y);
        void (*backward)(float *dx, const float *dy, const float *y, size_t count);
    } all[] = { { values_relu, relu_backward },
                { values_sigmoid, sigmoid_backward },
                { values_tanh, tanh_backward } };
    for (size_t i = 0; i < 3; i++) {
        struct layer l = { .forward = all[i].forward, .outputs = VALUES, .x = vector(VALUES) };
        float *r = vector(VALUES), y[VALUES], dx[VALUES];
        for (size_t k = 0; k < VALUES; k++) /* away from the corner of relu */
            l.x[k] += l.x[k] < 0 ? -0.05f : 0.05f;
        l.forward(&l, y);
        all[i].backward(dx, r, y, VALUES);
        agrees(&l, r, l.x, dx, VALUES);
        free(l.x);
        free(r);
    }
}

static const uint32_t truth[VALUES / CLASSES] = { 0, 7, 3, 3, 5 };

static void mean_loss(const struct layer *l, float *y)
{
    float p[VALUES];
    softmax(p, l->x, VALUES / CLASSES, CLASSES);
    *y = (float)(cross_entropy(p, truth, VALUES / CLASSES, CLASSES) * 0.2);
}

static void cross_entropy_gradients(void **state)
{
    (void)state;
    struct layer l = { .forward = mean_loss, .outputs = 1, .x = vector(VALUES) };
    float p[VALUES], dx[VALUES];
    const float one = 1;
    softmax(p, l.x, VALUES / CLASSES, CLASSES);
    cross_entropy_backward(dx, p, truth, 0.2f, VALUES / CLASSES, CLASSES);
    agrees(&l, &one, l.x, dx, VALUES);
    free(l.x);
}

enum { CHANNELS = 4 };
static const float means[CHANNELS] = { 0.1f, -0.3f, 0, 0.5f };
static const float variances[CHANNELS] = { 1, 0.5f, 2, 0.25f };

static void normalised(const struct layer *l, float *y)
{
    batch_norm(y, l->x, means, variances, l->w, l->b, 1e-3f, CHANNELS, VALUES / CHANNELS);
}

static void batch_norm_gradients(void **state)
{
    (void)state;
    struct layer l = { .forward = normalised,
                       .outputs = VALUES,
                       .x = vector(VALUES),
                       .w = vector(CHANNELS),
                       .b = vector(CHANNELS) };
    float *r = vector(VALUES), dx[VALUES], dgain[CHANNELS] = { 0 }, dshift[CHANNELS] = { 0 };
    batch_norm_backward(dx, dgain, dshift, r, l.x, means, variances, l.w, 1e-3f, CHANNELS,
                        VALUES / CHANNELS);
    agrees(&l, r, l.x, dx, VALUES);
    agrees(&l, r, l.w, dgain, CHANNELS);
    agrees(&l, r, l.b, dshift, CHANNELS);
    free(l.x);
    free(l.w);
    free(l.b);
    free(r);
}

static void dropped(const struct layer *l, float *y)
{
    float mask[VALUES];
    uint64_t state = 3;
    dropout(y, mask, l->x, 0.4f, &state, VALUES);
}

static void dropout_gradients(void **unused)
{
    (void)unused;
    struct layer l = { .forward = dropped, .outputs = VALUES, .x = vector(VALUES) };
    float *r = vector(VALUES), y[VALUES], mask[VALUES], dx[VALUES];
    uint64_t state = 3;
    dropout(y, mask, l.x, 0.4f, &state, VALUES);
    dropout_backward(dx, r, mask, VALUES);
    agrees(&l, r, l.x, dx, VALUES);
    free(l.x);
    free(r);
}

/* ---- optimisers: known steps, and that each finds the least of a narrow valley */

static void first_steps_are_the_papers(void **state)
{
    (void)state;
    const float g[2] = { 0.5f, -2 };
    float w[2] = { 1, 1 }, v[2] = { 0 }, m[2] = { 0 };
    optim_sgd(w, g, 0.1f, 0, 2);
    assert_true(fabsf(w[0] - 0.95f) < 1e-6f && fabsf(w[1] - 1.2f) < 1e-6f);
    optim_momentum(w, v, g, 0.1f, 0.9f, 0, 2);
    optim_momentum(w, v, g, 0.1f, 0.9f, 0, 2);
    assert_true(fabsf(w[0] - (0.95f - 0.05f - 0.095f)) < 1e-6f);
    float a[2] = { 1, 1 };
    memset(v, 0, sizeof(v));
    optim_adam(a, m, v, g, 0.01f, 0, 1, 2); /* the first step is the rate, whatever the gradient */
    assert_true(fabsf(a[0] - 0.99f) < 1e-5f && fabsf(a[1] - 1.01f) < 1e-5f);
    float long_one[2] = { 3, 4 };
    assert_true(fabs(optim_clip(long_one, 1, 2) - 5) < 1e-6);
    assert_true(fabsf(long_one[0] - 0.6f) < 1e-6f && fabsf(long_one[1] - 0.8f) < 1e-6f);
}

static void all_reach_the_least(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        float w[2] = { 1, 1 }, m[2] = { 0 }, v[2] = { 0 };
        for (uint64_t step = 1; step <= 3000; step++) {
            const float g[2] = { w[0], 20 * w[1] };
            if (kind == 0)
                optim_sgd(w, g, 0.01f, 0, 2);
            else if (kind == 1)
                optim_momentum(w, v, g, 0.01f, 0.9f, 0, 2);
            else
                optim_adam(w, m, v, g, 0.01f, 0, step, 2);
        }
        assert_true(fabsf(w[0]) < 1e-3f && fabsf(w[1]) < 1e-3f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_gradients),         cmocka_unit_test(conv_gradients),
        cmocka_unit_test(pool_gradients),          cmocka_unit_test(activation_gradients),
        cmocka_unit_test(cross_entropy_gradients), cmocka_unit_test(batch_norm_gradients),
        cmocka_unit_test(dropout_gradients),       cmocka_unit_test(first_steps_are_the_papers),
        cmocka_unit_test(all_reach_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
