/*
 * idempotency_key.c: see the header. Every hashed part has its length before it, so that no part
 * can pass for another's end.
 */
#include "api/idempotency_key.h"

#include <openssl/evp.h>
#include <string.h>

static bool is_visible(char c)
{
    return c >= 0x21 && c <= 0x7e;
}

static bool add(struct idempotency_key *key, char c)
{
    if (!is_visible(c) || key->len == IDEMPOTENCY_KEY_MAX)
        return false;
    key->text[key->len++] = c;
    return true;
}

/* Between the quotes: a quote and a backslash stand behind a backslash only. */
static bool add_quoted(struct idempotency_key *key, struct str inner)
{
    for (size_t i = 0; i < inner.len; i++) {
        char c = inner.data[i];
        if (c == '"')
            return false;
        if (c == '\\') {
            if (++i == inner.len || (inner.data[i] != '"' && inner.data[i] != '\\'))
                return false;
            c = inner.data[i];
        }
        if (!add(key, c))
            return false;
    }
    return true;
}

bool idempotency_key_parse(struct str field, struct idempotency_key *out)
{
    bool good = true;
    out->len = 0;
    if (field.len && field.data[0] == '"')
        good = field.len >= 2 && field.data[field.len - 1] == '"' &&
               add_quoted(out, (struct str){ field.data + 1, field.len - 2 });
    else
        for (size_t i = 0; i < field.len && good; i++)
            good = add(out, field.data[i]);
    return good && out->len > 0;
}

void idempotency_fingerprint(const struct str *traits, size_t count, uint8_t out[IDEMPOTENCY_HASH])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    CHECK(c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < count; i++) {
        const uint64_t len = traits[i].len;
        CHECK(EVP_DigestUpdate(c, &len, sizeof(len)) == 1 &&
              EVP_DigestUpdate(c, traits[i].len ? traits[i].data : "", traits[i].len) == 1);
    }
    CHECK(EVP_DigestFinal_ex(c, out, NULL) == 1);
    EVP_MD_CTX_free(c);
}

void idempotency_scope(struct str realm, struct str holder, const struct idempotency_key *key,
                       uint8_t out[IDEMPOTENCY_HASH])
{
    const struct str parts[] = { realm, holder, { key->text, key->len } };
    idempotency_fingerprint(parts, COUNT_OF(parts), out);
}
