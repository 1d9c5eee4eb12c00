/*
 * embedding.c: plain loops over rows.
 */
#include "embedding.h"

#include <math.h>
#include <string.h>

static float scale_of(uint32_t from, uint32_t end)
{
    return end > from ? 1 / sqrtf((float)(end - from)) : 0;
}

void embedding_bags(float *y, const float *table, const uint32_t *ids, const uint32_t *ends,
                    size_t bags, size_t width)
{
    uint32_t at = 0;
    memset(y, 0, bags * width * sizeof(*y));
    for (size_t b = 0; b < bags; b++, y += width) {
        const float scale = scale_of(at, ends[b]);
        for (; at < ends[b]; at++)
            for (size_t i = 0; i < width; i++)
                y[i] += table[(size_t)ids[at] * width + i] * scale;
    }
}

void embedding_bags_backward(float *dtable, const float *dy, const uint32_t *ids,
                             const uint32_t *ends, size_t bags, size_t width)
{
    uint32_t at = 0;
    for (size_t b = 0; b < bags; b++, dy += width) {
        const float scale = scale_of(at, ends[b]);
        for (; at < ends[b]; at++)
            for (size_t i = 0; i < width; i++)
                dtable[(size_t)ids[at] * width + i] += dy[i] * scale;
    }
}
