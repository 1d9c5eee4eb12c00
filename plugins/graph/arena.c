/*
 * arena.c: blocks of 64 KiB for what is small, one of its own for what is not.
 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16, ALIGN = 64 };

struct arena_block {
    struct arena_block *next;
    size_t used, size; /* bytes behind the head */
};

static struct arena_block *block_new(struct arena *a, size_t size)
{
    const size_t all = size + ALIGN; /* the head takes ALIGN */
    if (a->used + all > a->most)
        return NULL;
    struct arena_block *b = aligned_alloc(ALIGN, all);
    if (!b)
        return NULL;
    a->used += all;
    *b = (struct arena_block){ .next = a->blocks, .size = size };
    return a->blocks = b;
}

void *arena_take(struct arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > a->most)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN + (bytes ? 0 : ALIGN);
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < bytes)
        b = block_new(a, bytes > BLOCK / 4 ? bytes : BLOCK);
    if (!b)
        return NULL;
    void *memory = (char *)b + ALIGN + b->used;
    b->used += bytes;
    return memset(memory, 0, bytes);
}

char *arena_text(struct arena *a, const char *text, size_t len)
{
    char *copy = arena_take(a, len + 1, 1);
    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}

void arena_release(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}
