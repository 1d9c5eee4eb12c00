/* base: ids, hex, CRC, files, clocks, JSON strings, bounded buffers. */
#include "base/base.h"
#include "base/buf.h"
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    assert_int_equal(crc32c_plain(0, "123456789", 9), 0xe3069283u);
}

static void crc32c_is_the_same_with_and_without_the_instruction(void **state)
{
    (void)state;
    uint8_t data[200];
    random_bytes(data, sizeof(data));
    for (size_t from = 0; from < 9; from++)
        for (size_t len = 0; len + from <= sizeof(data); len++)
            assert_int_equal(crc32c((uint32_t)len, data + from, len),
                             crc32c_plain((uint32_t)len, data + from, len));
}

static void borrowed_strings_compare_by_bytes(void **state)
{
    (void)state;
    struct str none = { NULL, 0 };
    assert_true(str_eq(none, STR("")));
    assert_true(str_eq(str_of(NULL), none));
    assert_true(str_eq(STR("a\0b"), (struct str){ "a\0b", 3 }));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("ab"), STR("abc")));
    assert_true(str_prefix(STR("abc"), STR("ab")));
    assert_true(str_prefix(STR("abc"), none));
    assert_false(str_prefix(STR("ab"), STR("abc")));
    assert_false(str_prefix(none, STR("a")));
}

static void failing_returns_its_status_and_never_overflows(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    char text[1000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal((fail)(NULL, MAAS_E_RANGE, "%s", text), MAAS_E_RANGE);
    assert_int_equal((fail)(&error, MAAS_E_INVALID, "%s", text), MAAS_E_INVALID);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char content[] = "one\0two\n";
    char dir[] = "/tmp/maas-base-XXXXXX", path[64], *data = NULL;
    size_t len = 0;
    maas_error error = MAAS_ERROR_INIT;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    assert_int_equal(file_read(path, 100, &data, &len, &error), MAAS_E_NOT_FOUND);
    assert_non_null(strstr(error.text, path));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fwrite(content, 1, sizeof(content), f);
    fclose(f);
    assert_int_equal(file_read(path, sizeof(content) - 1, &data, &len, &error), MAAS_E_EXHAUSTED);
    assert_int_equal(file_read(dir, 100, &data, &len, &error), MAAS_E_INVALID);
    assert_null(data);
    assert_int_equal(file_read(path, sizeof(content), &data, &len, &error), MAAS_OK);
    assert_int_equal(len, sizeof(content));
    assert_memory_equal(data, content, sizeof(content));
    assert_int_equal(data[len], 0);
    free(data);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes: this must not wait */
    assert_int_equal(file_read(path, 100, &data, &len, &error), MAAS_E_INVALID);
    unlink(path);
    rmdir(dir);
}

static void clocks_move_forward_in_their_units(void **state)
{
    (void)state;
    uint64_t mono = clock_mono_ns(), real = clock_real_us();
    usleep(2000);
    assert_true(clock_mono_ns() - mono >= 2000000);
    assert_in_range(clock_real_us() - real, 1000, 10000000);
    assert_true(real / 1000000 > 1700000000 && real / 1000000 < 10000000000);
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

static void a_buffer_can_be_filled_to_the_last_byte(void **state)
{
    (void)state;
    struct buf b;
    for (size_t n = 250; n < 260; n++) { /* short and long ways of buf_fmt */
        buf_init(&b, n + 1);
        buf_str(&b, STR("x"));
        buf_fmt(&b, "%0*d", (int)n, 7);
        assert_false(b.failed);
        assert_int_equal(b.len, n + 1);
        assert_int_equal(b.data[n], '7');
        buf_fmt(&b, "%s", "");
        assert_false(b.failed);
        buf_fmt(&b, "%d", 1);
        assert_true(b.failed);
        buf_release(&b);
    }
    buf_init(&b, 0);
    buf_add(&b, "x", 1);
    assert_true(b.failed);
    assert_int_equal(buf_view(&b).len, 0);
    buf_release(&b);
}

static void whole_numbers_are_written_in_decimal(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_uint(&b, 0);
    buf_str(&b, STR(" "));
    buf_uint(&b, 1000);
    buf_str(&b, STR(" "));
    buf_uint(&b, UINT64_MAX);
    assert_true(str_eq(buf_view(&b), STR("0 1000 18446744073709551615")));
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
        cmocka_unit_test(crc32c_is_the_same_with_and_without_the_instruction),
        cmocka_unit_test(borrowed_strings_compare_by_bytes),
        cmocka_unit_test(failing_returns_its_status_and_never_overflows),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
        cmocka_unit_test(clocks_move_forward_in_their_units),
        cmocka_unit_test(a_buffer_can_be_filled_to_the_last_byte),
        cmocka_unit_test(whole_numbers_are_written_in_decimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
