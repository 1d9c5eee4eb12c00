/*
 * token.h: admin tokens, `maas_admin_<43 base62 secret><6 base62 crc>`; stored as SHA-256 only (256
 * random bits need no pepper), compared in constant time. [any] pure but token_make.
 */
#ifndef MAAS_AUTH_TOKEN_H
#define MAAS_AUTH_TOKEN_H

#include "base/base.h"

/* What an Authorization field of the scheme Bearer carries, admin token or API key; empty when it
 * is of another scheme. Borrowed. */
struct str bearer_of(struct str authorization);

#define TOKEN_TEXT_LEN 60
#define TOKEN_HASH_LEN 32

struct token_new {
    char text[TOKEN_TEXT_LEN + 1];
    uint8_t hash[TOKEN_HASH_LEN];
};
void token_make(struct token_new *out);
/* False when the form or checksum is wrong; else fills the hash to look up or compare. */
bool token_hash(struct str text, uint8_t out_hash[TOKEN_HASH_LEN]);
bool token_equal(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN]);

enum admin_role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_TENANT_ADMIN, ROLE_OWNER };
enum admin_role role_parse(struct str text);
const char *role_name(enum admin_role role);

#endif
