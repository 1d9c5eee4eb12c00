/*
 * learn.c: a batch forwards and backwards. Of each picture its maps behind relu and pooling are
 * kept, and where each maximum came from; the patches of a convolution are unfolded again
 * backwards, which costs less than to remember them.
 */
#include "vision.h"

#include <stdlib.h>

#include "kernels/activation.h"
#include "kernels/dense.h"
#include "kernels/pool.h"

struct vision_tape {
    const struct vision_net *net;
    uint32_t batch;
    float *patches, *one, *other;    /* of one picture: unfolded, wide maps and their gradients */
    float *y[LAYERS], *mask[LAYERS]; /* batch x what a layer gave (behind pooling and dropout) */
    uint32_t *from[2];               /* batch x the places of maxima */
    float *dy[LAYERS];               /* batch x the gradient of y */
    size_t width[LAYERS];            /* floats of y, a picture */
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void vision_tape_free(struct vision_tape *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < LAYERS; i++) {
        free(t->y[i]);
        free(t->dy[i]);
        free(t->mask[i]);
    }
    free(t->from[0]);
    free(t->from[1]);
    free(t->patches);
    free(t->one);
    free(t->other);
    free(t);
}

static bool take_layers(struct vision_tape *t)
{
    const struct vision_net *n = t->net;
    bool good = true;
    for (uint32_t i = 0; i < n->layers; i++) {
        t->width[i] = n->out[i] * (i < n->convs ? n->pool[i].out_h * n->pool[i].out_w : 1);
        t->y[i] = malloc(t->batch * t->width[i] * sizeof(float));
        t->dy[i] = malloc(t->batch * t->width[i] * sizeof(float));
        t->mask[i] = malloc(t->batch * t->width[i] * sizeof(float));
        good = good && t->y[i] && t->dy[i] && t->mask[i];
        if (i < n->convs) {
            t->from[i] = malloc(t->batch * t->width[i] * sizeof(uint32_t));
            good = good && t->from[i];
        }
    }
    return good;
}

maas_status vision_tape_new(const struct vision_net *net, uint32_t batch, struct vision_tape **out,
                            maas_error *error)
{
    struct vision_tape *t = calloc(1, sizeof(*t));
    size_t patches = 1, wide = 1;
    for (uint32_t i = 0; i < net->convs; i++) {
        patches = larger(patches, conv_patches(&net->conv[i]));
        wide = larger(wide, net->out[i] * net->conv[i].out_h * net->conv[i].out_w);
    }
    bool good = t != NULL;
    if (good) {
        t->net = net;
        t->batch = batch;
        t->patches = malloc(patches * sizeof(float));
        t->one = malloc(wide * sizeof(float));
        t->other = malloc(wide * sizeof(float));
        good = take_layers(t) && t->patches && t->one && t->other;
    }
    if (!good) {
        vision_tape_free(t);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a batch of %u", batch);
    }
    *out = t;
    return MAAS_OK;
}

/* A picture's convolutions: y of each layer. */
static void forward_picture(struct vision_tape *t, const float *weights, const float *x, size_t row)
{
    const struct vision_net *n = t->net;
    for (uint32_t i = 0; i < n->convs; i++) {
        float *y = t->y[i] + row * t->width[i];
        conv_forward(t->one, t->patches, x, weights + n->weights_at[i], weights + n->biases_at[i],
                     &n->conv[i]);
        pool_max(y, t->from[i] + row * t->width[i], t->one, &n->pool[i]);
        relu(y, y, t->width[i]); /* behind pooling it is the same, and a quarter of the work */
        x = y;
    }
}

static void backward_picture(struct vision_tape *t, float *gradient, const float *weights,
                             const float *picture, size_t row)
{
    const struct vision_net *n = t->net;
    for (uint32_t i = n->convs; i-- > 0;) {
        const size_t at = row * t->width[i];
        const float *x = i ? t->y[i - 1] + row * t->width[i - 1] : picture;
        float *dx = i ? t->dy[i - 1] + row * t->width[i - 1] : NULL;
        relu_backward(t->dy[i] + at, t->dy[i] + at, t->y[i] + at, t->width[i]);
        pool_max_backward(t->other, t->dy[i] + at, t->from[i] + at, &n->pool[i]);
        conv_backward(dx, gradient + n->weights_at[i], gradient + n->biases_at[i], t->patches,
                      t->other, x, weights + n->weights_at[i], &n->conv[i]);
    }
}

static void forward_dense(struct vision_tape *t, const float *weights, const float *x,
                          uint32_t rows, float rate, uint64_t *random)
{
    const struct vision_net *n = t->net;
    for (uint32_t i = n->convs; i < n->layers; i++) {
        float *y = t->y[i];
        dense_forward(y, i ? t->y[i - 1] : x, weights + n->weights_at[i], weights + n->biases_at[i],
                      rows, n->in[i], n->out[i]);
        if (i + 1 == n->layers)
            break;
        relu(y, y, rows * n->out[i]);
        dropout(y, t->mask[i], y, rate, random, rows * n->out[i]);
    }
}

static void backward_dense(struct vision_tape *t, float *gradient, const float *weights,
                           const float *x, uint32_t rows)
{
    const struct vision_net *n = t->net;
    for (uint32_t i = n->layers; i-- > n->convs;) {
        float *dy = t->dy[i];
        if (i + 1 < n->layers) {
            dropout_backward(dy, dy, t->mask[i], rows * n->out[i]);
            relu_backward(dy, dy, t->y[i], rows * n->out[i]);
        }
        dense_backward(i ? t->dy[i - 1] : NULL, gradient + n->weights_at[i],
                       gradient + n->biases_at[i], dy, i ? t->y[i - 1] : x,
                       weights + n->weights_at[i], rows, n->in[i], n->out[i]);
    }
}

double vision_gradient(struct vision_tape *t, float *gradient, const float *weights,
                       const float *pictures, const uint32_t *truth, uint32_t rows, float scale,
                       float rate, uint64_t *random)
{
    const struct vision_net *n = t->net;
    const size_t size = (size_t)n->shape.width * n->shape.height;
    const uint32_t last = n->layers - 1;
    for (uint32_t i = 0; n->convs && i < rows; i++)
        forward_picture(t, weights, pictures + i * size, i);
    forward_dense(t, weights, pictures, rows, rate, random);
    softmax(t->y[last], t->y[last], rows, n->shape.classes);
    cross_entropy_backward(t->dy[last], t->y[last], truth, scale, rows, n->shape.classes);
    backward_dense(t, gradient, weights, pictures, rows);
    for (uint32_t i = 0; n->convs && i < rows; i++)
        backward_picture(t, gradient, weights, pictures + i * size, i);
    return cross_entropy(t->y[last], truth, rows, n->shape.classes);
}
