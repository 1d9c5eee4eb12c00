/*
 * instant.h: moments as people write them in control bodies: RFC 3339, "2026-01-31T12:00:00Z", with
 * or without a fraction, Z or an offset. [any] pure.
 */
#ifndef MAAS_BASE_INSTANT_H
#define MAAS_BASE_INSTANT_H

#include "base/base.h"

/* Microseconds since 1970. False when it is no such text, or a moment before 1970 or after 9999. */
bool instant_parse(struct str text, uint64_t *out_us);

#endif
