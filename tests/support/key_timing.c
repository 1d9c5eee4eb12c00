/*
 * key_timing.c: what refusing a key takes, by what is wrong with it: each check timed by itself,
 * the three kinds in turn, every key a fresh one. Prints the medians in nanoseconds.
 *
 *     maas-key-timing [CHECKS]     wrong secret of a known id · an unknown id · a forged id
 *
 * It is the gateway's decision once it has its answer about the id (api/request.c): is this very
 * text remembered, is its form ours, does its secret fit. What the answer itself takes differs
 * between an id that is cached and one that is looked up; the tag lets nobody ask for ids of his
 * own making.
 */
#include "auth/base62.h"
#include "auth/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { WRONG_SECRET, UNKNOWN_ID, FORGED_ID, KINDS };
static const char *const names[KINDS] = { "wrong_secret", "unknown_id", "forged_id" };

struct candidate {
    char text[KEY_TEXT_LEN];
    const struct key_new *known; /* whose id it has; NULL: nobody's */
};

#define SECRET_AT (KEY_TEXT_LEN - BASE62_CRC - 43)

static void candidate_of(enum kind kind, struct key_ring *ring, struct key_ring *other,
                         struct key_new *known, struct candidate *out)
{
    struct key_new made;
    key_make(kind == FORGED_ID ? other : ring, &made);
    memcpy(out->text, made.text, KEY_TEXT_LEN);
    out->known = NULL;
    if (kind != WRONG_SECRET)
        return;
    key_make(ring, known);
    memcpy(out->text, known->text, SECRET_AT); /* its id and tag before another's secret */
    base62_crc((struct str){ out->text, KEY_TEXT_LEN - BASE62_CRC },
               out->text + KEY_TEXT_LEN - BASE62_CRC);
    out->known = known;
}

/* As step_authenticate and verify do. */
static bool passes(const struct key_ring *ring, struct key_checker *checker,
                   const struct candidate *c)
{
    static const struct key_memo nothing;
    const struct str text = { c->text, KEY_TEXT_LEN };
    char id[KEY_ID_LEN];
    if (!key_peek(text, id) || key_is_remembered(checker, text, c->known ? &nothing : NULL))
        return false;
    if (key_parse(ring, text, id) != KEY_OK)
        return false;
    return key_verify(checker, text, c->known ? c->known->pepper_version : 0,
                      c->known ? c->known->mac : NULL);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static const uint8_t id_key[32] = { 1 }, other_key[32] = { 2 };
    static const struct key_pepper pepper = { 1, { 3 } };
    size_t checks = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    struct key_ring *ring, *other;
    uint32_t *took[KINDS];
    CHECK(checks > 0 && key_ring_new(id_key, &pepper, 1, &ring, NULL) == MAAS_OK &&
          key_ring_new(other_key, &pepper, 1, &other, NULL) == MAAS_OK);
    struct key_checker *checker = key_checker_new(ring);
    for (int kind = 0; kind < KINDS; kind++)
        CHECK((took[kind] = calloc(checks, sizeof(uint32_t))));
    for (size_t i = 0; i < checks * KINDS; i++) {
        enum kind kind = (enum kind)(i % KINDS);
        struct candidate c;
        struct key_new known;
        candidate_of(kind, ring, other, &known, &c);
        uint64_t start = clock_mono_ns();
        CHECK(!passes(ring, checker, &c));
        took[kind][i / KINDS] = (uint32_t)(clock_mono_ns() - start);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        qsort(took[kind], checks, sizeof(uint32_t), by_value);
        printf("%s %" PRIu32 "\n", names[kind], took[kind][checks / 2]);
        free(took[kind]);
    }
    key_checker_free(checker);
    key_ring_free(ring);
    key_ring_free(other);
    return 0;
}
