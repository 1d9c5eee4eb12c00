/* Header fields of answers: the bytes that RFC 7541 gives, and every length of the integer code. */
#include "net/hpack_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define FIELD(index, name, value, wanted)                                                          \
    do {                                                                                           \
        uint8_t made[256];                                                                         \
        const uint8_t *end = hpack_put_field(made, index, STR(name), STR(value));                  \
        assert_int_equal(end - made, sizeof(wanted) - 1);                                          \
        assert_memory_equal(made, wanted, sizeof(wanted) - 1);                                     \
    } while (0)

static void a_field_is_a_literal_without_indexing(void **state)
{
    (void)state;
    FIELD(4, "", "/sample/path", "\x04\x0c/sample/path");         /* RFC 7541, C.2.2 */
    FIELD(0, "password", "secret", "\x00\x08password\x06secret"); /* C.2.3, but for "never" */
    FIELD(54, "", "maas", "\x0f\x27\x04maas");
    FIELD(15, "", "", "\x0f\x00\x00");
    FIELD(14, "", "", "\x0e\x00");
}

static void a_status_is_one_byte_when_the_static_table_has_it(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *bytes;
        size_t len;
    } cases[] = { { 200, "\x88", 1 },
                  { 204, "\x89", 1 },
                  { 206, "\x8a", 1 },
                  { 304, "\x8b", 1 },
                  { 400, "\x8c", 1 },
                  { 404, "\x8d", 1 },
                  { 500, "\x8e", 1 },
                  { 429,
                    "\x08\x03"
                    "429",
                    5 },
                  { 100,
                    "\x08\x03"
                    "100",
                    5 },
                  { 999,
                    "\x08\x03"
                    "999",
                    5 } };
    uint8_t made[HPACK_STATUS_MAX];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(hpack_put_status(made, cases[i].status) - made, cases[i].len);
        assert_memory_equal(made, cases[i].bytes, cases[i].len);
    }
}

/* RFC 7541, 5.1, read back. */
static size_t read_integer(const uint8_t **at, unsigned prefix_bits)
{
    const size_t most = ((size_t)1 << prefix_bits) - 1;
    size_t value = *(*at)++ & most;
    if (value < most)
        return value;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t byte = *(*at)++;
        value += (size_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

static void names_and_values_of_any_length_are_read_back_and_keep_to_their_bound(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 126, 127, 128, 254, 255, 16509, 16510, 70000 };
    char *text = malloc(70000);
    memset(text, 'x', 70000);
    for (size_t n = 0; n < COUNT_OF(lengths); n++)
        for (size_t v = 0; v < COUNT_OF(lengths); v++) {
            const size_t most = hpack_field_max(lengths[n], lengths[v]);
            uint8_t *made = malloc(most); /* the sanitizer sees one byte too many */
            const uint8_t *at = made,
                          *end = hpack_put_field(made, 0, (struct str){ text, lengths[n] },
                                                 (struct str){ text, lengths[v] });
            assert_int_equal(*at++, 0);
            assert_int_equal(read_integer(&at, 7), lengths[n]);
            at += lengths[n];
            assert_int_equal(read_integer(&at, 7), lengths[v]);
            assert_ptr_equal(at + lengths[v], end);
            assert_true((size_t)(end - made) <= most);
            free(made);
        }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_a_literal_without_indexing),
        cmocka_unit_test(a_status_is_one_byte_when_the_static_table_has_it),
        cmocka_unit_test(names_and_values_of_any_length_are_read_back_and_keep_to_their_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
