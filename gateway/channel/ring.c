/*
 * ring.c: the byte ring between one producer and one consumer that do not trust each other.
 *
 * Each side keeps its own position private and only publishes it; what it reads back from shared
 * memory is the other's position, once, into a local, checked against the private one. So a hostile
 * peer can lose or repeat its own records, and reach nothing else.
 *
 * The other's position is remembered and read again only when the remembered one is not enough
 * (ring full, or all known records eaten): in the steady state a write touches the record's lines
 * and the tail's line, a read the record's lines and the head's.
 *
 * A ring that holds the largest request is megabytes long, and walking it with small records would
 * drag all of it through the caches. So past `lap` bytes the producer begins again at the start as
 * soon as enough of it is free: small traffic lives in a quarter of a megabyte, and bursts and
 * large records still have the whole ring.
 *
 * Rejected: mapping the ring twice in a row so that records never break (two virtual addresses for
 * one byte blind the sanitizers, and the early return to the start needs pads anyway); a lock; a
 * ring of fixed slots (bodies range over five orders of magnitude).
 */
#include "channel/ring.h"

#include <string.h>

enum record_kind { RECORD_DATA = 1, RECORD_PAD = 2 };

#define LAP_BYTES (256u << 10)

static uint64_t span_of(uint64_t len)
{
    return (RING_HEAD + len + (CACHE_LINE - 1)) & ~(uint64_t)(CACHE_LINE - 1);
}

static uint64_t offset_of(const struct ring *r, uint64_t position)
{
    return position & (r->size - 1);
}

static void head_write(struct ring *r, uint64_t offset, enum record_kind kind, uint64_t len)
{
    const uint32_t head[2] = { (uint32_t)len, (uint32_t)kind };
    memcpy(r->data + offset, head, sizeof(head));
}

void ring_init(struct ring *r, struct ring_shared *shared, void *data, uint32_t size)
{
    CHECK(size >= RING_BYTES_MIN && size <= RING_BYTES_MAX && (size & (size - 1)) == 0);
    *r = (struct ring){ .shared = shared, .data = data, .size = size };
    r->lap = size > 2 * LAP_BYTES ? LAP_BYTES : size;
}

size_t ring_record_max(const struct ring *r)
{
    return (size_t)r->size / 2 - RING_HEAD;
}

/* Makes sure that `need` bytes are free, as far as the consumer's position says so. */
static enum ring_result reserve(struct ring *r, uint64_t need)
{
    if (r->size - (r->in.tail - r->in.head_seen) >= need)
        return RING_DONE;
    uint64_t head = atomic_load_explicit(&r->shared->head, memory_order_acquire);
    if (r->in.tail - head > r->size)
        return RING_BROKEN;
    r->in.head_seen = head;
    return r->size - (r->in.tail - head) >= need ? RING_DONE : RING_NO;
}

/* Finds room for `span` bytes in one piece. *out_pad: what to skip up to the end of the lap. */
static enum ring_result place(struct ring *r, uint64_t span, uint64_t *out_pad)
{
    uint64_t offset = offset_of(r, r->in.tail);
    uint64_t rest = r->size - offset;
    if (offset >= r->lap) {
        enum ring_result early = reserve(r, rest + span + r->lap / 2);
        if (early != RING_NO) {
            *out_pad = rest;
            return early;
        }
    }
    *out_pad = span > rest ? rest : 0;
    return reserve(r, *out_pad + span);
}

enum ring_result ring_write(struct ring *r, const struct channel_part *parts, size_t count)
{
    uint64_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > ring_record_max(r) - len)
            return RING_NO;
        len += parts[i].len;
    }
    uint64_t pad, span = span_of(len);
    enum ring_result result = place(r, span, &pad);
    if (result != RING_DONE)
        return result;

    uint64_t offset = offset_of(r, r->in.tail);
    if (pad) {
        head_write(r, offset, RECORD_PAD, pad - RING_HEAD);
        offset = 0;
    }
    head_write(r, offset, RECORD_DATA, len);
    uint8_t *to = r->data + offset + RING_HEAD;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    r->in.tail += pad + span;
    atomic_store_explicit(&r->shared->tail, r->in.tail, memory_order_release);
    return RING_DONE;
}

/* Looks at the head at the consumer's position: copied once, then only the copy is believed. */
static enum ring_result head_read(const struct ring *r, uint32_t *out_kind, uint32_t *out_len)
{
    uint64_t available = r->out.tail_seen - r->out.head;
    uint64_t offset = offset_of(r, r->out.head);
    const uint32_t *head = (const uint32_t *)(const void *)(r->data + offset);
    uint32_t len = __atomic_load_n(&head[0], __ATOMIC_RELAXED);
    uint32_t kind = __atomic_load_n(&head[1], __ATOMIC_RELAXED);
    uint64_t span = span_of(len);
    if (available < CACHE_LINE || span > available || span > r->size - offset)
        return RING_BROKEN;
    bool sound = kind == RECORD_DATA ? len <= ring_record_max(r)
                                     : kind == RECORD_PAD && offset && span == r->size - offset;
    if (!sound)
        return RING_BROKEN;
    *out_kind = kind;
    *out_len = len;
    return RING_DONE;
}

static enum ring_result more(struct ring *r)
{
    if (r->out.head != r->out.tail_seen)
        return RING_DONE;
    uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
    if (tail - r->out.head > r->size)
        return RING_BROKEN;
    r->out.tail_seen = tail;
    return tail != r->out.head ? RING_DONE : RING_NO;
}

enum ring_result ring_peek(struct ring *r, const void **out_data, size_t *out_len)
{
    for (int step = 0; step < 2; step++) { /* a pad, then the record behind it */
        uint32_t kind = 0, len = 0;
        enum ring_result result = more(r);
        if (result == RING_DONE)
            result = head_read(r, &kind, &len);
        if (result != RING_DONE)
            return result;
        if (kind == RECORD_DATA) {
            *out_data = r->data + offset_of(r, r->out.head) + RING_HEAD;
            *out_len = len;
            r->out.taken = span_of(len);
            return RING_DONE;
        }
        r->out.head += span_of(len);
        atomic_store_explicit(&r->shared->head, r->out.head, memory_order_release);
    }
    return RING_BROKEN; /* the second one began at offset 0, where pads are refused */
}

void ring_consume(struct ring *r)
{
    CHECK(r->out.taken != 0);
    r->out.head += r->out.taken;
    r->out.taken = 0;
    atomic_store_explicit(&r->shared->head, r->out.head, memory_order_release);
}
