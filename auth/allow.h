/*
 * allow.h: from which addresses a key may be used: a list of ranges, empty for everywhere. IPv4 is
 * kept as IPv6 maps it (::ffff:a.b.c.d), so both forms of an address are one. [any] pure.
 */
#ifndef MAAS_AUTH_ALLOW_H
#define MAAS_AUTH_ALLOW_H

#include "base/base.h"

#define ALLOW_MAX 32

struct allow_set { /* zeroed: everywhere */
    uint32_t count;
    struct allow_range {
        uint8_t bytes[16];
        uint8_t bits; /* of the 128 */
    } ranges[ALLOW_MAX];
};

/* Adds "192.0.2.0/24", "2001:db8::/32", or one address. MAAS_E_INVALID names what is wrong, also
 * bits beyond the prefix; MAAS_E_EXHAUSTED past ALLOW_MAX. */
maas_status MUST_USE allow_add(struct allow_set *set, struct str range, maas_error *error);
/* `peer` is a textual address; one that cannot be read is allowed by the empty list only. */
bool allow_has(const struct allow_set *set, const char *peer);
/* Every address of `inner` is in `outer`, which an empty inner list is only in an empty one. */
bool allow_covers(const struct allow_set *outer, const struct allow_set *inner);

#endif
