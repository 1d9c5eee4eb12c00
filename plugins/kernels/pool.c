/*
 * pool.c: each output looks at the rows [y0, y1) and columns [x0, x1) of its window that lie inside
 * of the picture, in steps of the dilation.
 */
#include "pool.h"

#include <math.h>
#include <string.h>

struct window {
    size_t y0, y1, x0, x1;
};

/* [*from, *to): the taps of an extent that lie inside. */
static void clip(size_t out, size_t stride, size_t pad, size_t kernel, size_t dilation, size_t size,
                 size_t *from, size_t *to)
{
    size_t start = out * stride, first = 0;
    while (first < kernel && start + first * dilation < pad)
        first++;
    size_t end = first;
    while (end < kernel && start + end * dilation < pad + size)
        end++;
    *from = start + first * dilation - (first < end ? pad : 0);
    *to = first < end ? start + (end - 1) * dilation - pad + 1 : *from;
}

static struct window window_of(const struct conv_shape *s, size_t oy, size_t ox)
{
    struct window w;
    clip(oy, s->stride_h, s->pad_top, s->kernel_h, s->dilation_h, s->height, &w.y0, &w.y1);
    clip(ox, s->stride_w, s->pad_left, s->kernel_w, s->dilation_w, s->width, &w.x0, &w.x1);
    return w;
}

static void max_of(float *y, uint32_t *from, const float *image, struct window w,
                   const struct conv_shape *s)
{
    float most = -INFINITY;
    uint32_t at = UINT32_MAX;
    for (size_t i = w.y0; i < w.y1; i += s->dilation_h)
        for (size_t k = w.x0; k < w.x1; k += s->dilation_w) {
            float value = image[i * s->width + k];
            if (value > most || at == UINT32_MAX || (isnan(value) && !isnan(most))) {
                most = value;
                at = (uint32_t)(i * s->width + k);
            }
        }
    *y = most;
    if (from)
        *from = at;
}

void pool_max(float *y, uint32_t *from, const float *x, const struct conv_shape *s)
{
    size_t at = 0;
    for (size_t c = 0; c < s->channels; c++)
        for (size_t oy = 0; oy < s->out_h; oy++)
            for (size_t ox = 0; ox < s->out_w; ox++, at++)
                max_of(y + at, from ? from + at : NULL, x + c * s->height * s->width,
                       window_of(s, oy, ox), s);
}

void pool_max_backward(float *dx, const float *dy, const uint32_t *from, const struct conv_shape *s)
{
    const size_t image = s->height * s->width, places = s->out_h * s->out_w;
    memset(dx, 0, s->channels * image * sizeof(*dx));
    for (size_t c = 0; c < s->channels; c++)
        for (size_t p = 0; p < places; p++)
            if (from[c * places + p] != UINT32_MAX)
                dx[c * image + from[c * places + p]] += dy[c * places + p];
}

/* What a window's sum is divided by. */
static float share(struct window w, bool count_pads, const struct conv_shape *s)
{
    size_t rows = (w.y1 - w.y0 + s->dilation_h - 1) / s->dilation_h;
    size_t columns = (w.x1 - w.x0 + s->dilation_w - 1) / s->dilation_w;
    size_t met = count_pads ? s->kernel_h * s->kernel_w : rows * columns;
    return met ? 1 / (float)met : 0;
}

void pool_average(float *y, const float *x, bool count_pads, const struct conv_shape *s)
{
    for (size_t c = 0; c < s->channels; c++, x += s->height * s->width)
        for (size_t oy = 0; oy < s->out_h; oy++)
            for (size_t ox = 0; ox < s->out_w; ox++) {
                const struct window w = window_of(s, oy, ox);
                float sum = 0;
                for (size_t i = w.y0; i < w.y1; i += s->dilation_h)
                    for (size_t k = w.x0; k < w.x1; k += s->dilation_w)
                        sum += x[i * s->width + k];
                *y++ = sum * share(w, count_pads, s);
            }
}

void pool_average_backward(float *dx, const float *dy, bool count_pads, const struct conv_shape *s)
{
    memset(dx, 0, s->channels * s->height * s->width * sizeof(*dx));
    for (size_t c = 0; c < s->channels; c++, dx += s->height * s->width)
        for (size_t oy = 0; oy < s->out_h; oy++)
            for (size_t ox = 0; ox < s->out_w; ox++, dy++) {
                const struct window w = window_of(s, oy, ox);
                const float part = *dy * share(w, count_pads, s);
                for (size_t i = w.y0; i < w.y1; i += s->dilation_h)
                    for (size_t k = w.x0; k < w.x1; k += s->dilation_w)
                        dx[i * s->width + k] += part;
            }
}
