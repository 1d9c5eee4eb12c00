/* API keys: what is accepted, and that nothing else is. */
#include "auth/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static struct key_ring *ring_with(const char *peppers)
{
    static const char id_key[] =
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    struct key_ring *ring = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(key_ring_from_text(STR(id_key), str_of(peppers), &ring, &error), MAAS_OK);
    return ring;
}

#define P1 "1 a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\n"
#define P2 "# the new one\n2 c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\n"

static struct str text_of(const struct key_new *key)
{
    return (struct str){ key->text, KEY_TEXT_LEN };
}

static void a_made_key_is_parsed_and_verified(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_checker *checker = key_checker_new(ring);
    struct key_new key;
    char id[KEY_ID_LEN];
    for (int i = 0; i < 1000; i++) {
        key_make(ring, &key);
        assert_int_equal(strlen(key.text), KEY_TEXT_LEN);
        assert_int_equal(key_parse(ring, text_of(&key), id), KEY_OK);
        assert_memory_equal(id, key.id, KEY_ID_LEN);
        assert_true(key_verify(checker, text_of(&key), key.pepper_version, key.mac));
    }
    key_checker_free(checker);
    key_ring_free(ring);
}

static void any_typing_error_is_refused(void **state)
{
    (void)state;
    static const char replacements[] = "0Aaz_- \x80";
    struct key_ring *ring = ring_with(P1);
    struct key_new key;
    char id[KEY_ID_LEN], text[KEY_TEXT_LEN];
    key_make(ring, &key);
    for (size_t at = 0; at < KEY_TEXT_LEN; at++)
        for (size_t r = 0; r < sizeof(replacements) - 1; r++) {
            memcpy(text, key.text, KEY_TEXT_LEN);
            text[at] = replacements[r];
            if (text[at] != key.text[at])
                assert_int_not_equal(key_parse(ring, (struct str){ text, KEY_TEXT_LEN }, id),
                                     KEY_OK);
        }
    for (size_t len = 0; len < KEY_TEXT_LEN; len++)
        assert_int_equal(key_parse(ring, (struct str){ key.text, len }, id), KEY_MALFORMED);
    key_ring_free(ring);
}

static void a_key_of_another_installation_is_forged_or_wrong(void **state)
{
    (void)state;
    static const char other_id[] =
        "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    struct key_ring *ring = ring_with(P1), *other = NULL;
    maas_error error = MAAS_ERROR_INIT;
    struct key_new key;
    char id[KEY_ID_LEN];
    size_t forged = 0;
    assert_int_equal(key_ring_from_text(STR(other_id), STR(P1), &other, &error), MAAS_OK);
    for (int i = 0; i < 200; i++) {
        key_make(other, &key);
        forged += key_parse(ring, text_of(&key), id) == KEY_FORGED;
    }
    assert_true(forged >= 199); /* a tag has 62^4 values */
    key_ring_free(ring);
    key_ring_free(other);
}

static void a_wrong_secret_an_unknown_id_and_an_unknown_pepper_are_refused(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_checker *checker = key_checker_new(ring);
    struct key_new key, other;
    key_make(ring, &key);
    key_make(ring, &other);
    assert_false(key_verify(checker, text_of(&other), key.pepper_version, key.mac));
    assert_false(key_verify(checker, text_of(&key), key.pepper_version, NULL));
    assert_false(key_verify(checker, text_of(&key), 7, key.mac));
    key_checker_free(checker);
    key_ring_free(ring);
}

static void old_keys_live_on_when_a_pepper_is_added(void **state)
{
    (void)state;
    struct key_ring *before = ring_with(P1), *after = ring_with(P1 P2);
    struct key_checker *checker = key_checker_new(after);
    struct key_new old, fresh;
    key_make(before, &old);
    key_make(after, &fresh);
    assert_int_equal(old.pepper_version, 1);
    assert_int_equal(fresh.pepper_version, 2);
    assert_true(key_verify(checker, text_of(&old), 1, old.mac));
    assert_true(key_verify(checker, text_of(&fresh), 2, fresh.mac));
    assert_false(key_verify(checker, text_of(&old), 2, old.mac));
    key_checker_free(checker);
    key_ring_free(before);
    key_ring_free(after);
}

static void bad_secret_files_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "1 abcd\n", "0 " P1, P1 P1, "x\n", "70000 a0\n" };
    static const char id_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    struct key_ring *ring = NULL;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(key_ring_from_text(STR(id_key), str_of(bad[i]), &ring, &error),
                         MAAS_E_INVALID);
        assert_non_null(strstr(error.text, "pepper"));
    }
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(key_ring_from_text(STR("zz"), STR(P1), &ring, &error), MAAS_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_made_key_is_parsed_and_verified),
        cmocka_unit_test(any_typing_error_is_refused),
        cmocka_unit_test(a_key_of_another_installation_is_forged_or_wrong),
        cmocka_unit_test(a_wrong_secret_an_unknown_id_and_an_unknown_pepper_are_refused),
        cmocka_unit_test(old_keys_live_on_when_a_pepper_is_added),
        cmocka_unit_test(bad_secret_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
