/*
 * base64.c: RFC 4648. Strict, so that one value has one text: unused bits must be zero.
 */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The length without padding; false: padding that does not fill up a group of four. */
static bool without_padding(struct str text, size_t *out_len)
{
    size_t len = text.len, padding = 0;
    while (padding < 2 && len && text.data[len - 1] == '=') {
        len--;
        padding++;
    }
    *out_len = len;
    return len % 4 != 1 && (padding == 0 || (len + padding) % 4 == 0);
}

bool base64_decode(struct str text, void *out, size_t *out_len)
{
    uint8_t *to = out;
    uint32_t bits = 0;
    size_t len;
    unsigned held = 0;
    if (!without_padding(text, &len))
        return false;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *to++ = (uint8_t)(bits >> held);
        }
    }
    *out_len = (size_t)(to - (uint8_t *)out);
    return (bits & ((1u << held) - 1)) == 0;
}

void base64_encode(struct buf *out, struct str bytes)
{
    const uint8_t *in = (const uint8_t *)bytes.data;
    for (size_t i = 0; i < bytes.len && !out->failed; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);
        const char text[4] = { alphabet[group >> 18], alphabet[group >> 12 & 63],
                               left > 1 ? alphabet[group >> 6 & 63] : '=',
                               left > 2 ? alphabet[group & 63] : '=' };
        buf_add(out, text, sizeof(text));
    }
}
