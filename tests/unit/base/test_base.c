/* base: ids, hex, CRC, JSON strings, bounded buffers. */
#include "base/base.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void a_uuid_survives_text_and_nothing_else_is_one(void **state)
{
    (void)state;
    struct uuid id, back;
    char text[UUID_TEXT_MAX];
    for (int i = 0; i < 1000; i++) {
        uuid_random(&id);
        uuid_format(&id, text);
        assert_int_equal(text[14], '4');
        assert_true(uuid_parse(str_of(text), &back));
        assert_true(uuid_eq(&id, &back));
    }
    static const char *const bad[] = { "",
                                       "0",
                                       "00000000000000000000000000000000",
                                       "g0000000-0000-0000-0000-000000000000",
                                       "00000000-0000-0000-0000-0000000000000",
                                       "00000000-0000-0000-00000-00000000000" };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(uuid_parse(str_of(bad[i]), &back));
}

static void crc32c_gives_the_published_check_value(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    static const uint8_t zeros[32];
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
}

static void hashes_differ_by_every_byte_and_length(void **state)
{
    (void)state;
    uint8_t data[32] = { 0 };
    uint64_t seen[33 + 32];
    size_t n = 0;
    for (size_t len = 0; len <= 32; len++)
        seen[n++] = hash_bytes(data, len);
    for (size_t i = 0; i < 32; i++) {
        data[i] = 1;
        seen[n++] = hash_bytes(data, 32);
        data[i] = 0;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
}

static void json_strings_are_escaped_and_always_utf8(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        { { "a\"b\\c\n\x01", 7 }, "\"a\\\"b\\\\c\\n\\u0001\"" },
        { { "\xe4\xbd\xa0", 3 }, "\"\xe4\xbd\xa0\"" },
        { { "\xff", 1 }, "\"\xef\xbf\xbd\"" },
        { { "\xc0\xaf", 2 }, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* overlong */
        { { "\xed\xa0\x80", 3 }, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
        { { "\xe4\xbd", 2 }, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* cut */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b;
        buf_init(&b, 1024);
        buf_json(&b, cases[i].in);
        assert_true(str_eq(buf_view(&b), str_of(cases[i].out)));
        buf_release(&b);
    }
}

static void a_buffer_never_grows_past_its_cap(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 300);
    for (int i = 0; i < 29; i++)
        buf_fmt(&b, "%010d", i);
    assert_int_equal(b.len, 290);
    buf_str(&b, STR("12345678901"));
    assert_true(b.failed);
    assert_int_equal(b.len, 290);
    assert_true(b.size <= 300);
    buf_clear(&b);
    buf_str(&b, STR("x"));
    assert_false(b.failed);
    buf_release(&b);
}

static void hex_is_strict(void **state)
{
    (void)state;
    uint8_t out[2];
    char text[5];
    assert_true(hex_decode(STR("0aFf"), out, 2));
    hex_encode(out, 2, text);
    assert_string_equal(text, "0aff");
    assert_false(hex_decode(STR("0aF"), out, 2));
    assert_false(hex_decode(STR("0aFg"), out, 2));
    assert_false(hex_decode(STR("0aFf00"), out, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_survives_text_and_nothing_else_is_one),
        cmocka_unit_test(crc32c_gives_the_published_check_value),
        cmocka_unit_test(hashes_differ_by_every_byte_and_length),
        cmocka_unit_test(json_strings_are_escaped_and_always_utf8),
        cmocka_unit_test(a_buffer_never_grows_past_its_cap),
        cmocka_unit_test(hex_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
