/*
 * kept.c: a fit reads its rows several times, and most data fits in memory: what the first pass
 * read is kept, as numbers, up to a bound. Beyond it each pass reads them anew, and what was kept
 * is given back.
 */
#include <stdlib.h>

#include "linreg.h"

enum { FIRST_ROOM = 1024 /* rows */ };

static size_t cells_of(const struct kept_rows *k)
{
    return (size_t)k->terms + 2;
}

static void forget(struct kept_rows *k)
{
    free(k->numbers);
    k->numbers = NULL;
    k->rows = k->room = 0;
    k->state = KEPT_NEVER;
}

/* Room for one more row; false: it would be too much. */
static bool make_room(struct kept_rows *k)
{
    if (k->rows < k->room)
        return true;
    const uint64_t room = k->room ? 2 * k->room : FIRST_ROOM;
    const uint64_t bytes = room * cells_of(k) * sizeof(double);
    double *numbers = bytes <= KEPT_MAX_BYTES ? realloc(k->numbers, bytes) : NULL;
    if (!numbers)
        return false;
    k->numbers = numbers;
    k->room = room;
    return true;
}

static void keep(struct kept_rows *k, const double *x, double y, double weight)
{
    if (!make_room(k)) {
        forget(k);
        return;
    }
    double *row = k->numbers + k->rows++ * cells_of(k);
    memcpy(row, x, k->terms * sizeof(*row));
    row[k->terms] = y;
    row[k->terms + 1] = weight;
}

static maas_status kept_rewind(void *from, maas_error *error)
{
    struct kept_rows *k = from;
    k->at = 0;
    if (k->state == KEPT_ALL)
        return MAAS_OK;
    if (k->state == KEPT_SOME) /* the first pass did not come to its end */
        k->rows = 0;
    return k->source.rewind(k->source.from, error);
}

static maas_status kept_next(void *from, double *x, double *y, double *weight, bool *out_end,
                             maas_error *error)
{
    struct kept_rows *k = from;
    if (k->state == KEPT_ALL) {
        const double *row = k->numbers + k->at * cells_of(k);
        *out_end = k->at++ == k->rows;
        if (*out_end)
            return MAAS_OK;
        memcpy(x, row, k->terms * sizeof(*x));
        *y = row[k->terms];
        *weight = row[k->terms + 1];
        return MAAS_OK;
    }
    maas_status status = k->source.next(k->source.from, x, y, weight, out_end, error);
    if (status || k->state == KEPT_NEVER)
        return status;
    if (*out_end)
        k->state = KEPT_ALL;
    else
        keep(k, x, *y, *weight);
    return MAAS_OK;
}

struct rows kept_over(struct kept_rows *k, const struct rows *source, uint32_t terms)
{
    *k = (struct kept_rows){ .source = *source, .terms = terms };
    return (struct rows){ .from = k, .rewind = kept_rewind, .next = kept_next };
}

void kept_release(struct kept_rows *k)
{
    free(k->numbers);
    k->numbers = NULL;
}
