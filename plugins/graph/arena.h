/*
 * arena.h: memory that is given back all at once, up to a bound. [one thread]
 */
#ifndef GRAPH_ARENA_H
#define GRAPH_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
    struct arena_block *blocks; /* zero at first */
    size_t used, most;          /* bytes; most: the bound */
};

/* Zeroed, aligned to 64; NULL: none is left, or more than the bound. count times size. */
void *arena_take(struct arena *a, size_t count, size_t size);
char *arena_text(struct arena *a, const char *text, size_t len);
void arena_release(struct arena *a);

#endif
