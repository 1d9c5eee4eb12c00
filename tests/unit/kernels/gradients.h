/* gradients.h: what a layer gives backwards against finite differences of what it gives forwards.
 */
#ifndef GRADIENTS_H
#define GRADIENTS_H

#include "kernels/conv.h"

#include "kernels_test.h"

struct layer {
    void (*forward)(const struct layer *l, float *y);
    size_t outputs;
    float *x, *w, *b;
    const struct conv_shape *conv; /* or NULL */
    float *patches;
    size_t rows, inputs;
    bool count_pads;
};

static inline double loss(const struct layer *l, const float *r)
{
    float *y = malloc(l->outputs * sizeof(*y));
    double sum = 0;
    assert_non_null(y);
    l->forward(l, y);
    for (size_t i = 0; i < l->outputs; i++)
        sum += (double)r[i] * y[i];
    free(y);
    return sum;
}

/* values [count] are what L hangs on, gradient what backward said of them. */
static inline void agrees(const struct layer *l, const float *r, float *values,
                          const float *gradient, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    assert_true(largest > 0);
    for (size_t i = 0; i < count; i++) {
        const float held = values[i];
        const float up = held + 0x1p-7f, down = held - 0x1p-7f;
        values[i] = up;
        double more = loss(l, r);
        values[i] = down;
        double slope = (more - loss(l, r)) / ((double)up - down);
        values[i] = held;
        assert_true(fabs(slope - gradient[i]) <= 1e-3 * fmax(largest, fabs(slope)));
    }
}

/* Values far enough from each other that a step changes no maximum. */
static inline void spread(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = ((float)i - (float)count / 2) * 0x1p-5f;
    for (size_t i = count; i > 1; i--) {
        size_t j = dice_roll(&dice) % i;
        float held = x[i - 1];
        x[i - 1] = x[j];
        x[j] = held;
    }
}

#endif
