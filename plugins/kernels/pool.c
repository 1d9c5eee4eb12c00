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
    if (s->dilation_h == 1 && s->dilation_w == 1 && !s->pad_top && !s->pad_left && !s->pad_bottom &&
        !s->pad_right) /* the usual case: all windows lie inside */
        return (struct window){ oy * s->stride_h, oy * s->stride_h + s->kernel_h, ox * s->stride_w,
                                ox * s->stride_w + s->kernel_w };
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

/* Windows of 2 by 2 that lie side by side, as most networks have them: without a branch that the
 * processor would guess wrongly every other time. False: a NaN is there, the slow way is to tell.
 */
static bool max_of_four(float *y, uint32_t *from, const float *top, const float *below,
                        uint32_t first, uint32_t width, size_t outputs)
{
    int numbers = 1;
    for (size_t o = 0; o < outputs; o++, top += 2, below += 2) {
        const uint32_t at = first + 2 * (uint32_t)o;
        const uint32_t right = top[1] > top[0], right_below = below[1] > below[0];
        const float upper = right ? top[1] : top[0], lower = right_below ? below[1] : below[0];
        const uint32_t down = lower > upper;
        y[o] = down ? lower : upper;
        numbers &= top[0] + top[1] + below[0] + below[1] == top[0] + top[1] + below[0] + below[1];
        if (from)
            from[o] = at + (down ? width + right_below : right);
    }
    return numbers;
}

static bool is_plain(const struct conv_shape *s)
{
    return s->kernel_h == 2 && s->kernel_w == 2 && s->stride_h == 2 && s->stride_w == 2 &&
           s->dilation_h == 1 && s->dilation_w == 1 && !s->pad_top && !s->pad_left &&
           !s->pad_bottom && !s->pad_right;
}

static bool max_of_row(float *y, uint32_t *from, const float *image, size_t oy,
                       const struct conv_shape *s)
{
    const float *top = image + 2 * oy * s->width;
    return is_plain(s) && max_of_four(y, from, top, top + s->width, (uint32_t)(2 * oy * s->width),
                                      (uint32_t)s->width, s->out_w);
}

void pool_max(float *y, uint32_t *from, const float *x, const struct conv_shape *s)
{
    size_t at = 0;
    for (size_t c = 0; c < s->channels; c++)
        for (size_t oy = 0; oy < s->out_h; oy++, at += s->out_w) {
            const float *image = x + c * s->height * s->width;
            if (max_of_row(y + at, from ? from + at : NULL, image, oy, s))
                continue;
            for (size_t ox = 0; ox < s->out_w; ox++)
                max_of(y + at + ox, from ? from + at + ox : NULL, image, window_of(s, oy, ox), s);
        }
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
