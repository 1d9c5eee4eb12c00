/*
 * arena.c: memory of one job. Chunks double in size and are kept between requests, so in the steady
 * state a request makes no system call.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

#define CHUNK_LEAST 65536

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(64) unsigned char data[];
};

struct arena {
    struct chunk *first, *current;
    size_t max, total;
};

struct arena *arena_new(size_t max)
{
    struct arena *arena = calloc(1, sizeof(*arena));
    if (arena)
        arena->max = max;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    while (arena->first) {
        struct chunk *chunk = arena->first;
        arena->first = chunk->next;
        free(chunk);
    }
    free(arena);
}

void arena_reset(struct arena *arena)
{
    for (struct chunk *chunk = arena->first; chunk; chunk = chunk->next)
        chunk->used = 0;
    arena->current = arena->first;
}

static void *chunk_take(struct chunk *chunk, size_t bytes, size_t align)
{
    uintptr_t base = (uintptr_t)chunk->data;
    uintptr_t at = (base + chunk->used + align - 1) & ~(uintptr_t)(align - 1);
    if (at - base > chunk->size || bytes > chunk->size - (at - base))
        return NULL;
    chunk->used = at - base + bytes;
    return chunk->data + (at - base);
}

static struct chunk *chunk_add(struct arena *arena, size_t least)
{
    size_t size = arena->total < CHUNK_LEAST ? CHUNK_LEAST : arena->total;
    if (size < least)
        size = least;
    if (size > arena->max - arena->total)
        size = arena->max - arena->total;
    if (size < least)
        return NULL;
    size_t whole = (sizeof(struct chunk) + size + 63) & ~(size_t)63;
    struct chunk *chunk = aligned_alloc(64, whole);
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->size = size;
    chunk->used = 0;
    arena->total += size;
    struct chunk **at = &arena->first;
    while (*at)
        at = &(*at)->next;
    *at = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes, size_t align)
{
    if (align < 8)
        align = 8;
    if ((align & (align - 1)) || align > 4096 || bytes > arena->max)
        return NULL;
    for (struct chunk *chunk = arena->current; chunk; chunk = chunk->next) {
        void *memory = chunk_take(chunk, bytes, align);
        if (memory) {
            arena->current = chunk;
            return memory;
        }
    }
    struct chunk *chunk = chunk_add(arena, bytes + align);
    if (!chunk)
        return NULL;
    arena->current = chunk;
    return chunk_take(chunk, bytes, align);
}

bool arena_text(struct arena *arena, maas_str *text)
{
    char *copy = text->len < arena->max ? arena_alloc(arena, text->len + 1, 1) : NULL;
    if (!copy)
        return false;
    if (text->len)
        memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';
    text->data = copy;
    return true;
}
