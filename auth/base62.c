/*
 * base62.c: base-62 digits, random ones by rejection (a byte of 248 or more is thrown away, so
 * every character is equally likely), and the CRC-32 that catches typing errors.
 */
#include "auth/base62.h"

#include <string.h>

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void base62_encode(const uint8_t *in, size_t len, char *out, size_t digits)
{
    uint8_t number[64];
    CHECK(len <= sizeof(number));
    memcpy(number, in, len);
    for (size_t d = digits; d-- > 0;) {
        uint32_t rest = 0;
        for (size_t i = 0; i < len; i++) {
            uint32_t part = rest * 256 + number[i];
            number[i] = (uint8_t)(part / 62);
            rest = part % 62;
        }
        out[d] = alphabet[rest];
    }
}

void base62_random(char *out, size_t count)
{
    uint8_t bytes[64];
    size_t have = 0;
    for (size_t at = 0; at < count;) {
        if (have == 0) {
            random_bytes(bytes, sizeof(bytes));
            have = sizeof(bytes);
        }
        uint8_t b = bytes[--have];
        if (b < 248)
            out[at++] = alphabet[b % 62];
    }
    memset(bytes, 0, sizeof(bytes));
}

bool base62_is(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
            return false;
    }
    return true;
}

static uint32_t crc_table[256];

__attribute__((constructor)) static void crc_table_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (0xedb88320u & (0u - (c & 1)));
        crc_table[i] = c;
    }
}

void base62_crc(struct str text, char out[BASE62_CRC])
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < text.len; i++)
        crc = crc_table[(crc ^ (uint8_t)text.data[i]) & 255] ^ (crc >> 8);
    crc = ~crc;
    for (size_t d = BASE62_CRC; d-- > 0; crc /= 62)
        out[d] = alphabet[crc % 62];
}
