/*
 * top.c: the k best of n in n log k: a heap whose root is the worst of what is kept, so most offers
 * end after one comparison. The order is total (score, popularity, index), so what is kept does not
 * hang on the order of the offers.
 */
#include "recommender.h"

#include <stdlib.h>

static bool is_better(const struct rec_top *t, struct rec_scored a, struct rec_scored b)
{
    if (a.score != b.score)
        return a.score > b.score;
    if (t->popularity && t->popularity[a.index] != t->popularity[b.index])
        return t->popularity[a.index] > t->popularity[b.index];
    return a.index < b.index;
}

/* Puts `one` where it belongs among the first `count`, from the root down. */
static void sink(struct rec_top *t, struct rec_scored one, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && is_better(t, t->best[child], t->best[child + 1]))
            child++;
        if (!is_better(t, one, t->best[child]))
            break;
        t->best[at] = t->best[child];
        at = child;
    }
    t->best[at] = one;
}

static void rise(struct rec_top *t, struct rec_scored one)
{
    uint32_t at = t->count++;
    while (at && is_better(t, t->best[(at - 1) / 2], one)) {
        t->best[at] = t->best[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    t->best[at] = one;
}

void rec_top_offer(struct rec_top *t, uint32_t index, float score)
{
    const struct rec_scored one = { index, score };
    if (t->count < t->most)
        rise(t, one);
    else if (t->most && is_better(t, one, t->best[0]))
        sink(t, one, t->count);
}

void rec_top_sort(struct rec_top *t)
{
    for (uint32_t left = t->count; left > 1; left--) {
        const struct rec_scored worst = t->best[0];
        sink(t, t->best[left - 1], left - 1);
        t->best[left - 1] = worst;
    }
}

static int by_index(const void *a, const void *b)
{
    const uint32_t x = ((const struct rec_scored *)a)->index,
                   y = ((const struct rec_scored *)b)->index;
    return (x > y) - (x < y);
}

void rec_top_by_index(struct rec_top *t)
{
    qsort(t->best, t->count, sizeof(*t->best), by_index);
}
