/*
 * hpack_count.c: walks the representations of RFC 7541 section 6, skipping over strings.
 */
#include "net/hpack_count.h"

#include <stdbool.h>

/* Reads an integer with an n-bit prefix (section 5.1); false at the end of input or past 2^28. */
static bool read_int(const uint8_t **p, const uint8_t *end, unsigned prefix_bits, uint32_t *out)
{
    if (*p == end)
        return false;
    const uint32_t mask = (1u << prefix_bits) - 1;
    uint32_t value = *(*p)++ & mask;
    if (value == mask) {
        for (unsigned shift = 0;; shift += 7) {
            if (*p == end || shift > 21)
                return false;
            const uint8_t byte = *(*p)++;
            value += (uint32_t)(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0)
                break;
        }
    }
    *out = value;
    return true;
}

static bool skip_string(const uint8_t **p, const uint8_t *end)
{
    uint32_t len;
    if (!read_int(p, end, 7, &len) || len > (size_t)(end - *p))
        return false;
    *p += len;
    return true;
}

/* A literal field: an index or a name, then a value. */
static bool skip_literal(const uint8_t **p, const uint8_t *end, unsigned prefix_bits)
{
    uint32_t index;
    if (!read_int(p, end, prefix_bits, &index))
        return false;
    if (index == 0 && !skip_string(p, end))
        return false;
    return skip_string(p, end);
}

static bool skip_one(const uint8_t **p, const uint8_t *end)
{
    uint32_t value;
    const uint8_t first = **p;
    if (first & 0x80)
        return read_int(p, end, 7, &value); /* indexed */
    if (first & 0x40)
        return skip_literal(p, end, 6); /* literal, put into the table */
    if (first & 0x20)
        return read_int(p, end, 5, &value); /* table size update */
    return skip_literal(p, end, 4);         /* literal, not put into the table */
}

uint32_t hpack_count(const uint8_t *block, size_t len, uint32_t max)
{
    const uint8_t *p = block, *end = block + len;
    uint32_t count = 0;
    while (p != end && count <= max) {
        count++;
        if (!skip_one(&p, end))
            break;
    }
    return count;
}
