/*
 * conv.c: y[f, p] = sum over taps t of w[f, t] patches[t, p] + b[f], where a tap is (channel, row,
 * column of the window) and p a place of the output. Backwards dw = dy patches', and dx is
 * folded back from w' dy: taps that met the same pixel are added up.
 */
#include "conv.h"

#include <stdint.h>
#include <string.h>

#include "matmul.h"

static bool extent(size_t size, size_t pads, size_t kernel, size_t stride, size_t dilation,
                   size_t *out)
{
    const size_t most = INT32_MAX;
    if (!size || !kernel || !stride || !dilation || size > most || pads > most || kernel > most ||
        dilation > most || stride > most)
        return false;
    size_t window = (kernel - 1) * dilation + 1;
    if (window > size + pads)
        return false;
    *out = (size + pads - window) / stride + 1;
    return true;
}

bool conv_shape_finish(struct conv_shape *s)
{
    size_t all = 1;
    if (!s->groups || !s->channels || !s->filters || s->channels % s->groups ||
        s->filters % s->groups || s->pad_top > INT32_MAX || s->pad_left > INT32_MAX)
        return false;
    if (!extent(s->height, s->pad_top + s->pad_bottom, s->kernel_h, s->stride_h, s->dilation_h,
                &s->out_h) ||
        !extent(s->width, s->pad_left + s->pad_right, s->kernel_w, s->stride_w, s->dilation_w,
                &s->out_w))
        return false;
    const size_t factors[] = { s->channels / s->groups, s->kernel_h, s->kernel_w, s->out_h,
                               s->out_w };
    for (size_t i = 0; i < 5; i++)
        if (__builtin_mul_overflow(all, factors[i], &all) || all > INT32_MAX)
            return false;
    return !__builtin_mul_overflow(s->filters, s->out_h * s->out_w, &all) && all <= INT32_MAX;
}

size_t conv_patches(const struct conv_shape *s)
{
    return s->channels / s->groups * s->kernel_h * s->kernel_w * s->out_h * s->out_w;
}

/* The outputs [*from, *to) of a row whose tap lies inside of the picture: 0 <= o stride + at < size
 */
static void inside(ptrdiff_t at, size_t stride, size_t size, size_t outputs, size_t *from,
                   size_t *to)
{
    size_t first = at < 0 ? ((size_t)-at + stride - 1) / stride : 0;
    size_t end = at >= (ptrdiff_t)size ? 0 : ((size_t)((ptrdiff_t)size - at) - 1) / stride + 1;
    *from = first < outputs ? first : outputs;
    *to = end < outputs ? end : outputs;
    if (*to < *from)
        *to = *from;
}

/* One tap's plane of patches: out [out_h, out_w] from image [height, width]. */
static void unfold_tap(float *out, const float *image, ptrdiff_t top, ptrdiff_t left,
                       const struct conv_shape *s)
{
    size_t from, to;
    inside(left, s->stride_w, s->width, s->out_w, &from, &to);
    for (size_t y = 0; y < s->out_h; y++, out += s->out_w) {
        ptrdiff_t row = (ptrdiff_t)(y * s->stride_h) + top;
        if (row < 0 || row >= (ptrdiff_t)s->height) {
            memset(out, 0, s->out_w * sizeof(*out));
            continue;
        }
        const float *in = image + (size_t)row * s->width;
        for (size_t x = 0; x < from; x++)
            out[x] = 0;
        if (s->stride_w == 1 && to > from)
            memcpy(out + from, in + (ptrdiff_t)from + left, (to - from) * sizeof(*out));
        else
            for (size_t x = from; x < to; x++)
                out[x] = in[(ptrdiff_t)(x * s->stride_w) + left];
        for (size_t x = to; x < s->out_w; x++)
            out[x] = 0;
    }
}

static void fold_tap(float *image, const float *in, ptrdiff_t top, ptrdiff_t left,
                     const struct conv_shape *s)
{
    size_t from, to;
    inside(left, s->stride_w, s->width, s->out_w, &from, &to);
    for (size_t y = 0; y < s->out_h; y++, in += s->out_w) {
        ptrdiff_t row = (ptrdiff_t)(y * s->stride_h) + top;
        if (row < 0 || row >= (ptrdiff_t)s->height)
            continue;
        float *out = image + (size_t)row * s->width;
        for (size_t x = from; x < to; x++)
            out[(ptrdiff_t)(x * s->stride_w) + left] += in[x];
    }
}

/* Calls `tap` for each of a group's taps, with its plane and its channel's image. */
#define FOR_EACH_TAP(s, c, ky, kx)                                                                 \
    for (size_t c = 0; c < (s)->channels / (s)->groups; c++)                                       \
        for (size_t ky = 0; ky < (s)->kernel_h; ky++)                                              \
            for (size_t kx = 0; kx < (s)->kernel_w; kx++)

static ptrdiff_t tap_top(const struct conv_shape *s, size_t ky)
{
    return (ptrdiff_t)(ky * s->dilation_h) - (ptrdiff_t)s->pad_top;
}

static ptrdiff_t tap_left(const struct conv_shape *s, size_t kx)
{
    return (ptrdiff_t)(kx * s->dilation_w) - (ptrdiff_t)s->pad_left;
}

static void unfold(float *patches, const float *x, const struct conv_shape *s)
{
    FOR_EACH_TAP(s, c, ky, kx)
    {
        unfold_tap(patches, x + c * s->height * s->width, tap_top(s, ky), tap_left(s, kx), s);
        patches += s->out_h * s->out_w;
    }
}

static void fold(float *dx, const float *patches, const struct conv_shape *s)
{
    FOR_EACH_TAP(s, c, ky, kx)
    {
        fold_tap(dx + c * s->height * s->width, patches, tap_top(s, ky), tap_left(s, kx), s);
        patches += s->out_h * s->out_w;
    }
}

/* What a group's product spans. */
struct span {
    size_t taps, places, filters, image; /* image: floats of a group's channels */
};

static struct span span_of(const struct conv_shape *s)
{
    size_t channels = s->channels / s->groups;
    return (struct span){ channels * s->kernel_h * s->kernel_w, s->out_h * s->out_w,
                          s->filters / s->groups, channels * s->height * s->width };
}

void conv_forward(float *y, float *patches, const float *x, const float *w, const float *b,
                  const struct conv_shape *s)
{
    const struct span n = span_of(s);
    for (size_t f = 0; b && f < s->filters; f++)
        for (size_t p = 0; p < n.places; p++)
            y[f * n.places + p] = b[f];
    for (size_t g = 0; g < s->groups; g++) {
        unfold(patches, x + g * n.image, s);
        matmul(y + g * n.filters * n.places, w + g * n.filters * n.taps, false, patches, false,
               n.filters, n.places, n.taps, b ? 1 : 0);
    }
}

void conv_backward(float *dx, float *dw, float *db, float *patches, const float *dy, const float *x,
                   const float *w, const struct conv_shape *s)
{
    const struct span n = span_of(s);
    for (size_t f = 0; db && f < s->filters; f++)
        for (size_t p = 0; p < n.places; p++)
            db[f] += dy[f * n.places + p];
    if (dx)
        memset(dx, 0, s->channels * s->height * s->width * sizeof(*dx));
    for (size_t g = 0; g < s->groups; g++) {
        const float *dyg = dy + g * n.filters * n.places;
        if (dw) {
            unfold(patches, x + g * n.image, s);
            matmul(dw + g * n.filters * n.taps, dyg, false, patches, true, n.filters, n.taps,
                   n.places, 1);
        }
        if (dx) {
            matmul(patches, w + g * n.filters * n.taps, true, dyg, false, n.taps, n.places,
                   n.filters, 0);
            fold(dx + g * n.image, patches, s);
        }
    }
}
