/*
 * bench_key: nanoseconds per key_parse, key_verify and base62_crc, best of nine rounds. Not a test;
 * build with optimisation and no sanitizer.
 */
#include "auth/base62.h"
#include "auth/key.h"

#include <stdio.h>
#include <string.h>

#define KEYS   1024
#define ROUNDS 9

static struct key_new keys[KEYS];
static struct key_ring *ring;
static struct key_checker *checker;

static bool parse_one(const struct key_new *key)
{
    char id[KEY_ID_LEN];
    return key_parse(ring, (struct str){ key->text, KEY_TEXT_LEN }, id) == KEY_OK;
}

static bool verify_one(const struct key_new *key)
{
    return key_verify(checker, (struct str){ key->text, KEY_TEXT_LEN }, key->pepper_version,
                      key->mac);
}

static bool crc_one(const struct key_new *key)
{
    char crc[BASE62_CRC];
    base62_crc((struct str){ key->text, KEY_TEXT_LEN - BASE62_CRC }, crc);
    return memcmp(crc, key->text + KEY_TEXT_LEN - BASE62_CRC, BASE62_CRC) == 0;
}

static void report(const char *name, bool (*one)(const struct key_new *))
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < 20 * KEYS; i++)
            CHECK(one(&keys[i % KEYS]));
        uint64_t took = clock_mono_ns() - start;
        best = took < best ? took : best;
    }
    printf("%-12s %6.1f ns\n", name, (double)best / (20 * KEYS));
}

int main(void)
{
    static const uint8_t id_key[32] = { 1 };
    static const struct key_pepper pepper = { 1, { 2 } };
    maas_error error = MAAS_ERROR_INIT;
    CHECK(key_ring_new(id_key, &pepper, 1, &ring, &error) == MAAS_OK);
    checker = key_checker_new(ring);
    for (int i = 0; i < KEYS; i++)
        key_make(ring, &keys[i]);
    report("key_parse", parse_one);
    report("base62_crc", crc_one);
    report("key_verify", verify_one);
    key_checker_free(checker);
    key_ring_free(ring);
    return 0;
}
