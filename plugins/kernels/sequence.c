/*
 * sequence.c: walks over packed tokens.
 */
#include "sequence.h"

#include <string.h>

struct sequence sequence_of(uint32_t *memory, const uint32_t *lengths, size_t rows)
{
    const size_t steps = rows ? lengths[0] : 0;
    uint32_t *active = memory, *starts = memory + steps;
    size_t tokens = 0, longer = rows;
    for (size_t t = 0; t < steps; t++) {
        while (lengths[longer - 1] <= t)
            longer--;
        active[t] = (uint32_t)longer;
        starts[t] = (uint32_t)tokens;
        tokens += longer;
    }
    return (struct sequence){ rows, steps, tokens, lengths, active, starts };
}

void sequence_mirror(uint32_t *mirror, const struct sequence *s)
{
    for (size_t r = 0; r < s->rows; r++)
        for (size_t t = 0; t < s->lengths[r]; t++)
            mirror[s->starts[t] + r] = s->starts[s->lengths[r] - 1 - t] + (uint32_t)r;
}

/* The largest of one row's tokens and their sum; from is that of a row, or NULL. */
static void pool_row(float *most, float *sum, uint32_t *from, const float *x,
                     const struct sequence *s, size_t row, size_t width)
{
    for (size_t t = 0; t < s->lengths[row]; t++) {
        const size_t at = s->starts[t] + row;
        for (size_t i = 0; i < width; i++) {
            const float value = x[at * width + i];
            sum[i] += value;
            if (t > 0 && !(value > most[i]))
                continue;
            most[i] = value;
            if (from)
                from[i] = (uint32_t)at;
        }
    }
}

void sequence_pool(float *y, uint32_t *from, const float *x, const struct sequence *s, size_t width,
                   size_t stride)
{
    for (size_t r = 0; r < s->rows; r++, y += stride) {
        memset(y, 0, 2 * width * sizeof(*y));
        pool_row(y, y + width, from ? from + r * width : NULL, x, s, r, width);
        for (size_t i = 0; s->lengths[r] && i < width; i++)
            y[width + i] /= (float)s->lengths[r];
    }
}

void sequence_pool_backward(float *dx, const float *dy, const uint32_t *from,
                            const struct sequence *s, size_t width, size_t stride)
{
    for (size_t r = 0; r < s->rows; r++, dy += stride) {
        for (size_t t = 0; t < s->lengths[r]; t++)
            for (size_t i = 0; i < width; i++)
                dx[(s->starts[t] + r) * width + i] = dy[width + i] / (float)s->lengths[r];
        for (size_t i = 0; s->lengths[r] && i < width; i++)
            dx[(size_t)from[r * width + i] * width + i] += dy[i];
    }
}
