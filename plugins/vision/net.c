/*
 * net.c: the two networks as a list of layers with their places in one block of weights, and the
 * answer of one picture. A picture is computed alone: convolutions by products of one shape, dense
 * layers by the packed kernel, whose sums do not hang on what stands beside.
 */
#include "vision.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "kernels/activation.h"
#include "kernels/dense.h"
#include "kernels/pool.h"

static bool within(uint32_t value, uint32_t least, uint32_t most)
{
    return value >= least && value <= most;
}

static bool valid(const struct vision_shape *s)
{
    return (s->kind == VISION_CNN || s->kind == VISION_MLP) &&
           within(s->width, VISION_SIDE_MIN, VISION_SIDE_MAX) &&
           within(s->height, VISION_SIDE_MIN, VISION_SIDE_MAX) && within(s->hidden, 1, 4096) &&
           within(s->classes, 2, VISION_CLASSES_MAX) &&
           (s->kind == VISION_MLP ||
            (within(s->filters[0], 1, 256) && within(s->filters[1], 1, 256)));
}

static bool conv_layer(struct vision_net *n, uint32_t i, size_t channels, size_t height,
                       size_t width)
{
    n->conv[i] = (struct conv_shape){ .channels = channels,
                                      .height = height,
                                      .width = width,
                                      .filters = n->shape.filters[i],
                                      .kernel_h = 3,
                                      .kernel_w = 3,
                                      .stride_h = 1,
                                      .stride_w = 1,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .pad_top = 1,
                                      .pad_left = 1,
                                      .pad_bottom = 1,
                                      .pad_right = 1,
                                      .groups = 1 };
    n->pool[i] = (struct conv_shape){ .channels = n->shape.filters[i],
                                      .height = height,
                                      .width = width,
                                      .filters = n->shape.filters[i],
                                      .kernel_h = 2,
                                      .kernel_w = 2,
                                      .stride_h = 2,
                                      .stride_w = 2,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .groups = n->shape.filters[i] };
    n->in[i] = channels * 9;
    n->out[i] = n->shape.filters[i];
    return conv_shape_finish(&n->conv[i]) && conv_shape_finish(&n->pool[i]);
}

/* Floats of a picture behind a convolution, before pooling. */
static size_t wide(const struct vision_net *n, uint32_t i)
{
    return n->conv[i].filters * n->conv[i].height * n->conv[i].width;
}

static size_t pooled(const struct vision_net *n, uint32_t i)
{
    return n->pool[i].filters * n->pool[i].out_h * n->pool[i].out_w;
}

static void lay_out(struct vision_net *n)
{
    for (uint32_t i = 0; i < n->layers; i++) {
        n->weights_at[i] = n->count;
        n->biases_at[i] = n->count + n->in[i] * n->out[i];
        n->count = n->biases_at[i] + n->out[i];
        n->products +=
            n->in[i] * n->out[i] * (i < n->convs ? n->conv[i].out_h * n->conv[i].out_w : 1);
    }
    n->floats = 2 * (size_t)n->shape.hidden;
    for (uint32_t i = 0; i < n->convs; i++)
        n->floats += conv_patches(&n->conv[i]) + wide(n, i) + pooled(n, i);
}

bool vision_net_init(struct vision_net *n, const struct vision_shape *shape)
{
    *n = (struct vision_net){ .shape = *shape, .layers = 3 };
    size_t inputs = (size_t)shape->width * shape->height;
    if (!valid(shape))
        return false;
    if (shape->kind == VISION_CNN) {
        n->convs = 2;
        n->layers = 4;
        if (!conv_layer(n, 0, 1, shape->height, shape->width) ||
            !conv_layer(n, 1, shape->filters[0], n->pool[0].out_h, n->pool[0].out_w))
            return false;
        inputs = pooled(n, 1);
    }
    for (uint32_t i = n->convs; i < n->layers; i++) {
        n->in[i] = i == n->convs ? inputs : shape->hidden;
        n->out[i] = i + 1 == n->layers ? shape->classes : shape->hidden;
    }
    lay_out(n);
    return n->count <= VISION_WEIGHTS_MAX;
}

void vision_net_draw(const struct vision_net *n, float *weights, uint64_t *random)
{
    memset(weights, 0, n->count * sizeof(*weights));
    for (uint32_t i = 0; i < n->layers; i++) {
        const double spread = sqrt(2 / (double)n->in[i]);
        for (size_t k = 0; k < n->in[i] * n->out[i]; k++)
            weights[n->weights_at[i] + k] = (float)(spread * random_normal(random));
    }
}

/* ---- answering */

maas_status vision_pack(const struct vision_net *n, const float *weights, struct vision_packed *out,
                        maas_error *error)
{
    size_t floats = 0, at = 0;
    for (uint32_t i = n->convs; i < n->layers; i++)
        floats += dense_packed_size(n->in[i], n->out[i]);
    *out = (struct vision_packed){ .plain = weights };
    out->memory = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
    if (!out->memory)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu weights", floats);
    for (uint32_t i = n->convs; i < n->layers; i++) {
        dense_pack(out->memory + at, weights + n->weights_at[i], n->in[i], n->out[i]);
        out->dense[i] = out->memory + at;
        at += dense_packed_size(n->in[i], n->out[i]);
    }
    return MAAS_OK;
}

void vision_pack_release(struct vision_packed *p)
{
    free(p->memory);
    p->memory = NULL;
}

void vision_scores(float *scores, float *space, const float *picture, const struct vision_net *n,
                   const struct vision_packed *packed)
{
    const float *x = picture;
    for (uint32_t i = 0; i < n->convs; i++) {
        float *y = space + conv_patches(&n->conv[i]), *small = y + wide(n, i);
        conv_forward(y, space, x, packed->plain + n->weights_at[i], packed->plain + n->biases_at[i],
                     &n->conv[i]);
        pool_max(small, NULL, y, &n->pool[i]);
        relu(small, small,
             pooled(n, i)); /* behind pooling it is the same, and a quarter of the work */
        x = small;
        space = small + pooled(n, i);
    }
    for (uint32_t i = n->convs; i < n->layers; i++) {
        const bool last = i + 1 == n->layers;
        float *y = last ? scores : space + (i & 1) * n->shape.hidden;
        dense_packed_forward(y, x, packed->dense[i], packed->plain + n->biases_at[i], 1, n->in[i],
                             n->out[i]);
        if (!last)
            relu(y, y, n->out[i]);
        x = y;
    }
    softmax(scores, scores, 1, n->shape.classes);
}
