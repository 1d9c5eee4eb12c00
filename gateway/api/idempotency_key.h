/*
 * idempotency_key.h: what an Idempotency-Key is and what it stands for: the field's form, whose key
 * it is, and which request it came with. [any] pure.
 */
#ifndef MAAS_API_IDEMPOTENCY_KEY_H
#define MAAS_API_IDEMPOTENCY_KEY_H

#include "base/base.h"

#define IDEMPOTENCY_KEY_MAX 255
#define IDEMPOTENCY_HASH    32

struct idempotency_key {
    char text[IDEMPOTENCY_KEY_MAX];
    size_t len;
};

/* A string of RFC 8941 in quotes, or the same bare; 1 to 255 visible ASCII characters without the
 * quotes. False when it is anything else. */
bool idempotency_key_parse(struct str field, struct idempotency_key *out);

/* The key's place among all: `realm` and `holder` say whose it is. No two pairs meet. */
void idempotency_scope(struct str realm, struct str holder, const struct idempotency_key *key,
                       uint8_t out[IDEMPOTENCY_HASH]);
/* SHA-256 over the traits that make two requests one, each with its length before it. */
void idempotency_fingerprint(const struct str *traits, size_t count, uint8_t out[IDEMPOTENCY_HASH]);

#endif
