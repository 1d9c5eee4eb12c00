/*
 * token.c: admin tokens and roles. A token is hashed once per admin call, so EVP_Digest's look-up
 * of the algorithm (300 ns) is nothing here.
 */
#include "auth/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "auth/base62.h"

#define PREFIX     "maas_admin_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define CRC_AT     (TOKEN_TEXT_LEN - BASE62_CRC)

_Static_assert(PREFIX_LEN + 43 + BASE62_CRC == TOKEN_TEXT_LEN, "token form");

static void digest(const char *text, uint8_t out[TOKEN_HASH_LEN])
{
    CHECK(EVP_Digest(text, TOKEN_TEXT_LEN, out, NULL, EVP_sha256(), NULL) == 1);
}

struct str bearer_of(struct str authorization)
{
    if (authorization.len > 7 && strncasecmp(authorization.data, "bearer ", 7) == 0)
        return (struct str){ authorization.data + 7, authorization.len - 7 };
    return (struct str){ "", 0 };
}

void token_make(struct token_new *out)
{
    memcpy(out->text, PREFIX, PREFIX_LEN);
    base62_random(out->text + PREFIX_LEN, CRC_AT - PREFIX_LEN);
    base62_crc((struct str){ out->text, CRC_AT }, out->text + CRC_AT);
    out->text[TOKEN_TEXT_LEN] = '\0';
    digest(out->text, out->hash);
}

bool token_hash(struct str text, uint8_t out_hash[TOKEN_HASH_LEN])
{
    char crc[BASE62_CRC];
    if (text.len != TOKEN_TEXT_LEN || memcmp(text.data, PREFIX, PREFIX_LEN) != 0 ||
        !base62_is((struct str){ text.data + PREFIX_LEN, TOKEN_TEXT_LEN - PREFIX_LEN }))
        return false;
    base62_crc((struct str){ text.data, CRC_AT }, crc);
    if (memcmp(crc, text.data + CRC_AT, BASE62_CRC) != 0)
        return false;
    digest(text.data, out_hash);
    return true;
}

bool token_equal(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN])
{
    return CRYPTO_memcmp(a, b, TOKEN_HASH_LEN) == 0;
}

static const char *const roles[] = { "none", "viewer", "operator", "tenant-admin", "owner" };

enum admin_role role_parse(struct str text)
{
    for (size_t i = 1; i < COUNT_OF(roles); i++)
        if (str_eq(text, str_of(roles[i])))
            return (enum admin_role)i;
    return ROLE_NONE;
}

const char *role_name(enum admin_role role)
{
    return (size_t)role < COUNT_OF(roles) ? roles[role] : roles[0];
}
