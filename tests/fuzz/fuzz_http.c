/*
 * fuzz_http: bytes from the wire into what the guard decides by: an HTTP/1 header, a chunked body
 * in two pieces, an HPACK block.
 */
#include "base/base.h"
#include "net/chunked.h"
#include "net/framing.h"
#include "net/hpack_count.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header(const char *bytes, size_t len)
{
    const struct framing f = framing_check(bytes, len, 20, 4096);
    CHECK(framing_text(f.verdict) != NULL);
    CHECK(f.verdict != FRAMING_OK || !(f.has_length && f.chunked));
    CHECK(f.verdict != FRAMING_OK || f.fields <= 20);
}

/* However the bytes arrive, the body is the same. */
static void chunks(const uint8_t *data, size_t len, size_t cut)
{
    struct phr_chunked_decoder whole = { 0 }, pieces = { 0 };
    char *a = malloc(len + 1), *b = malloc(len + 1);
    CHECK(a != NULL && b != NULL);
    memcpy(a, data, len);
    memcpy(b, data, len);
    size_t a_len = len, first = cut, second = len - cut;
    const ssize_t one = chunked_decode(&whole, a, &a_len);
    ssize_t two = chunked_decode(&pieces, b, &first);
    CHECK(first <= cut && a_len <= len);
    if (two == -2) {
        memmove(b + first, b + cut, second);
        two = chunked_decode(&pieces, b + first, &second);
        CHECK((one == -1) == (two == -1));
        CHECK(one == -1 || (a_len == first + second && memcmp(a, b, a_len) == 0));
    }
    free(a);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    const size_t len = size - 3, cut = len ? (size_t)(data[1] | data[2] << 8) % (len + 1) : 0;
    char *copy = malloc(len + 1);
    CHECK(copy != NULL);
    memcpy(copy, data + 3, len);
    if (data[0] % 3 == 0)
        header(copy, len);
    else if (data[0] % 3 == 1)
        chunks((const uint8_t *)copy, len, cut);
    else
        CHECK(hpack_count((const uint8_t *)copy, len, 100) <= 101);
    free(copy);
    return 0;
}
