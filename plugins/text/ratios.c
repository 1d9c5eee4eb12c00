/*
 * ratios.c: counts, then their logarithms in place.
 */
#include "ratios.h"

#include <math.h>
#include <stdlib.h>

static void count_rows(const struct lesson *l, float *counts, double *rows)
{
    const struct corpus *c = l->corpus;
    for (uint32_t i = 0; i < l->train; i++) {
        const uint32_t row = lesson_rows(l)[i], class = c->truth[row];
        uint64_t n;
        const uint32_t *f = corpus_row(c, row, &n);
        for (uint64_t k = 0; k < n; k++)
            counts[(size_t)f[k] * c->labels.count + class] += 1;
        rows[class]++;
    }
}

static void make_ratios(float *r, const double *rows, uint32_t classes, uint32_t train)
{
    double all = 0;
    for (uint32_t k = 0; k < classes; k++)
        all += r[k];
    for (uint32_t k = 0; k < classes; k++)
        r[k] = (float)log((1 + r[k]) / (2 + rows[k]) * (2 + train - rows[k]) / (1 + all - r[k]));
}

float *ratios_of(const struct lesson *l)
{
    const uint32_t classes = l->corpus->labels.count;
    double *rows = calloc(classes, sizeof(*rows));
    float *r = calloc((size_t)l->corpus->distinct * classes, sizeof(*r));
    if (rows && r) {
        count_rows(l, r, rows);
        for (uint64_t f = 0; f < l->corpus->distinct; f++)
            make_ratios(r + f * classes, rows, classes, l->train);
    }
    free(rows);
    if (!rows) {
        free(r);
        r = NULL;
    }
    return r;
}
