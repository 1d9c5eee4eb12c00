/*
 * fuzz_idempotency: a header field into the parser of Idempotency-Key. What passes is visible ASCII
 * within its bound, and written in quotes it is the same key.
 */
#include "api/idempotency_key.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct idempotency_key *key)
{
    char quoted[2 * IDEMPOTENCY_KEY_MAX + 2];
    size_t len = 0;
    struct idempotency_key again;
    CHECK(key->len >= 1 && key->len <= IDEMPOTENCY_KEY_MAX);
    quoted[len++] = '"';
    for (size_t i = 0; i < key->len; i++) {
        CHECK(key->text[i] >= 0x21 && key->text[i] <= 0x7e);
        if (key->text[i] == '"' || key->text[i] == '\\')
            quoted[len++] = '\\';
        quoted[len++] = key->text[i];
    }
    quoted[len++] = '"';
    CHECK(idempotency_key_parse((struct str){ quoted, len }, &again));
    CHECK(again.len == key->len && memcmp(again.text, key->text, key->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct idempotency_key key;
    char *copy = malloc(size + 1); /* of its own, so that one byte too many is seen */
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    if (idempotency_key_parse((struct str){ copy, size }, &key))
        check(&key);
    free(copy);
    return 0;
}
