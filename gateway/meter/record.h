/*
 * record.h: one usage event on disk: fixed size, versioned, with a CRC. [any] pure.
 *
 *     0 magic "MUE1"   4 crc-32c of bytes 8…   8 seq   16 at_us   24 tenant 40 key 56 model 72
 * deployment 88 request (16 bytes each) 104 units   112 version 116 rows 120 compute_us 124
 * latency_us   128 http_status 130 surface 131…135 microseconds from admission to at little-endian
 */
#ifndef MAAS_METER_RECORD_H
#define MAAS_METER_RECORD_H

#include "meter/meter.h"

#define RECORD_BYTES 136

void record_encode(uint8_t out[RECORD_BYTES], uint64_t seq, const struct usage_event *event);
/* False unless magic, CRC and seq are right. */
bool record_decode(const uint8_t in[RECORD_BYTES], uint64_t seq, struct usage_event *out);

#endif
