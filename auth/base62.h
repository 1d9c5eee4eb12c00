/*
 * base62.h: the alphabet 0-9A-Za-z as keys and tokens use it. Private to auth/. [any] pure, but for
 * base62_random.
 */
#ifndef MAAS_AUTH_BASE62_H
#define MAAS_AUTH_BASE62_H

#include "base/base.h"

/* The lowest `digits` base-62 digits of `number`, the highest of them first. */
void base62_encode(uint64_t number, char *out, size_t digits);
/* Uniformly random characters of the alphabet, from the kernel's generator. */
void base62_random(char *out, size_t count);
/* Whether every byte is of the alphabet; takes the same time wherever one is not. */
bool base62_is(struct str text);
/* The 6 base-62 digits of the CRC-32 (IEEE 802.3) of `text`. */
#define BASE62_CRC 6
void base62_crc(struct str text, char out[BASE62_CRC]);

#endif
