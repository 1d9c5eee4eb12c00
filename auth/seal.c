/*
 * seal.c: AES-256-GCM through EVP. A cipher context is made for each call (some 300 ns): sealing is
 * for answers that a caller asked to keep, each of which costs a database transaction.
 */
#include "auth/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define FORM      1
#define NONCE_AT  3
#define NONCE_LEN 12
#define CIPHER_AT 15
#define TAG_LEN   16
#define PURPOSE   "idempotency"
#define TEXT_MAX  256 /* of a credential with the purpose before it */

_Static_assert(CIPHER_AT + TAG_LEN == SEAL_OVERHEAD && NONCE_AT + NONCE_LEN == CIPHER_AT,
               "the sealed form");

static bool derive(const struct key_ring *ring, uint16_t version, struct str credential,
                   struct seal_key *out)
{
    char text[TEXT_MAX] = PURPOSE;
    const size_t purpose = sizeof(PURPOSE) - 1;
    CHECK(credential.len <= sizeof(text) - purpose);
    if (credential.len)
        memcpy(text + purpose, credential.data, credential.len);
    bool known = key_ring_mac(ring, version, (struct str){ text, purpose + credential.len },
                              out->secret, &out->pepper_version);
    OPENSSL_cleanse(text, sizeof(text));
    return known;
}

void seal_key_make(const struct key_ring *ring, struct str credential, struct seal_key *out)
{
    CHECK(derive(ring, 0, credential, out));
}

bool seal_key_for(const struct key_ring *ring, struct str sealed, struct str credential,
                  struct seal_key *out)
{
    if (sealed.len < SEAL_OVERHEAD || sealed.data[0] != FORM)
        return false;
    const uint8_t *version = (const uint8_t *)sealed.data + 1;
    const uint16_t number = (uint16_t)(version[0] << 8 | version[1]);
    return number && derive(ring, number, credential, out);
}

void seal_key_wipe(struct seal_key *key)
{
    OPENSSL_cleanse(key, sizeof(*key));
}

static const uint8_t *bytes_of(struct str s)
{
    return (const uint8_t *)(s.len ? s.data : "");
}

void seal(const struct seal_key *key, struct str context, struct str plain, uint8_t *out)
{
    int n = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CHECK(c && context.len <= INT32_MAX && plain.len <= INT32_MAX);
    out[0] = FORM;
    out[1] = (uint8_t)(key->pepper_version >> 8);
    out[2] = (uint8_t)key->pepper_version;
    random_bytes(out + NONCE_AT, NONCE_LEN);
    CHECK(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->secret, out + NONCE_AT) == 1);
    CHECK(EVP_EncryptUpdate(c, NULL, &n, bytes_of(context), (int)context.len) == 1);
    CHECK(EVP_EncryptUpdate(c, out + CIPHER_AT, &n, bytes_of(plain), (int)plain.len) == 1);
    CHECK((size_t)n == plain.len && EVP_EncryptFinal_ex(c, out + CIPHER_AT + n, &n) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, out + CIPHER_AT + plain.len) == 1);
    EVP_CIPHER_CTX_free(c);
}

bool seal_open(const struct seal_key *key, struct str context, struct str sealed, uint8_t *out)
{
    int n = 0;
    uint8_t tag[TAG_LEN];
    const uint8_t *in = bytes_of(sealed);
    if (sealed.len < SEAL_OVERHEAD || sealed.len > INT32_MAX || context.len > INT32_MAX)
        return false;
    const size_t len = sealed.len - SEAL_OVERHEAD;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CHECK(c);
    memcpy(tag, in + CIPHER_AT + len, TAG_LEN);
    bool good = EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->secret, in + NONCE_AT) == 1 &&
                EVP_DecryptUpdate(c, NULL, &n, bytes_of(context), (int)context.len) == 1 &&
                EVP_DecryptUpdate(c, out, &n, in + CIPHER_AT, (int)len) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1 &&
                EVP_DecryptFinal_ex(c, out + len, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!good)
        OPENSSL_cleanse(out, len);
    return good;
}
