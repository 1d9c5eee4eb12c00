/*
 * mac.h: HMAC-SHA-256 under a secret that was absorbed once. Private to auth/. [any] pure.
 */
#ifndef MAAS_AUTH_MAC_H
#define MAAS_AUTH_MAC_H

#include <openssl/sha.h>

#include "base/base.h"

#define MAC_LEN 32

/* SHA-256 after the inner and after the outer pad: as secret as the secret itself. */
struct mac_key {
    SHA256_CTX inner, outer;
};

void mac_key_init(struct mac_key *key, const uint8_t secret[32]);
void mac_key_wipe(struct mac_key *key);
void mac_make(const struct mac_key *key, struct str text, uint8_t out[MAC_LEN]);

#endif
