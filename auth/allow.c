/*
 * allow.c: prefixes compared bit by bit. Lists are short, so they are walked.
 */
#include "auth/allow.h"

#include <arpa/inet.h>
#include <string.h>

#define TEXT_MAX 64

static bool address_of(const char *text, uint8_t out[16], bool *out_v4)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    *out_v4 = inet_pton(AF_INET, text, out + 12) == 1;
    if (*out_v4)
        memcpy(out, mapped, sizeof(mapped));
    return *out_v4 || inet_pton(AF_INET6, text, out) == 1;
}

/* Digits without a leading zero, at most `most`. */
static bool bits_of(const char *text, unsigned most, unsigned *out)
{
    unsigned n = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9' && i < 4; i++)
        n = n * 10 + (unsigned)(text[i] - '0');
    *out = n;
    return i > 0 && text[i] == '\0' && n <= most && !(text[0] == '0' && i > 1);
}

static bool bit_of(const uint8_t bytes[16], unsigned i)
{
    return bytes[i / 8] >> (7 - i % 8) & 1;
}

static bool same_prefix(const uint8_t a[16], const uint8_t b[16], unsigned bits)
{
    unsigned whole = bits / 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return bits % 8 == 0 || (a[whole] ^ b[whole]) >> (8 - bits % 8) == 0;
}

static bool parse(char *text, struct allow_range *out)
{
    char *slash = strchr(text, '/');
    bool v4;
    unsigned bits;
    if (slash)
        *slash = '\0';
    if (!address_of(text, out->bytes, &v4))
        return false;
    bits = v4 ? 32 : 128;
    if (slash && !bits_of(slash + 1, bits, &bits))
        return false;
    out->bits = (uint8_t)(bits + (v4 ? 96 : 0));
    for (unsigned i = out->bits; i < 128; i++)
        if (bit_of(out->bytes, i))
            return false;
    return true;
}

maas_status allow_add(struct allow_set *set, struct str range, maas_error *error)
{
    char text[TEXT_MAX];
    struct allow_range one;
    if (set->count == ALLOW_MAX)
        return fail(error, MAAS_E_EXHAUSTED, "more than %d ranges", ALLOW_MAX);
    if (range.len >= sizeof(text) || memchr(range.data, '\0', range.len))
        return fail(error, MAAS_E_INVALID, "an address or a range like 192.0.2.0/24 is expected");
    memcpy(text, range.data, range.len);
    text[range.len] = '\0';
    if (!parse(text, &one))
        return fail(error, MAAS_E_INVALID,
                    "'%.*s' is not an address or a range like 192.0.2.0/24 or 2001:db8::/32",
                    (int)range.len, range.data);
    set->ranges[set->count++] = one;
    return MAAS_OK;
}

bool allow_has(const struct allow_set *set, const char *peer)
{
    uint8_t address[16];
    bool v4;
    if (set->count == 0)
        return true;
    if (!address_of(peer, address, &v4))
        return false;
    for (uint32_t i = 0; i < set->count; i++)
        if (same_prefix(set->ranges[i].bytes, address, set->ranges[i].bits))
            return true;
    return false;
}

static bool is_within(const struct allow_set *outer, const struct allow_range *inner)
{
    for (uint32_t i = 0; i < outer->count; i++)
        if (outer->ranges[i].bits <= inner->bits &&
            same_prefix(outer->ranges[i].bytes, inner->bytes, outer->ranges[i].bits))
            return true;
    return false;
}

bool allow_covers(const struct allow_set *outer, const struct allow_set *inner)
{
    if (outer->count == 0)
        return true;
    for (uint32_t i = 0; i < inner->count; i++)
        if (!is_within(outer, &inner->ranges[i]))
            return false;
    return inner->count > 0;
}
