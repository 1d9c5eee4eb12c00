/*
 * words.c: characters and words. Folding is simple on purpose: one character to one character, by
 * the regular parts of Unicode's tables (Latin, Greek, Cyrillic, full width), so that there is no
 * table and no locale. A text of any bytes is a sequence of characters; nothing is refused.
 */
#include "text.h"

#define BAD 0xfffdu

/* The length of the sequence that begins with this byte, and its bits; 0: it begins none. */
static unsigned lead(unsigned char c, uint32_t *out_bits)
{
    if (c < 0x80) {
        *out_bits = c;
        return 1;
    }
    unsigned length = c >= 0xf0 && c < 0xf5   ? 4
                      : c >= 0xe0 && c < 0xf0 ? 3
                      : c >= 0xc2 && c < 0xe0 ? 2
                                              : 0;
    *out_bits = length ? c & (0x7fu >> length) : 0;
    return length;
}

static uint32_t decode(struct reader *r)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *at = (const unsigned char *)r->at;
    uint32_t c;
    unsigned length = lead(*at, &c), i = 1;
    while (i < length && r->at + i < r->end && (at[i] & 0xc0) == 0x80)
        c = c << 6 | (at[i++] & 0x3f);
    if (length == 0 || i < length || c < least[length] || c > 0x10ffff ||
        (c >= 0xd800 && c < 0xe000)) {
        r->at++;
        return BAD;
    }
    r->at += length;
    return c;
}

/* Capital letters where small ones lie a fixed way behind, or capital and small ones alternate. */
static uint32_t fold(uint32_t c)
{
    if (c >= 0xff01 && c <= 0xff5e) /* full width */
        c -= 0xfee0;
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
        (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    if (c >= 0x400 && c <= 0x40f)
        return c + 80;
    if (c == 0x2019) /* an apostrophe as printers set it */
        return '\'';
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481))
        return c | 1;
    return c;
}

uint32_t words_character(struct reader *r)
{
    return fold(decode(r));
}

static bool is_single(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3fffd);
}

static bool is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'';
    /* beyond ASCII: everything but spaces, punctuation, symbols and what stands alone */
    return c >= 0xc0 && c != 0xd7 && c != 0xf7 && c != BAD && !is_single(c) &&
           !(c >= 0x2000 && c <= 0x2bff) && !(c >= 0x3000 && c <= 0x303f) &&
           !(c >= 0xfe10 && c <= 0xfe6f);
}

/* splitmix64's finaliser over the characters: a hash for buckets, the same on every machine. */
static uint64_t mix(uint64_t h, uint32_t c)
{
    h = (h ^ c) * 0xbf58476d1ce4e5b9u;
    return h ^ h >> 29;
}

static bool is_stop(uint32_t c)
{
    return c == '.' || c == ',' || c == ';' || c == ':' || c == '!' || c == '?' ||
           c == 0x3002 /* ideographic full stop */;
}

/* By its hash: what a word of these letters has. */
static uint64_t hash_of(const char *word)
{
    uint64_t h = mix(0x9e3779b97f4a7c15u, (unsigned char)word[0]);
    for (const char *at = word + 1; *at; at++)
        h = mix(h, (unsigned char)*at);
    return h;
}

static bool is_negating(const struct word *w)
{
    static const char *const words[] = { "not",     "no",     "never",  "neither", "nor",
                                         "without", "hardly", "cannot", "nothing" };
    if (w->to - w->from >= 3 && memcmp(w->to - 3, "n't", 3) == 0)
        return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if ((size_t)(w->to - w->from) == strlen(words[i]) && w->hash == hash_of(words[i]))
            return true;
    return false;
}

/* The rest of a word whose first character was read. */
static void read_letters(struct reader *r, struct word *w)
{
    while (r->at < r->end) {
        struct reader before = *r;
        uint32_t c = words_character(r);
        if (!is_letter(c)) {
            *r = before;
            return;
        }
        w->hash = mix(w->hash, c);
    }
}

bool words_next(struct reader *r, struct word *out)
{
    *out = (struct word){ 0 };
    while (r->at < r->end) {
        const char *from = r->at;
        uint32_t c = words_character(r);
        bool letter = is_letter(c), single = is_single(c);
        out->stop = out->stop || is_stop(c);
        if (!letter && !single && c != '!' && c != '?')
            continue;
        out->single = single;
        out->from = from;
        out->hash = mix(0x9e3779b97f4a7c15u, c);
        if (letter)
            read_letters(r, out);
        out->to = r->at;
        out->negates = letter && is_negating(out);
        return true;
    }
    return false;
}
