/*
 * chain.h: the chain of segments of one event loop. One writer (the loop), one maker and syncer (a
 * thread), one reader (the shipper); they share atomics only. Event n (from 0) is record n of the
 * chain; its seq is n + 1 and is never used again in this spool.
 */
#ifndef MAAS_METER_CHAIN_H
#define MAAS_METER_CHAIN_H

#include <pthread.h>
#include <stdatomic.h>

#include "meter/record.h"

#define CHAIN_SEGMENTS_MAX 4096 /* alive at a time */

#define CHAIN_SPARES 2 /* shipped segments that wait to be used again */

struct segment {
    uint64_t number; /* in its file's name */
    int fd;
    uint8_t *data;
};

struct chain {
    char dir[512];
    uint32_t loop;
    uint64_t per_segment;  /* records */
    uint32_t segments_max; /* alive at a time: the cap in bytes */
    struct segment *_Atomic segments[CHAIN_SEGMENTS_MAX];
    struct segment *_Atomic spares[CHAIN_SPARES]; /* [shipper] puts, [syncer] takes */
    _Atomic uint64_t appended;                    /* [loop] writes */
    _Atomic uint64_t made;                        /* [syncer] segments made so far */
    _Atomic uint64_t removed;                     /* [shipper] segments removed so far */
    _Atomic uint64_t shipped;                     /* [shipper] events */
    uint64_t synced;                              /* [syncer] events */
    _Atomic bool failed;
    pthread_mutex_t files; /* a segment is not closed while it is synced */
};

void chain_init(struct chain *chain, const char *dir, uint32_t loop, uint32_t segment_bytes,
                uint64_t bytes_max);
/* [syncer] Makes segments ahead of need; syncs what is new. False when the disk refused: the chain
 * has failed then. */
bool chain_prepare(struct chain *chain);
bool chain_sync(struct chain *chain);
/* [loop] */
bool chain_ready(const struct chain *chain);
bool chain_append(struct chain *chain, const struct usage_event *event);
/* [shipper] Decodes up to `max` events from the first unshipped; says how many. */
uint32_t chain_read(struct chain *chain, struct usage_event *out, uint32_t max,
                    uint64_t *out_first_seq);
void chain_shipped(struct chain *chain, uint64_t count); /* lets go what is wholly shipped */
/* Unmaps; with `remove`, unlinks too. Nobody uses it any more. */
void chain_release(struct chain *chain, bool remove);

/* <dir>/<loop>-<number>.seg */
void chain_segment_path(char *out, size_t size, const char *dir, uint32_t loop, uint64_t number);

#endif
