/*
 * hpack_write.c: no dynamic table and no Huffman code. The library's encoder looks through 32
 * entries for each field and puts each new value in; but the values of our answers (an id, times,
 * what is left of a limit) are new each time, so it searches, evicts and allocates for nothing: a
 * fifth of an answer's cost. It also never reads the client's SETTINGS_HEADER_TABLE_SIZE, so a
 * client that allows no table could not read its blocks. The price is some 200 bytes an answer.
 */
#include "net/hpack_write.h"

#include <string.h>

enum { INTEGER_MAX = 6, STATUS_NAME = 8 /* ":status" in the static table */ };

static uint8_t *put_integer(uint8_t *at, uint8_t head, unsigned prefix_bits, size_t value)
{
    const size_t most = ((size_t)1 << prefix_bits) - 1;
    if (value < most) {
        *at++ = (uint8_t)(head | value);
        return at;
    }
    *at++ = (uint8_t)(head | most);
    for (value -= most; value >= 128; value >>= 7)
        *at++ = (uint8_t)(value | 128);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_string(uint8_t *at, struct str s)
{
    at = put_integer(at, 0, 7, s.len);
    memcpy(at, s.data, s.len);
    return at + s.len;
}

size_t hpack_field_max(size_t name_len, size_t value_len)
{
    return 3 * INTEGER_MAX + name_len + value_len;
}

uint8_t *hpack_put_field(uint8_t *at, unsigned index, struct str name, struct str value)
{
    at = put_integer(at, 0, 4, index);
    if (index == 0)
        at = put_string(at, name);
    return put_string(at, value);
}

/* The seven statuses of the static table are one byte. */
static unsigned status_index(int status)
{
    static const int known[] = { 200, 204, 206, 304, 400, 404, 500 };
    for (unsigned i = 0; i < COUNT_OF(known); i++)
        if (known[i] == status)
            return 8 + i;
    return 0;
}

uint8_t *hpack_put_status(uint8_t *at, int status)
{
    const unsigned index = status_index(status);
    char text[3] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
                     (char)('0' + status % 10) };
    if (index != 0)
        return put_integer(at, 0x80, 7, index);
    return hpack_put_field(at, STATUS_NAME, STR(""), (struct str){ text, sizeof(text) });
}
