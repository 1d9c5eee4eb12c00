/*
 * checksum.h: what ends a model's file, against damage; against forgery there is the artifact's
 * digest.
 */
#ifndef DATASET_CHECKSUM_H
#define DATASET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a of 64 bits (Fowler, Noll, Vo). */
static inline uint64_t checksum_of(const uint8_t *bytes, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    return sum;
}

#endif
