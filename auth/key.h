/*
 * key.h: API keys. Bytes in, verdict out; no I/O, no clock of its own.
 *
 *     maas_live_<8 base62 id><4 base62 tag>_<43 base62 secret><6 base62 crc>      72 characters
 *
 * id      public; what the database and the logs know
 * tag     truncated HMAC-SHA-256 of the id under the id key: refuses a forged id without a look-up
 * secret  256 random bits
 * crc     CRC-32 (IEEE) of all characters before it: refuses a typing error at once
 *
 * Stored is HMAC-SHA-256(pepper[version], whole key). Pepper and id key live outside the database.
 * [any] All functions are pure but key_make (the kernel's random bytes); a ring and a checker never
 * change after they are made.
 */
#ifndef MAAS_AUTH_KEY_H
#define MAAS_AUTH_KEY_H

#include "base/base.h"

#define KEY_TEXT_LEN    72
#define KEY_ID_LEN      8
#define KEY_MAC_LEN     32
#define KEY_PEPPERS_MAX 4

struct key_ring; /* the id key and the peppers by version, absorbed */

struct key_pepper {
    uint16_t version; /* 1..65535 */
    uint8_t secret[32];
};

/* Copies the secrets. The last pepper given signs new keys. */
maas_status MUST_USE key_ring_new(const uint8_t id_key[32], const struct key_pepper *peppers,
                                  size_t pepper_count, struct key_ring **out, maas_error *error);
void key_ring_free(struct key_ring *ring); /* wipes the secrets */

/* HMAC-SHA-256 of `text` under a pepper, for what else must be bound to it (seal.h). Version 0 is
 * the newest. False: there is no such version. */
bool key_ring_mac(const struct key_ring *ring, uint16_t version, struct str text,
                  uint8_t out[KEY_MAC_LEN], uint16_t *out_version);

enum key_form {
    KEY_OK,
    KEY_MALFORMED, /* not our form at all */
    KEY_TYPO,      /* our form, wrong checksum */
    KEY_FORGED,    /* right checksum, the tag is not ours */
};

/* Checks form, checksum and tag; on KEY_OK id holds the 8 characters. About 300 ns,
 * nothing allocated. */
enum key_form key_parse(const struct key_ring *ring, struct str text, char out_id[KEY_ID_LEN]);

/* The right to check keys against a ring, which must outlive it. [any] Checks allocate nothing and
 * change nothing. */
struct key_checker;
struct key_checker *key_checker_new(const struct key_ring *ring);
void key_checker_free(struct key_checker *c);

/*
 * Constant time in the key's bytes. With `stored` NULL (unknown id) does the same work against a
 * dummy and says false. An unknown pepper version says false after the same work.
 */
bool key_verify(struct key_checker *c, struct str text, uint16_t pepper_version,
                const uint8_t stored[KEY_MAC_LEN]);

/*
 * A key that passed is remembered by a keyed hash of its whole text (128 bits, under a random key
 * of the checker), so that the next request with it costs a fifth of an HMAC and no secret is kept.
 * The memory belongs to the record the key was verified against and ends with it.
 */
struct key_memo { /* zeroed: nothing is remembered */
    uint64_t hash[2];
    bool set;
};
/* The id that a text of our form would have, without checking more of it. */
bool key_peek(struct str text, char out_id[KEY_ID_LEN]);
void key_remember(const struct key_checker *c, struct str text, struct key_memo *memo);
/* Whether this very text was remembered. Constant time in its bytes; the same work with `memo`
 * NULL, which says false. */
bool key_is_remembered(const struct key_checker *c, struct str text, const struct key_memo *memo);

/* Makes a new key. `out_text` is the only place the secret ever stands: show once, wipe. */
struct key_new {
    char text[KEY_TEXT_LEN + 1];
    char id[KEY_ID_LEN + 1];
    uint16_t pepper_version;
    uint8_t mac[KEY_MAC_LEN];
};
void key_make(const struct key_ring *ring, struct key_new *out);

/*
 * The ring from the texts of its two files: the id key as 64 hex digits, the peppers as lines
 * "version hex64" (empty lines and lines that begin with # are passed over). The caller wipes the
 * texts.
 */
maas_status MUST_USE key_ring_from_text(struct str id_key, struct str peppers,
                                        struct key_ring **out, maas_error *error);

#endif
