/* The Idempotency-Key: which fields are one, and which requests are the same. */
#include "api/idempotency_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void a_key_is_a_quoted_string_or_the_same_bare(void **state)
{
    (void)state;
    static const struct {
        const char *field, *key;
    } good[] = { { "a", "a" },
                 { "\"a\"", "a" },
                 { "8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
                 { "\"8e03978e-40d5\"", "8e03978e-40d5" },
                 { "\"a\\\"b\\\\c\"", "a\"b\\c" },
                 { "a;b=c~!", "a;b=c~!" },
                 { "a\"", "a\"" } };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct idempotency_key key;
        assert_true(idempotency_key_parse(str_of(good[i].field), &key));
        assert_int_equal(key.len, strlen(good[i].key));
        assert_memory_equal(key.text, good[i].key, key.len);
    }
}

static void what_is_no_key_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "\"",     "\"\"",      "\"a",  "a b",  "\"a b\"",     "\"a\"b\"", "\"a\\b\"",
        "\"a\\\"", "\"a\" ", "\"a\";p=1", "a\tb", "\x7f", "caf\xc3\xa9", "\"\\\""
    };
    struct idempotency_key key;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (idempotency_key_parse(str_of(bad[i]), &key))
            fail_msg("'%s' passed", bad[i]);
    assert_false(idempotency_key_parse((struct str){ "a\0b", 3 }, &key));
}

static void the_length_is_bounded_without_the_quotes(void **state)
{
    (void)state;
    char text[IDEMPOTENCY_KEY_MAX + 3];
    struct idempotency_key key;
    memset(text, 'x', sizeof(text));
    text[0] = text[IDEMPOTENCY_KEY_MAX + 1] = '"';
    assert_true(idempotency_key_parse((struct str){ text, IDEMPOTENCY_KEY_MAX + 2 }, &key));
    assert_true(idempotency_key_parse((struct str){ text + 1, IDEMPOTENCY_KEY_MAX }, &key));
    memset(text, 'x', sizeof(text));
    assert_false(idempotency_key_parse((struct str){ text, IDEMPOTENCY_KEY_MAX + 1 }, &key));
    text[0] = text[IDEMPOTENCY_KEY_MAX + 2] = '"';
    assert_false(idempotency_key_parse((struct str){ text, IDEMPOTENCY_KEY_MAX + 3 }, &key));
}

static void scope(const char *realm, const char *holder, const char *text, uint8_t out[32])
{
    struct idempotency_key key;
    assert_true(idempotency_key_parse(str_of(text), &key));
    idempotency_scope(str_of(realm), str_of(holder), &key, out);
}

static void keys_of_different_holders_never_meet(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    scope("key", "one", "k", a);
    scope("key", "one", "\"k\"", b);
    assert_memory_equal(a, b, 32);
    static const char *const others[][3] = {
        { "key", "two", "k" }, { "token", "one", "k" }, { "key", "one", "K" }, { "key", "on", "ek" }
    };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        scope(others[i][0], others[i][1], others[i][2], b);
        assert_memory_not_equal(a, b, 32);
    }
}

static void a_fingerprint_sees_every_trait_and_where_it_ends(void **state)
{
    (void)state;
    const struct str traits[] = { STR("POST"), STR("/v1/x"), STR(""), STR("body") };
    uint8_t a[32], b[32];
    idempotency_fingerprint(traits, COUNT_OF(traits), a);
    idempotency_fingerprint(traits, COUNT_OF(traits), b);
    assert_memory_equal(a, b, 32);
    for (size_t i = 0; i < COUNT_OF(traits); i++) {
        struct str other[COUNT_OF(traits)];
        memcpy(other, traits, sizeof(other));
        other[i] = STR("another");
        idempotency_fingerprint(other, COUNT_OF(other), b);
        assert_memory_not_equal(a, b, 32);
    }
    const struct str moved[] = { STR("POST"), STR("/v1/"), STR("x"), STR("body") };
    idempotency_fingerprint(moved, COUNT_OF(moved), b);
    assert_memory_not_equal(a, b, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_a_quoted_string_or_the_same_bare),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(the_length_is_bounded_without_the_quotes),
        cmocka_unit_test(keys_of_different_holders_never_meet),
        cmocka_unit_test(a_fingerprint_sees_every_trait_and_where_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
