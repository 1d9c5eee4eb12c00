/*
 * seal.h: bytes that only the holder of a credential can read again: AES-256-GCM under a key that
 * is made of a pepper and the credential's own text, so a database that holds the sealed bytes has
 * neither half. [any] pure, but for the nonce (the kernel's random bytes).
 *
 *     0 form (1)   1 pepper version, big-endian   3 nonce (12)   15 ciphertext   tag (16)
 *
 * The key is HMAC-SHA-256(pepper, "idempotency" || credential). Nonces are random: a credential
 * seals far less than the 2^32 messages that this bounds.
 */
#ifndef MAAS_AUTH_SEAL_H
#define MAAS_AUTH_SEAL_H

#include "auth/key.h"

#define SEAL_OVERHEAD 31

struct seal_key { /* secret: wiped by its owner with seal_key_wipe */
    uint8_t secret[32];
    uint16_t pepper_version;
};

/* Under the newest pepper: for what is sealed now. */
void seal_key_make(const struct key_ring *ring, struct str credential, struct seal_key *out);
/* Under the pepper that `sealed` names. False: it is not our form, or that pepper is gone. */
bool seal_key_for(const struct key_ring *ring, struct str sealed, struct str credential,
                  struct seal_key *out);
void seal_key_wipe(struct seal_key *key);

/* Writes plain.len + SEAL_OVERHEAD bytes. `context` is not stored, but must be the same to open:
 * what the bytes belong to. */
void seal(const struct seal_key *key, struct str context, struct str plain, uint8_t *out);
/* Writes sealed.len - SEAL_OVERHEAD bytes. False, and nothing of the plain bytes is left in `out`,
 * when one bit of sealed, context or key is another. */
bool seal_open(const struct seal_key *key, struct str context, struct str sealed, uint8_t *out);

#endif
