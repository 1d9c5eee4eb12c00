/* Reading and writing JSON: the border to simdjson and std::to_chars. */
#include "codec_test.h"

#include <math.h>

static struct json_reader *reader;

static struct json_value parsed(const char *text)
{
    struct json_value root;
    maas_error error = MAAS_ERROR_INIT;
    if (json_parse(reader, str_of(text), 0, 1 << 20, &root, &error) != MAAS_OK)
        fail_msg("%s: %s", text, error.text);
    return root;
}

static void not_parsed(const char *text, const char *words)
{
    struct json_value root;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(json_parse(reader, str_of(text), 0, 1 << 20, &root, &error), MAAS_E_INVALID);
    if (!strstr(error.text, words))
        fail_msg("%s: '%s'", text, error.text);
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      " ",         "{",         "[1,]",     "{\"a\":1,}",
        "nul",   "'a'",       "01",        "1e",       "NaN",
        "-inf",  "{\"a\" 1}", "[1 2]",     "\"\x01\"", "\"a",
        "[1]]",  "1 2",       "\"\\x\"",   "[1e999]",  "99999999999999999999",
        "{a:1}", "\xff",      "\"\xc3(\"",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        not_parsed(bad[i], "not valid JSON");
}

static void depth_is_capped(void **state)
{
    (void)state;
    char text[64] = "";
    memset(text, '[', 30);
    memset(text + 30, ']', 30);
    not_parsed(text, "deeper than 16");
    assert_int_equal(json_type(parsed("[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]")), JSON_ARRAY);
}

static void a_body_over_the_limit_is_refused_unread(void **state)
{
    (void)state;
    struct json_value root;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(json_parse(reader, STR("[1,2,3]"), 0, 6, &root, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "more than 6 bytes"));
}

static void values_know_their_type(void **state)
{
    (void)state;
    struct json_iter iter =
        json_children(parsed("[null,true,-1,18446744073709551615,1.5,\"s\",[],{}]"));
    static const enum json_type types[] = { JSON_NULL, JSON_BOOL,   JSON_INTEGER, JSON_INTEGER,
                                            JSON_REAL, JSON_STRING, JSON_ARRAY,   JSON_OBJECT };
    struct json_value value;
    struct str key;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        assert_true(json_next(&iter, &key, &value));
        assert_int_equal(json_type(value), types[i]);
    }
    assert_false(json_next(&iter, &key, &value));
}

static void members_come_in_their_order_with_unescaped_keys(void **state)
{
    (void)state;
    struct json_iter iter = json_children(parsed("{\"b\":1,\"\\u0061\\n\":2}"));
    struct json_value value;
    struct str key;
    int64_t number = 0;
    assert_true(json_next(&iter, &key, &value));
    assert_true(str_eq(key, STR("b")));
    assert_true(json_next(&iter, &key, &value));
    assert_true(str_eq(key, STR("a\n")));
    assert_true(json_int64(value, &number));
    assert_int_equal(number, 2);
    assert_false(json_next(&iter, &key, &value));
}

static void flattening_is_row_major_and_says_where_it_went_wrong(void **state)
{
    (void)state;
    double out[8] = { 0 };
    size_t count;
    assert_int_equal(
        json_flatten(parsed("[[1,2.5],[[3],[]],4]"), 16, JSON_CELL_F64, out, 8, &count),
        JSON_FLAT_OK);
    assert_int_equal(count, 4);
    assert_true(out[0] == 1 && out[1] == 2.5 && out[2] == 3 && out[3] == 4);
    assert_int_equal(json_flatten(parsed("[1,2,3]"), 16, JSON_CELL_F64, out, 2, &count),
                     JSON_FLAT_MORE);
    assert_int_equal(json_flatten(parsed("[1,2,\"3\"]"), 16, JSON_CELL_F64, out, 8, &count),
                     JSON_FLAT_TYPE);
    assert_int_equal(count, 2);
    assert_int_equal(json_flatten(parsed("[1,[2]]"), 1, JSON_CELL_F64, out, 8, &count),
                     JSON_FLAT_TYPE);
}

static void flat_is(const char *text, enum json_cell cell, enum json_flat wanted)
{
    uint64_t out[4];
    size_t count;
    if (json_flatten(parsed(text), 1, cell, out, 4, &count) != wanted)
        fail_msg("%s as cell %d is not %d", text, (int)cell, (int)wanted);
}

static void every_cell_has_its_range(void **state)
{
    (void)state;
    flat_is("[127,-128]", JSON_CELL_I8, JSON_FLAT_OK);
    flat_is("[128]", JSON_CELL_I8, JSON_FLAT_RANGE);
    flat_is("[-129]", JSON_CELL_I8, JSON_FLAT_RANGE);
    flat_is("[255]", JSON_CELL_U8, JSON_FLAT_OK);
    flat_is("[-1]", JSON_CELL_U8, JSON_FLAT_RANGE);
    flat_is("[65536]", JSON_CELL_U16, JSON_FLAT_RANGE);
    flat_is("[4294967295]", JSON_CELL_U32, JSON_FLAT_OK);
    flat_is("[2147483648]", JSON_CELL_I32, JSON_FLAT_RANGE);
    flat_is("[18446744073709551615]", JSON_CELL_U64, JSON_FLAT_OK);
    flat_is("[18446744073709551615]", JSON_CELL_I64, JSON_FLAT_RANGE);
    flat_is("[1.0]", JSON_CELL_I64, JSON_FLAT_TYPE);
    flat_is("[1]", JSON_CELL_BOOL, JSON_FLAT_TYPE);
    flat_is("[true]", JSON_CELL_BOOL, JSON_FLAT_OK);
    flat_is("[true]", JSON_CELL_F64, JSON_FLAT_TYPE);
    flat_is("[1e39]", JSON_CELL_F32, JSON_FLAT_RANGE);
    flat_is("[1e308]", JSON_CELL_F64, JSON_FLAT_OK);
    flat_is("[\"a\"]", JSON_CELL_STRING, JSON_FLAT_OK);
    flat_is("[null]", JSON_CELL_STRING, JSON_FLAT_TYPE);
}

static void numbers_are_written_short_and_read_back_the_same(void **state)
{
    (void)state;
    static const double numbers[] = {
        0.1,  1.0 / 3, -0.0, 5e-324, 1.7976931348623157e308, 123456, 9007199254740993.0,
        1e21, -1e-7,   0.3
    };
    char text[JSON_NUMBER_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        size_t len = json_format_f64(numbers[i], text);
        assert_in_range(len, 1, JSON_NUMBER_MAX);
        text[len] = 0;
        assert_true(strtod(text, NULL) == numbers[i]);
        (void)parsed(text);
    }
    text[json_format_f64(0.1, text)] = 0;
    assert_string_equal(text, "0.1");
    text[json_format_f32(0.1f, text)] = 0;
    assert_string_equal(text, "0.1");
    assert_int_equal(json_format_f64(NAN, text), 0);
    assert_int_equal(json_format_f32(-INFINITY, text), 0);
    text[json_format_i64(INT64_MIN, text)] = 0;
    assert_string_equal(text, "-9223372036854775808");
    text[json_format_u64(UINT64_MAX, text)] = 0;
    assert_string_equal(text, "18446744073709551615");
}

static int set_up(void **state)
{
    (void)state;
    reader = json_reader_new();
    return reader ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    json_reader_free(reader);
    return 0;
}

/* In a block of exactly that size, so that a byte too far is seen. */
static void what_stands_behind_a_text_is_not_part_of_it(void **state)
{
    (void)state;
    static const char *const texts[] = { "[1,2]", "{\"a\":\"b\"}", "12", "\"", "[1", "tru", "[1]" };
    static const char *const behind[] = { "3]", "\"", "}", "\\\"", "5" };
    for (size_t t = 0; t < COUNT_OF(texts); t++)
        for (size_t b = 0; b < COUNT_OF(behind); b++) {
            size_t len = strlen(texts[t]);
            struct json_value root;
            maas_error error = MAAS_ERROR_INIT;
            char *block = malloc(len + JSON_PADDING);
            assert_non_null(block);
            memset(block, ' ', len + JSON_PADDING);
            memcpy(block, texts[t], len);
            memcpy(block + len, behind[b], strlen(behind[b]));
            maas_status alone =
                json_parse(reader, (struct str){ block, len }, 0, 1 << 20, &root, &error);
            maas_status there = json_parse(reader, (struct str){ block, len }, JSON_PADDING,
                                           1 << 20, &root, &error);
            assert_int_equal(alone, there);
            free(block);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_behind_a_text_is_not_part_of_it),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(depth_is_capped),
        cmocka_unit_test(a_body_over_the_limit_is_refused_unread),
        cmocka_unit_test(values_know_their_type),
        cmocka_unit_test(members_come_in_their_order_with_unescaped_keys),
        cmocka_unit_test(flattening_is_row_major_and_says_where_it_went_wrong),
        cmocka_unit_test(every_cell_has_its_range),
        cmocka_unit_test(numbers_are_written_short_and_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
