/* API keys: what is accepted, and that nothing else is. */
#include "auth/base62.h"
#include "auth/key.h"
#include "auth/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
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
    static const char *const bad_ids[] = { "", "zz", "000102030405060708090a0b0c0d0e0f1011121314",
                                           " 000102030405060708090a0b0c0d0e0f"
                                           "101112131415161718191a1b1c1d1e1f",
                                           "000102030405060708090a0b0c0d0e0f"
                                           "101112131415161718191a1b1c1d1e1f\nmore" };
    for (size_t i = 0; i < COUNT_OF(bad_ids); i++) {
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(key_ring_from_text(str_of(bad_ids[i]), STR(P1), &ring, &error),
                         MAAS_E_INVALID);
        assert_non_null(strstr(error.text, "id key"));
    }
    assert_null(ring);
}

static void five_peppers_are_too_many_and_windows_line_ends_are_fine(void **state)
{
    (void)state;
    static const char hex[] = " a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";
    struct key_ring *ring = NULL;
    char text[512] = "";
    size_t len = 0;
    for (int i = 1; i <= 5; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%d%s\r\n", i, hex);
        if (i == 4)
            key_ring_free(ring_with(text));
    }
    maas_error error = MAAS_ERROR_INIT;
    static const char id_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    assert_int_equal(key_ring_from_text(STR(id_key), str_of(text), &ring, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "more than 4"));
}

/* What is stored is plain HMAC-SHA-256 of the whole key: computed here by OpenSSL's own HMAC. */
static void the_stored_mac_is_hmac_sha256_of_the_whole_key(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_new key;
    uint8_t pepper[32], want[KEY_MAC_LEN];
    unsigned len = 0;
    for (int i = 0; i < 32; i++)
        pepper[i] = (uint8_t)(0xa0 + i);
    for (int i = 0; i < 100; i++) {
        key_make(ring, &key);
        assert_non_null(HMAC(EVP_sha256(), pepper, sizeof(pepper), (const uint8_t *)key.text,
                             KEY_TEXT_LEN, want, &len));
        assert_memory_equal(want, key.mac, KEY_MAC_LEN);
    }
    key_ring_free(ring);
}

static void every_bit_of_the_stored_mac_counts(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_checker *checker = key_checker_new(ring);
    struct key_new key;
    key_make(ring, &key);
    for (size_t bit = 0; bit < 8 * KEY_MAC_LEN; bit++) {
        key.mac[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_false(key_verify(checker, text_of(&key), 1, key.mac));
        key.mac[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(key_verify(checker, text_of(&key), 1, key.mac));
    key_checker_free(checker);
    key_ring_free(ring);
}

/* A checksum that is right again after the change: only the tag stands between a stranger's id and
 * a look-up. */
static void a_forged_tag_with_a_right_checksum_is_refused(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_new key;
    char id[KEY_ID_LEN] = "untouch";
    for (size_t at = 10; at < 22; at++) {
        key_make(ring, &key);
        key.text[at] = key.text[at] == 'q' ? 'Q' : 'q';
        base62_crc((struct str){ key.text, KEY_TEXT_LEN - BASE62_CRC },
                   key.text + KEY_TEXT_LEN - BASE62_CRC);
        assert_int_equal(key_parse(ring, text_of(&key), id), KEY_FORGED);
        assert_memory_equal(id, "untouch", KEY_ID_LEN);
    }
    key_ring_free(ring);
}

static void the_crc_is_the_published_one_at_every_length(void **state)
{
    (void)state;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char text[80], crc[BASE62_CRC];
    for (size_t len = 0; len < sizeof(text); len++) {
        uint32_t want = ~0u; /* bit by bit, as the standard says it */
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(i * 37 + len);
            want ^= (uint8_t)text[i];
            for (int bit = 0; bit < 8; bit++)
                want = (want >> 1) ^ (0xedb88320u & (0u - (want & 1)));
        }
        base62_crc((struct str){ text, len }, crc);
        uint32_t got = 0;
        for (size_t i = 0; i < BASE62_CRC; i++)
            got = got * 62 + (uint32_t)(strchr(digits, crc[i]) - digits);
        assert_int_equal(got, (uint32_t)~want);
    }
    base62_crc(STR("123456789"), crc);
    assert_memory_equal(crc, "3jZRME", BASE62_CRC); /* 0xcbf43926 */
}

/* ---- the memory of what passed */

static void reference(const uint64_t key[2], struct str text, uint8_t out[16])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    size_t size = 16, len = 0;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                  OSSL_PARAM_construct_end() };
    assert_int_equal(EVP_MAC_init(context, (const uint8_t *)key, 16, params), 1);
    assert_int_equal(EVP_MAC_update(context, (const uint8_t *)text.data, text.len), 1);
    assert_int_equal(EVP_MAC_final(context, out, &len, 16), 1);
    assert_int_equal(len, 16);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

static void siphash_agrees_with_openssl_at_every_length(void **state)
{
    (void)state;
    uint64_t key[2], made[2];
    uint8_t theirs[16];
    char text[130];
    for (size_t len = 0; len < sizeof(text); len++) {
        random_bytes(key, sizeof(key));
        random_bytes(text, sizeof(text));
        siphash128(key, (struct str){ text, len }, made);
        reference(key, (struct str){ text, len }, theirs);
        assert_memory_equal(made, theirs, sizeof(theirs));
    }
}

static void only_the_very_text_that_passed_is_remembered(void **state)
{
    (void)state;
    struct key_ring *ring = ring_with(P1);
    struct key_checker *checker = key_checker_new(ring), *other = key_checker_new(ring);
    struct key_new key;
    struct key_memo memo = { .set = false };
    char id[KEY_ID_LEN], text[KEY_TEXT_LEN];
    key_make(ring, &key);
    assert_false(key_is_remembered(checker, text_of(&key), NULL));
    assert_false(key_is_remembered(checker, text_of(&key), &memo));
    assert_true(key_peek(text_of(&key), id));
    assert_memory_equal(id, key.id, KEY_ID_LEN);
    key_remember(checker, text_of(&key), &memo);
    assert_true(key_is_remembered(checker, text_of(&key), &memo));
    assert_false(key_is_remembered(other, text_of(&key), &memo)); /* each has a key of its own */
    for (size_t at = 0; at < KEY_TEXT_LEN; at++) {
        memcpy(text, key.text, KEY_TEXT_LEN);
        text[at] ^= 1;
        assert_false(key_is_remembered(checker, (struct str){ text, KEY_TEXT_LEN }, &memo));
    }
    assert_false(key_is_remembered(checker, (struct str){ key.text, KEY_TEXT_LEN - 1 }, &memo));
    assert_false(key_is_remembered(checker, (struct str){ "", 0 }, &memo));
    key_checker_free(other);
    key_checker_free(checker);
    key_ring_free(ring);
}

static void a_peek_wants_the_form_and_nothing_more(void **state)
{
    (void)state;
    char id[KEY_ID_LEN];
    char text[] = "maas_live_abcdefgh";
    assert_false(key_peek(STR(""), id));
    assert_false(key_peek(str_of(text), id));
    assert_false(key_peek(
        STR("maas_test_00000000000000000000000000000000000000000000000000000000000000"), id));
    assert_true(key_peek(
        STR("maas_live_00000000000000000000000000000000000000000000000000000000000000"), id));
    assert_memory_equal(id, "00000000", KEY_ID_LEN);
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
        cmocka_unit_test(five_peppers_are_too_many_and_windows_line_ends_are_fine),
        cmocka_unit_test(the_stored_mac_is_hmac_sha256_of_the_whole_key),
        cmocka_unit_test(every_bit_of_the_stored_mac_counts),
        cmocka_unit_test(a_forged_tag_with_a_right_checksum_is_refused),
        cmocka_unit_test(the_crc_is_the_published_one_at_every_length),
        cmocka_unit_test(siphash_agrees_with_openssl_at_every_length),
        cmocka_unit_test(only_the_very_text_that_passed_is_remembered),
        cmocka_unit_test(a_peek_wants_the_form_and_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
