/*
 * hpack_count.h: how many header fields an HPACK block stands for, without decoding it. Pure.
 * Private to net.
 *
 * Against the header bomb: one byte of HPACK may name a field of any size, so the wire length of a
 * block bounds nothing; its number of fields does.
 */
#ifndef MAAS_NET_HPACK_COUNT_H
#define MAAS_NET_HPACK_COUNT_H

#include <stddef.h>
#include <stdint.h>

/* Counts fields and table size updates; stops past `max`. A malformed block is counted up to the
 * fault: refusing it is the decoder's part. */
uint32_t hpack_count(const uint8_t *block, size_t len, uint32_t max);

#endif
