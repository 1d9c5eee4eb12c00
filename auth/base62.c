/*
 * base62.c: base-62 digits, random ones by rejection (a byte of 248 or more is thrown away, so
 * every character is equally likely), and the CRC-32 that catches typing errors.
 *
 * Every request checks a key of 72 characters, so neither loop branches on a character: random text
 * makes such branches unpredictable, and that cost four times the HMAC. The alphabet is a table;
 * the CRC takes eight bytes a step from eight tables of 1 KiB (hardware has no instruction for
 * this polynomial, and the carry-less multiplication gains nothing at 66 bytes).
 */
#include "auth/base62.h"

#include <openssl/crypto.h>
#include <string.h>

#define CRC_STEP 8

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static uint8_t foreign[256];              /* 1 for bytes outside the alphabet */
static uint32_t crc_table[CRC_STEP][256]; /* [k][b]: the CRC of b with k zero bytes behind it */

__attribute__((constructor)) static void tables_init(void)
{
    memset(foreign, 1, sizeof(foreign));
    for (size_t i = 0; i < sizeof(alphabet) - 1; i++)
        foreign[(uint8_t)alphabet[i]] = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (0xedb88320u & (0u - (c & 1)));
        crc_table[0][i] = c;
    }
    for (size_t k = 1; k < CRC_STEP; k++)
        for (size_t i = 0; i < 256; i++) {
            uint32_t c = crc_table[k - 1][i];
            crc_table[k][i] = crc_table[0][c & 255] ^ (c >> 8);
        }
}

void base62_encode(uint64_t number, char *out, size_t digits)
{
    for (size_t d = digits; d-- > 0; number /= 62)
        out[d] = alphabet[number % 62];
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
    OPENSSL_cleanse(bytes, sizeof(bytes));
}

bool base62_is(struct str text)
{
    unsigned any = 0;
    for (size_t i = 0; i < text.len; i++)
        any |= foreign[(uint8_t)text.data[i]];
    return any == 0;
}

static uint32_t crc_eight(uint32_t crc, const uint8_t at[CRC_STEP])
{
    uint32_t head = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                           (uint32_t)at[3] << 24);
    return crc_table[7][head & 255] ^ crc_table[6][(head >> 8) & 255] ^
           crc_table[5][(head >> 16) & 255] ^ crc_table[4][head >> 24] ^ crc_table[3][at[4]] ^
           crc_table[2][at[5]] ^ crc_table[1][at[6]] ^ crc_table[0][at[7]];
}

void base62_crc(struct str text, char out[BASE62_CRC])
{
    const uint8_t *at = (const uint8_t *)text.data, *end = at + text.len;
    uint32_t crc = ~0u;
    for (; end - at >= CRC_STEP; at += CRC_STEP)
        crc = crc_eight(crc, at);
    for (; at < end; at++)
        crc = crc_table[0][(crc ^ *at) & 255] ^ (crc >> 8);
    base62_encode(~crc, out, BASE62_CRC);
}
