/*
 * base62.h: the alphabet 0-9A-Za-z as keys and tokens use it. Private to auth/. [any] pure.
 */
#ifndef MAAS_AUTH_BASE62_H
#define MAAS_AUTH_BASE62_H

#include "base/base.h"

/* The big-endian number `in` as exactly `digits` base-62 digits; what does not fit is cut off at
 * the top. */
void base62_encode(const uint8_t *in, size_t len, char *out, size_t digits);
/* Uniformly random characters of the alphabet. */
void base62_random(char *out, size_t count);
bool base62_is(struct str text);
/* The 6 base-62 digits of the CRC-32 (IEEE) of `text`. */
#define BASE62_CRC 6
void base62_crc(struct str text, char out[BASE62_CRC]);

#endif
