/*
 * prepare.c: bilinear resizing as two passes of a triangle filter: rows first, then columns, in
 * floats, without rounding between (PIL rounds to bytes after each pass: at most one step away).
 * Only what the crop leaves is computed.
 *
 * An output pixel o of an axis looks at source pixels around (o + 0.5) ratio - 0.5; with antialias
 * the triangle is as wide as the ratio where that is above 1, so that every source pixel counts.
 * Source: Pillow, src/libImaging/Resample.c; its weights are divided by their sum at the edges.
 */
#include "prepare.h"

#include <math.h>

bool prepare_valid(const struct prepare *p)
{
    bool valid = p->width && p->height && p->width <= PREPARE_SIDE_MAX &&
                 p->height <= PREPARE_SIDE_MAX && p->resize <= PREPARE_SIDE_MAX &&
                 isfinite(p->scale);
    for (size_t c = 0; c < 3; c++)
        valid = valid && isfinite(p->mean[c]) && p->deviation[c] > 0 && isfinite(p->deviation[c]);
    return valid && (!p->resize || (p->resize >= p->width && p->resize >= p->height));
}

static size_t channels(const struct prepare *p)
{
    return p->grey ? 1 : 3;
}

size_t prepare_count(const struct prepare *p)
{
    return channels(p) * p->width * p->height;
}

size_t prepare_space(const struct prepare *p, uint32_t width, uint32_t height)
{
    return channels(p) * p->width * height + 2 * (size_t)(width > height ? width : height) + 4;
}

/* One axis: output o of the crop looks from `ratio` and `first` at the source. */
struct axis {
    uint32_t source;
    double ratio, width; /* source pixels an output pixel; half the triangle's base */
    double first;        /* the crop's first output in the resized picture */
};

static struct axis axis_of(uint32_t source, uint32_t resized, uint32_t wanted, bool antialias)
{
    const double ratio = (double)source / resized;
    return (struct axis){ .source = source,
                          .ratio = ratio,
                          .width = antialias && ratio > 1 ? ratio : 1,
                          .first = (resized - wanted) / 2 };
}

/* The source pixels [*from, *to) that count for output o, and their weights, whose sum is 1. */
static void reach(const struct axis *a, uint32_t o, uint32_t *from, uint32_t *to, float *weights)
{
    const double middle = (o + a->first + 0.5) * a->ratio - 0.5;
    double total = 0;
    *from = (uint32_t)fmax(0, ceil(middle - a->width));
    *to = (uint32_t)fmin(a->source, floor(middle + a->width) + 1);
    for (uint32_t at = *from; at < *to; at++)
        total += fmax(0, 1 - fabs(at - middle) / a->width);
    for (uint32_t at = *from; at < *to; at++)
        weights[at - *from] = (float)(fmax(0, 1 - fabs(at - middle) / a->width) / total);
}

static void add_pixel(float *sum, const uint8_t *p, float w, bool grey)
{
    if (grey) {
        sum[0] += w * (float)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768u) >> 16);
        return;
    }
    for (size_t c = 0; c < 3; c++)
        sum[c] += w * p[c];
}

/* Column o of all rows: space [source rows][width][channels]. */
static void squeeze_column(float *space, float *weights, const struct image *image,
                           const struct prepare *p, const struct axis *a, uint32_t o)
{
    uint32_t from, to;
    reach(a, o, &from, &to, weights);
    for (uint32_t y = 0; y < image->height; y++) {
        float *sum = space + ((size_t)y * p->width + o) * channels(p);
        const uint8_t *row = image->origin + (ptrdiff_t)y * image->step_y;
        memset(sum, 0, channels(p) * sizeof(*sum));
        for (uint32_t x = from; x < to; x++)
            add_pixel(sum, row + (ptrdiff_t)x * image->step_x, weights[x - from], p->grey);
    }
}

/* Where channel c of pixel (y, x) stands in the output. */
static size_t place(const struct prepare *p, size_t c, size_t y, size_t x)
{
    const size_t pixel = y * p->width + x;
    return p->nhwc ? pixel * channels(p) + c : c * p->width * p->height + pixel;
}

static void squeeze_row(float *out, const float *space, float *weights, const struct prepare *p,
                        const struct axis *a, uint32_t o)
{
    uint32_t from, to;
    const size_t row = p->width * channels(p);
    reach(a, o, &from, &to, weights);
    for (size_t i = 0; i < row; i++) {
        const size_t c = i % channels(p), to_c = p->bgr && !p->grey ? 2 - c : c;
        float sum = 0;
        for (uint32_t y = from; y < to; y++)
            sum += weights[y - from] * space[y * row + i];
        out[place(p, to_c, o, i / channels(p))] =
            (sum * p->scale - p->mean[to_c]) / p->deviation[to_c];
    }
}

/* The longer side keeps its proportion, rounded down as torchvision does. */
static void resized_to(const struct prepare *p, const struct image *image, uint32_t *width,
                       uint32_t *height)
{
    *width = p->resize ? p->resize : p->width;
    *height = p->resize ? p->resize : p->height;
    if (p->resize && image->width > image->height)
        *width = (uint32_t)((uint64_t)p->resize * image->width / image->height);
    else if (p->resize)
        *height = (uint32_t)((uint64_t)p->resize * image->height / image->width);
}

void prepare(float *out, float *space, const struct image *image, const struct prepare *p)
{
    uint32_t width, height;
    resized_to(p, image, &width, &height);
    const struct axis across = axis_of(image->width, width, p->width, p->antialias);
    const struct axis down = axis_of(image->height, height, p->height, p->antialias);
    float *weights = space + channels(p) * p->width * image->height;
    for (uint32_t o = 0; o < p->width; o++)
        squeeze_column(space, weights, image, p, &across, o);
    for (uint32_t o = 0; o < p->height; o++)
        squeeze_row(out, space, weights, p, &down, o);
}
