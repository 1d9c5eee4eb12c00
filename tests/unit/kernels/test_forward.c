/*
 * test_forward.c: layers against the plainest loops, a row alone against the same row in batches,
 * bit for bit, and shapes that must be refused.
 */
#include "kernels/activation.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/pool.h"

#include "kernels_test.h"

/* The definition, pixel by pixel. */
static double conv_at(const float *x, const float *w, const struct conv_shape *s, size_t f,
                      size_t oy, size_t ox)
{
    const size_t group = f / (s->filters / s->groups), channels = s->channels / s->groups;
    double sum = 0;
    for (size_t c = 0; c < channels; c++)
        for (size_t ky = 0; ky < s->kernel_h; ky++)
            for (size_t kx = 0; kx < s->kernel_w; kx++) {
                const size_t y = oy * s->stride_h + ky * s->dilation_h - s->pad_top;
                const size_t at = ox * s->stride_w + kx * s->dilation_w - s->pad_left;
                if (y < s->height && at < s->width) /* below 0 wraps beyond */
                    sum += (double)x[((group * channels + c) * s->height + y) * s->width + at] *
                           w[((f * channels + c) * s->kernel_h + ky) * s->kernel_w + kx];
            }
    return sum;
}

static void convolution_is_its_definition(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        const size_t groups = 1 + dice_roll(&dice) % 3;
        struct conv_shape s = { .channels = groups * (1 + dice_roll(&dice) % 2),
                                .height = 1 + dice_roll(&dice) % 9,
                                .width = 1 + dice_roll(&dice) % 9,
                                .filters = groups * (1 + dice_roll(&dice) % 3),
                                .kernel_h = 1 + dice_roll(&dice) % 4,
                                .kernel_w = 1 + dice_roll(&dice) % 4,
                                .stride_h = 1 + dice_roll(&dice) % 3,
                                .stride_w = 1 + dice_roll(&dice) % 3,
                                .dilation_h = 1 + dice_roll(&dice) % 2,
                                .dilation_w = 1 + dice_roll(&dice) % 2,
                                .pad_top = dice_roll(&dice) % 4,
                                .pad_left = dice_roll(&dice) % 4,
                                .pad_bottom = dice_roll(&dice) % 4,
                                .pad_right = dice_roll(&dice) % 4,
                                .groups = groups };
        if (!conv_shape_finish(&s))
            continue;
        float *x = vector(s.channels * s.height * s.width), *b = vector(s.filters);
        float *w = vector(s.filters * s.channels / groups * s.kernel_h * s.kernel_w);
        float *y = vector(s.filters * s.out_h * s.out_w), *patches = vector(conv_patches(&s));
        conv_forward(y, patches, x, w, b, &s);
        for (size_t f = 0, at = 0; f < s.filters; f++)
            for (size_t oy = 0; oy < s.out_h; oy++)
                for (size_t ox = 0; ox < s.out_w; ox++, at++)
                    assert_true(fabs(conv_at(x, w, &s, f, oy, ox) + b[f] - y[at]) < 1e-5);
        free(x);
        free(b);
        free(w);
        free(y);
        free(patches);
    }
}

static void shapes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const struct conv_shape good = { 4, 5, 5, 4, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0 };
    struct conv_shape s = good;
    assert_true(conv_shape_finish(&s));
    assert_int_equal(s.out_h, 3);
    size_t *members[] = { &s.channels, &s.height,   &s.width,      &s.filters,    &s.kernel_h,
                          &s.stride_h, &s.stride_w, &s.dilation_h, &s.dilation_w, &s.groups };
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        s = good;
        *members[i] = 0;
        assert_false(conv_shape_finish(&s));
        s = good;
        *members[i] = SIZE_MAX / 2;
        if (i != 5 && i != 6 && i != 3)
            assert_false(conv_shape_finish(&s));
    }
    s = good;
    s.kernel_h = 6;
    assert_false(conv_shape_finish(&s));
    s = good;
    s.groups = 3;
    assert_false(conv_shape_finish(&s));
    s = good;
    s.height = s.width = 40000;
    assert_false(conv_shape_finish(&s));
}

static void pools_of_a_known_picture(void **state)
{
    (void)state;
    const float x[9] = { 1, 2, 3, 4, 9, 6, 7, 8, 5 };
    struct conv_shape s = { 1, 3, 3, 1, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 1, 0, 0 };
    float y[4];
    uint32_t from[4];
    assert_true(conv_shape_finish(&s));
    pool_max(y, from, x, &s);
    assert_true(y[0] == 1 && y[1] == 3 && y[2] == 7 && y[3] == 9);
    assert_true(from[0] == 0 && from[1] == 2 && from[2] == 6 && from[3] == 4);
    pool_average(y, x, false, &s);
    assert_true(y[0] == 1 && y[1] == 2.5f && y[2] == 5.5f && y[3] == 7);
    pool_average(y, x, true, &s);
    assert_true(y[0] == 0.25f && y[1] == 1.25f && y[2] == 2.75f && y[3] == 7);
}

/* 2 by 2 side by side have a way of their own: against the definition, with equals and a NaN. */
static void plain_windows_are_the_definition(void **state)
{
    (void)state;
    struct conv_shape s = { 2, 7, 9, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 2, 0, 0 };
    float x[2 * 7 * 9], y[2 * 3 * 4];
    uint32_t from[2 * 3 * 4];
    assert_true(conv_shape_finish(&s) && s.out_h == 3 && s.out_w == 4);
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 2 * 7 * 9; i++)
            x[i] = (float)(dice_roll(&dice) % 4); /* many equals */
        if (round % 2)
            x[63 + 9 + 3] = NAN; /* channel 1, window (0, 1) */
        pool_max(y, from, x, &s);
        for (size_t p = 0; p < 2 * 3 * 4; p++) {
            const size_t first = p % 12 / 4 * 2 * 9 + p % 4 * 2, image = p / 12 * 63;
            const size_t at[] = { first, first + 1, first + 9, first + 10 };
            size_t best = 0;
            for (size_t k = 1; k < 4; k++)
                if (x[image + at[k]] > x[image + at[best]] || isnan(x[image + at[k]]))
                    best = k;
            assert_int_equal(from[p], at[best]);
            assert_memory_equal(&y[p], &x[image + at[best]], sizeof(float));
        }
    }
}

static void packed_rows_are_the_same_in_any_batch(void **state)
{
    (void)state;
    const size_t inputs = 117, outputs = 43, rows = 33;
    float *x = vector(rows * inputs), *w = vector(inputs * outputs), *b = vector(outputs);
    float *alone = vector(outputs), *plain = vector(rows * outputs), *y = vector(rows * outputs);
    float *packed = aligned_alloc(64, dense_packed_size(inputs, outputs) * sizeof(float));
    assert_non_null(packed);
    dense_pack(packed, w, inputs, outputs);
    dense_forward(plain, x, w, b, rows, inputs, outputs);
    for (size_t count = 1; count <= rows; count++) {
        dense_packed_forward(y, x, packed, b, count, inputs, outputs);
        for (size_t i = 0; i < count; i++) {
            dense_packed_forward(alone, x + i * inputs, packed, b, 1, inputs, outputs);
            assert_memory_equal(alone, y + i * outputs, outputs * sizeof(float));
        }
    }
    for (size_t i = 0; i < rows * outputs; i++)
        assert_true(fabsf(y[i] - plain[i]) < 1e-4f);
    float *all[] = { x, w, b, alone, plain, y, packed };
    for (size_t i = 0; i < 7; i++)
        free(all[i]);
}

static void softmax_bears_large_values(void **state)
{
    (void)state;
    const float x[3] = { 1000, 999, -1000 };
    float p[3];
    softmax(p, x, 1, 3);
    assert_true(fabsf(p[0] - 0.7310586f) < 1e-6f && fabsf(p[1] - 0.2689414f) < 1e-6f && p[2] == 0);
    const uint32_t last = 2;
    assert_true(fabs(cross_entropy(p, &last, 1, 3) + log(1e-15)) < 1e-9);
}

static void dropout_keeps_the_mean(void **unused)
{
    (void)unused;
    enum { COUNT = 100000 };
    float *x = vector(COUNT), *mask = vector(COUNT), *y = vector(COUNT);
    uint64_t state = 5;
    double sum = 0, none = 0;
    for (size_t i = 0; i < COUNT; i++)
        x[i] = 1;
    dropout(y, mask, x, 0.25f, &state, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        sum += y[i];
        none += y[i] == 0;
    }
    assert_true(fabs(sum / COUNT - 1) < 0.01 && fabs(none / COUNT - 0.25) < 0.01);
    free(x);
    free(mask);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_is_its_definition),
        cmocka_unit_test(shapes_that_cannot_be_are_refused),
        cmocka_unit_test(pools_of_a_known_picture),
        cmocka_unit_test(plain_windows_are_the_definition),
        cmocka_unit_test(packed_rows_are_the_same_in_any_batch),
        cmocka_unit_test(softmax_bears_large_values),
        cmocka_unit_test(dropout_keeps_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
