/*
 * siphash.h: SipHash-2-4 with 128 bits out (Aumasson and Bernstein, 2012): a keyed hash for short
 * texts, some 60 ns for an API key, a sixth of an HMAC-SHA-256. Without the key nobody can make
 * two texts meet or tell a value from chance. Private to auth/. [any] pure.
 */
#ifndef MAAS_AUTH_SIPHASH_H
#define MAAS_AUTH_SIPHASH_H

#include "base/base.h"

void siphash128(const uint64_t key[2], struct str text, uint64_t out[2]);

#endif
