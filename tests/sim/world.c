/*
 * world.c: the clock, chance, and the queue of events (a binary heap; equal times in the order of
 * their making, so a seed is a run).
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    uint64_t now_ns, order, chance, seed;
    struct event *heap;
    size_t count, room;
} w;
bool verbose;

uint64_t sim_now_ns(void)
{
    return w.now_ns;
}

void sim_start(uint64_t seed)
{
    w.now_ns = 1000 * S;
    w.order = 0;
    w.seed = seed;
    w.chance = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
    w.count = 0;
}

uint64_t any(uint64_t below)
{
    uint64_t z = (w.chance += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return below ? z % below : 0;
}

bool chance(uint32_t percent_of_cents)
{
    return any(10000) < percent_of_cents;
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void sift_down(size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < w.count; c++)
            if (before(&w.heap[c], &w.heap[least]))
                least = c;
        if (least == i)
            return;
        struct event e = w.heap[i];
        w.heap[i] = w.heap[least];
        w.heap[least] = e;
        i = least;
    }
}

static void push(struct event e)
{
    if (w.count == w.room) {
        w.room = w.room ? 2 * w.room : 1024;
        w.heap = realloc(w.heap, w.room * sizeof(*w.heap));
        CHECK(w.heap);
    }
    size_t i = w.count++;
    while (i > 0 && before(&e, &w.heap[(i - 1) / 2])) {
        w.heap[i] = w.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w.heap[i] = e;
}

void at(uint64_t delay_ns, struct loop *loop, void (*run)(void *, uint64_t), void *arg,
        uint64_t number)
{
    push((struct event){ w.now_ns + delay_ns, w.order++, run, arg, number, loop });
}

void forget(const struct loop *loop)
{
    size_t kept = 0;
    for (size_t i = 0; i < w.count; i++)
        if (w.heap[i].loop != loop)
            w.heap[kept++] = w.heap[i];
    w.count = kept;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(i);
}

bool step(uint64_t end_ns)
{
    if (w.count == 0 || w.heap[0].at_ns >= end_ns) {
        w.now_ns = end_ns;
        return false;
    }
    struct event e = w.heap[0];
    w.heap[0] = w.heap[--w.count];
    sift_down(0);
    w.now_ns = e.at_ns;
    if (e.loop && sim_stalled_until(e.loop) > w.now_ns) {
        e.at_ns = sim_stalled_until(e.loop);
        push(e);
        return true;
    }
    e.run(e.arg, e.number);
    if (e.loop)
        sim_turn_ends(e.loop);
    return true;
}

static void print(FILE *to, const char *fmt, va_list args)
{
    fprintf(to, "%12.6f  ", (double)(w.now_ns - 1000 * S) / 1e9);
    vfprintf(to, fmt, args);
    fputc('\n', to);
}

void say(const char *fmt, ...)
{
    va_list args;
    if (!verbose)
        return;
    va_start(args, fmt);
    print(stdout, fmt, args);
    va_end(args);
}

void sim_end(void)
{
    free(w.heap);
    w.heap = NULL;
    w.room = w.count = 0;
}

void broken(const char *fmt, ...)
{
    va_list args;
    printf("seed %llu is broken: replay it with --seed %llu --verbose\n",
           (unsigned long long)w.seed, (unsigned long long)w.seed);
    va_start(args, fmt);
    print(stdout, fmt, args);
    va_end(args);
    exit(1);
}
