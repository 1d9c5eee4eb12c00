/*
 * lease.h: tokens in hand, spent by all loops through atomics. Time is an argument.
 *
 * Two slots, so that a refill can come before the last lease is used up and each token keeps its
 * own expiry; the older is spent first. A slot's word is {generation, tokens}; its expiry is
 * written between two new generations, so whoever took from a word has read the expiry that belongs
 * to it.
 */
#ifndef MAAS_LIMITS_LEASE_H
#define MAAS_LIMITS_LEASE_H

#include <stdatomic.h>

#include "base/base.h"

struct lease_slot {
    _Atomic uint64_t word;       /* generation << 32 | tokens */
    _Atomic uint64_t expires_ns; /* spend only before it */
};
struct lease { /* zeroed memory is an empty lease */
    struct lease_slot slots[2];
    _Atomic uint32_t older; /* index of the slot that expires first */
};
struct lease_taken { /* what to give back, and to whom */
    uint32_t generation[2], tokens[2];
};

/* Tokens that may be spent at `now_ns`: exact when nobody else spends. [any] */
uint64_t lease_tokens(const struct lease *lease, uint64_t now_ns);
/* All of `cost` or nothing. `out_left`: what remains. [any] */
bool lease_take(struct lease *lease, uint32_t cost, uint64_t now_ns, struct lease_taken *out_taken,
                uint64_t *out_left);
/* Undoes a take, as far as the leases it came from are still the ones in hand; the rest is lost.
 * [any]
 */
void lease_give_back(struct lease *lease, const struct lease_taken *taken);

/* The next two belong to whoever holds the bucket's refill: one caller at a time. */
void lease_install(struct lease *lease, uint32_t tokens, uint64_t expires_ns, uint64_t now_ns);
uint64_t lease_raw(const struct lease *lease); /* tokens, expired ones too */

#endif
