/*
 * top.c: the best of many scores: a heap of the k best so far, its worst on top, so that most
 * scores are passed with one comparison.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

struct order {
    const float *scores, *popularity;
};

/* Whether a stands in front of b: the better, of equals the more popular, of those the first. */
static bool is_better(const struct order *o, uint32_t a, uint32_t b)
{
    if (o->scores[a] != o->scores[b])
        return o->scores[a] > o->scores[b];
    if (o->popularity[a] != o->popularity[b])
        return o->popularity[a] > o->popularity[b];
    return a < b;
}

/* Puts `item` where the hole at `at` is, below which both halves are heaps. */
static void sink(const struct order *o, uint32_t *heap, uint32_t count, uint32_t at, uint32_t item)
{
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_better(o, heap[child], heap[child + 1]))
            child++;
        if (!is_better(o, item, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void rise(const struct order *o, uint32_t *heap, uint32_t at, uint32_t item)
{
    for (; at > 0 && is_better(o, heap[(at - 1) / 2], item); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = item;
}

uint32_t rec_top(const struct rec_model *m, const float *scores, uint32_t k, uint32_t *out)
{
    const struct order o = { scores, m->popularity };
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->items.count; i++) {
        if (!(scores[i] > -HUGE_VALF))
            continue;
        if (count < k)
            rise(&o, out, count++, i);
        else if (k && is_better(&o, i, out[0]))
            sink(&o, out, count, 0, i);
    }
    for (uint32_t left = count; left > 1;) { /* the worst goes to the end */
        const uint32_t worst = out[0], last = out[--left];
        sink(&o, out, left, 0, last);
        out[left] = worst;
    }
    return count;
}
