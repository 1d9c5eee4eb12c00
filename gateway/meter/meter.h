/*
 * meter.h: usage events into a local spool that survives kill -9, and the shipper that moves them
 * into PostgreSQL exactly once.
 *
 *     loop: meter_append → shared mapping (CRC) → [syncer, every 10 ms] disk → [shipper]
 * usage_append() → usage_events
 *
 * Guarantee: an event appended before the last byte of the answer left is billed exactly once,
 * whatever is killed. Full or failing spool: meter_append says so and the caller refuses the work
 * (503) before doing it: see meter_ready.
 */
#ifndef MAAS_METER_H
#define MAAS_METER_H

#include "base/base.h"

struct meter;     /* [any] the process' spools, syncer and shipper */
struct meter_tap; /* [loop] one chain of segments, single writer */

struct meter_config {
    const char *dir; /* holds one folder per spool, named by its UUID */
    uint32_t loops;
    uint64_t bytes_max; /* of the whole spool (1 GiB): beyond it meter_ready is false */
    uint32_t segment_bytes;
    uint32_t sync_ms; /* 10 */
    uint32_t call_timeout_ms;
    const char *conninfo; /* as maas_gateway */
};

/* One billed answer. The record on disk is fixed-size, versioned, CRC'ed; seq is given by the tap.
 */
struct usage_event {
    uint64_t at_us;       /* wall clock */
    uint64_t admitted_us; /* likewise, at most at_us: it decides to which period this counts */
    struct uuid tenant, key, model, deployment, request;
    uint32_t version; /* of the model */
    uint32_t rows;
    uint64_t units;
    uint32_t compute_us, latency_us;
    uint16_t http_status;
    uint8_t surface; /* enum surface of channel/frame.h */
};

/* Opens a new spool under dir, adopts those whose owner is gone (their flock is free), starts
 * syncer and shipper. */
maas_status MUST_USE meter_start(const struct meter_config *config, struct meter **out,
                                 maas_error *error);
/* Ships what it can within `ms`, then stops; what is left waits on disk for the next incarnation.
 */
void meter_stop(struct meter *meter, uint32_t ms);
/* The spool stays when it is empty, too: its adoption tells the database that this incarnation is
 * dead. Before meter_stop. */
void meter_leave(struct meter *meter);
struct meter_tap *meter_tap(struct meter *meter, uint32_t loop);

/* [loop] True while an append of one more event is sure to succeed: asked at admission. */
bool meter_ready(const struct meter_tap *tap);
/* [loop] Never blocks. MAAS_E_EXHAUSTED or MAAS_E_DATA_LOSS when the spool is full or failed. */
maas_status MUST_USE meter_append(struct meter_tap *tap, const struct usage_event *event,
                                  maas_error *error);

/* [loop] An answer that is billed in a transaction of the caller's own, not through the spool: its
 * number beside the spool's, from 1 on, and, once that is done, its place in the counters. */
uint64_t meter_number(struct meter_tap *tap);
void meter_count(struct meter_tap *tap);
/* The name of this process in the database for as long as it lives. [any] */
struct uuid meter_spool(const struct meter *meter);

struct meter_counts { /* [any] */
    uint64_t appended, shipped, pending, sync_failures, ship_failures, adopted, bytes;
    uint64_t last_ship_us; /* wall clock of the last success; 0: never */
};
void meter_counts(const struct meter *meter, struct meter_counts *out);

#endif
