/*
 * features.c: n-grams of words, and of the characters of longer words. Characters that are words by
 * themselves (Chinese) make runs up to three whatever the option says of words: they are shorter
 * than words. Nothing is kept but the last few hashes, so a text of any length takes no memory.
 */
#include "text.h"

enum { SINGLE_NGRAMS = 3, CHAR_LEAST = 3, WORD_CHARS_MAX = 64 };

static uint32_t key_of(uint64_t hash, uint64_t kind)
{
    hash = (hash + kind) * 0x94d049bb133111ebu;
    hash ^= hash >> 31;
    hash *= 0xbf58476d1ce4e5b9u;
    uint32_t key = (uint32_t)(hash >> 32);
    return key ? key : 1;
}

/* Runs of characters of one word, its ends marked, so that "un" in front is another than inside. */
static void characters_of(const struct shape *shape, const struct word *w, uint32_t index,
                          feature_fn *fn, void *arg)
{
    uint32_t chars[WORD_CHARS_MAX + 2], count = 0;
    struct reader r = { w->from, w->to };
    chars[count++] = '<';
    while (r.at < r.end && count <= WORD_CHARS_MAX)
        chars[count++] = words_character(&r);
    chars[count++] = '>';
    for (uint32_t n = CHAR_LEAST; n <= shape->char_ngrams && n < count; n++)
        for (uint32_t i = 0; i + n <= count; i++) {
            uint64_t hash = n;
            for (uint32_t k = 0; k < n; k++)
                hash = hash * 0x100000001b3u ^ chars[i + k];
            fn(arg, key_of(hash, 1), index, index);
        }
}

/* The beginning of a word that is longer: much of what inflection changes is behind it. */
static void stem_of(const struct shape *shape, const struct word *w, uint32_t index, feature_fn *fn,
                    void *arg)
{
    struct reader r = { w->from, w->to };
    uint64_t hash = 0;
    uint32_t count = 0;
    while (r.at < r.end && count++ < shape->stem)
        hash = hash * 0x100000001b3u ^ words_character(&r);
    if (r.at < r.end)
        fn(arg, key_of(hash, 11), index, index);
}

uint32_t features_of(const struct shape *shape, maas_str text, feature_fn *fn, void *arg)
{
    struct reader r = { text.data, text.data + text.len };
    struct word w;
    uint64_t last[TEXT_NGRAM_MAX] = { 0 }; /* hashes of the words before, the nearest first */
    uint32_t count = 0, singles = 0;       /* singles: in a row, before this word */
    uint32_t negated = 0;                  /* words yet to come in reach of a negating one */
    for (; words_next(&r, &w); count++) {
        negated = w.stop ? 0 : negated;
        if (negated && negated--)
            w.hash ^= 0x5851f42d4c957f2du; /* another word than the plain one */
        if (w.negates)
            negated = shape->negation;
        uint32_t most = shape->word_ngrams;
        if (w.single && most < SINGLE_NGRAMS)
            most = singles + 1 < SINGLE_NGRAMS ? singles + 1 > most ? singles + 1 : most
                                               : SINGLE_NGRAMS;
        uint64_t hash = w.hash;
        fn(arg, key_of(hash, 0), count, count);
        for (uint32_t n = 2; n <= most && n <= count + 1; n++) {
            hash = hash * 0x100000001b3u ^ last[n - 2];
            fn(arg, key_of(hash, n), count + 1 - n, count);
        }
        if (shape->char_ngrams && !w.single)
            characters_of(shape, &w, count, fn, arg);
        if (shape->stem && !w.single)
            stem_of(shape, &w, count, fn, arg);
        for (uint32_t i = TEXT_NGRAM_MAX - 1; i > 0; i--)
            last[i] = last[i - 1];
        last[0] = w.hash;
        singles = w.single ? singles + 1 : 0;
    }
    return count;
}
