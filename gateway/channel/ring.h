/*
 * ring.h: one direction of one loop: a byte ring with one producer and one consumer, in memory that
 * both can write. Neither believes what the other wrote: the own position is private, the other's
 * is copied once and range-checked, and a record's length is checked before its bytes are handed
 * out. Private to the channel layer.
 *
 * Records are contiguous (readers get one pointer), begin on a cache line, and carry an 8-byte
 * head. A record never crosses the end of the ring: a pad fills the rest of the lap.
 */
#ifndef MAAS_CHANNEL_RING_H
#define MAAS_CHANNEL_RING_H

#include <stdalign.h>
#include <stdatomic.h>

#include "base/base.h"
#include "channel/channel.h"

#define RING_BYTES_MIN 4096u
#define RING_BYTES_MAX (256u << 20)
#define RING_HEAD      8u /* bytes before a record: u32 length, u32 kind */

/* Positions count bytes from the ring's birth and never wrap in practice (2^64 bytes). */
struct ring_shared {
    alignas(CACHE_LINE) _Atomic uint64_t head; /* consumer: everything before it is free again */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* producer: everything before it is readable */
};

struct ring {
    struct ring_shared *shared;
    uint8_t *data;
    uint64_t size, lap; /* lap: where the producer prefers to begin again, see ring.c */
    struct {            /* the producer's thread only */
        alignas(CACHE_LINE) uint64_t tail, head_seen;
    } in;
    struct { /* the consumer's thread only */
        alignas(CACHE_LINE) uint64_t head, tail_seen, taken;
    } out;
};

enum ring_result { RING_DONE, RING_NO, RING_BROKEN }; /* NO: full, or empty */

/* data: `size` bytes (a power of two, at least RING_BYTES_MIN), aligned to a cache line; lent. */
void ring_init(struct ring *r, struct ring_shared *shared, void *data, uint32_t size);
size_t ring_record_max(const struct ring *r);

enum ring_result ring_write(struct ring *r, const struct channel_part *parts, size_t count);

/* RING_DONE: *out_data are *out_len bytes in shared memory, the same record until ring_consume. */
enum ring_result ring_peek(struct ring *r, const void **out_data, size_t *out_len);
void ring_consume(struct ring *r); /* after a peek that said RING_DONE */

#endif
