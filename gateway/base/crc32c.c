/*
 * crc32c.c: CRC-32C (Castagnoli), as RFC 3720 has it: the processor's instruction where there is
 * one, a table of 256 entries elsewhere. Eight bytes a step, one stream: a usage record or a frame
 * is too short for three interleaved streams to pay.
 */
#include "base/crc32c.h"

#include <string.h>

static uint32_t table[256];

__attribute__((constructor)) static void table_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (0x82f63b78u & (0u - (c & 1)));
        table[i] = c;
    }
}

uint32_t crc32c_plain(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *at = data;
    crc = ~crc;
    while (len--)
        crc = table[(crc ^ *at++) & 255] ^ (crc >> 8);
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, const uint8_t *at,
                                                              size_t len)
{
    uint64_t c = ~crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    crc = (uint32_t)c;
    while (len--)
        crc = __builtin_ia32_crc32qi(crc, *at++);
    return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_fast(crc, data, len);
#endif
    return crc32c_plain(crc, data, len);
}
