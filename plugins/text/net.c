/*
 * net.c: the block of weights is, for each direction, w, u, b, then head and bias. The second
 * direction reads the mirrored tokens; pooling does not mind their order.
 */
#include "net.h"

#include <string.h>

#include "kernels/dense.h"

uint32_t net_pooled(const struct net_shape *shape)
{
    return shape->directions * 2 * shape->hidden;
}

static size_t direction_weights(const struct net_shape *shape)
{
    return 4 * (size_t)shape->hidden * (shape->width + shape->hidden + 1);
}

size_t net_weights(const struct net_shape *shape)
{
    return shape->directions * direction_weights(shape) +
           (size_t)shape->classes * (net_pooled(shape) + 1);
}

/* Where the parts of a block lie. */
struct places {
    size_t w[2], u[2], b[2], head, bias;
};

static struct places places_of(const struct net_shape *shape)
{
    struct places p;
    const size_t gates = 4 * (size_t)shape->hidden;
    for (size_t d = 0; d < 2; d++) {
        p.w[d] = d * direction_weights(shape);
        p.u[d] = p.w[d] + gates * shape->width;
        p.b[d] = p.u[d] + gates * shape->hidden;
    }
    p.head = shape->directions * direction_weights(shape);
    p.bias = p.head + (size_t)shape->classes * net_pooled(shape);
    return p;
}

struct net net_over(const struct net_shape *shape, const float *block, bool packed)
{
    const struct places p = places_of(shape);
    struct net net = { .shape = *shape, .head = block + p.head, .bias = block + p.bias };
    for (size_t d = 0; d < shape->directions; d++)
        net.lstm[d] = (struct lstm_weights){ shape->width,   shape->hidden,  block + p.w[d],
                                             block + p.u[d], block + p.b[d], packed };
    return net;
}

void net_pack(float *packed, const struct net_shape *shape, const float *block)
{
    const struct places p = places_of(shape);
    memcpy(packed, block, net_weights(shape) * sizeof(*packed));
    for (size_t d = 0; d < shape->directions; d++) {
        dense_pack(packed + p.w[d], block + p.w[d], shape->width, 4 * (size_t)shape->hidden);
        dense_pack(packed + p.u[d], block + p.u[d], shape->hidden, 4 * (size_t)shape->hidden);
    }
}

/* ---- work space */

/* A part of the memory; each begins at 64 bytes. */
static float *part(float *memory, size_t *at, size_t count)
{
    float *place = memory ? memory + *at : NULL;
    *at += (count + 15) / 16 * 16;
    return place;
}

static size_t lay_out(struct net_work *w, float *memory, const struct net_shape *shape, size_t rows,
                      size_t tokens, bool backward)
{
    const size_t hidden = shape->hidden;
    size_t at = 0;
    *w = (struct net_work){ 0 };
    for (size_t d = 0; d < shape->directions; d++) {
        w->x[d] = part(memory, &at, tokens * shape->width);
        w->h[d] = part(memory, &at, tokens * hidden);
        w->c[d] = part(memory, &at, tokens * hidden);
        w->gates[d] = part(memory, &at, tokens * 4 * hidden);
        if (!backward)
            continue;
        w->dx[d] = part(memory, &at, tokens * shape->width);
        w->from[d] = (uint32_t *)(void *)part(memory, &at, rows * hidden);
    }
    w->pooled = part(memory, &at, rows * net_pooled(shape));
    w->z = part(memory, &at, rows * shape->classes);
    w->mirror = (uint32_t *)(void *)part(memory, &at, tokens);
    if (!backward)
        return at;
    w->dh = part(memory, &at, tokens * hidden);
    w->dc = part(memory, &at, rows * hidden);
    w->dpooled = part(memory, &at, rows * net_pooled(shape));
    return at;
}

size_t net_work_floats(const struct net_shape *shape, size_t rows, size_t tokens, bool backward)
{
    struct net_work work;
    return lay_out(&work, NULL, shape, rows, tokens, backward);
}

struct net_work net_work_at(float *memory, const struct net_shape *shape, size_t rows,
                            size_t tokens, bool backward)
{
    struct net_work work;
    (void)lay_out(&work, memory, shape, rows, tokens, backward);
    return work;
}

/* ---- forwards */

static void mirror_tokens(const struct net_work *work, const struct sequence *s, size_t width)
{
    sequence_mirror(work->mirror, s);
    for (size_t t = 0; t < s->tokens; t++)
        memcpy(work->x[1] + t * width, work->x[0] + work->mirror[t] * width, width * sizeof(float));
}

void net_read(const struct net *net, const struct net_work *work, const struct sequence *s)
{
    const size_t hidden = net->shape.hidden, pooled = net_pooled(&net->shape);
    if (net->shape.directions == 2)
        mirror_tokens(work, s, net->shape.width);
    for (size_t d = 0; d < net->shape.directions; d++) {
        lstm_forward(work->h[d], work->c[d], work->gates[d], work->x[d], &net->lstm[d], s);
        sequence_pool(work->pooled + d * 2 * hidden, work->from[d], work->h[d], s, hidden, pooled);
    }
}

void net_judge(const struct net *net, const struct net_work *work, size_t rows)
{
    dense_forward(work->z, work->pooled, net->head, net->bias, rows, net_pooled(&net->shape),
                  net->shape.classes);
}

/* ---- backwards */

void net_judge_backward(const struct net *net, const struct net_work *work, size_t rows,
                        float *gradient)
{
    const struct places p = places_of(&net->shape);
    dense_backward(work->dpooled, gradient ? gradient + p.head : NULL,
                   gradient ? gradient + p.bias : NULL, work->z, work->pooled, net->head, rows,
                   net_pooled(&net->shape), net->shape.classes);
}

void net_read_backward(const struct net *net, const struct net_work *work, const struct sequence *s,
                       float *gradient)
{
    const struct places p = places_of(&net->shape);
    const size_t hidden = net->shape.hidden, width = net->shape.width;
    const size_t pooled = net_pooled(&net->shape);
    for (size_t d = 0; d < net->shape.directions; d++) {
        sequence_pool_backward(work->dh, work->dpooled + d * 2 * hidden, work->from[d], s, hidden,
                               pooled);
        lstm_backward(work->dx[d], gradient ? gradient + p.w[d] : NULL,
                      gradient ? gradient + p.u[d] : NULL, gradient ? gradient + p.b[d] : NULL,
                      work->dh, work->dc, work->gates[d], work->c[d], work->h[d], work->x[d],
                      &net->lstm[d], s);
    }
    for (size_t t = 0; net->shape.directions == 2 && t < s->tokens; t++)
        for (size_t i = 0; i < width; i++)
            work->dx[0][work->mirror[t] * width + i] += work->dx[1][t * width + i];
}
