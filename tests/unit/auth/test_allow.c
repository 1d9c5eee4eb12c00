/* test_allow.c: address ranges: what is one, who is in it, and which list is within which. */
#include "auth/allow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct allow_set set_of(const char *const *ranges, size_t count)
{
    struct allow_set set = { 0 };
    for (size_t i = 0; i < count; i++)
        assert_int_equal(allow_add(&set, str_of(ranges[i]), NULL), MAAS_OK);
    return set;
}
#define SET(...)                                                                                   \
    set_of((const char *const[]){ __VA_ARGS__ }, COUNT_OF(((const char *const[]){ __VA_ARGS__ })))

static void an_empty_list_allows_everybody(void **state)
{
    (void)state;
    const struct allow_set everywhere = { 0 };
    assert_true(allow_has(&everywhere, "203.0.113.9"));
    assert_true(allow_has(&everywhere, "-"));
}

static void addresses_are_in_their_ranges_and_in_no_other(void **state)
{
    (void)state;
    const struct allow_set set =
        SET("192.0.2.0/25", "198.51.100.7", "2001:db8:1::/48", "10.0.0.0/9");
    static const char *const in[] = { "192.0.2.0",      "192.0.2.127",    "198.51.100.7",
                                      "2001:db8:1::1",  "10.127.255.255", "::ffff:192.0.2.5",
                                      "2001:db8:1:ff::" };
    static const char *const out[] = { "192.0.2.128",
                                       "198.51.100.6",
                                       "198.51.100.8",
                                       "10.128.0.0",
                                       "2001:db8:2::",
                                       "::ffff:1.2.3.4",
                                       "::192.0.2.5",
                                       "-",
                                       "" };
    for (size_t i = 0; i < COUNT_OF(in); i++)
        assert_true(allow_has(&set, in[i]));
    for (size_t i = 0; i < COUNT_OF(out); i++)
        assert_false(allow_has(&set, out[i]));
    const struct allow_set all4 = SET("0.0.0.0/0"), all6 = SET("::/0");
    assert_true(allow_has(&all4, "203.0.113.9"));
    assert_false(allow_has(&all4, "2001:db8::1"));
    assert_true(allow_has(&all6, "2001:db8::1"));
    assert_true(allow_has(&all6, "203.0.113.9"));
}

static void what_is_no_range_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "192.0.2",
                                       "192.0.2.1/33",
                                       "192.0.2.1/24",
                                       "192.0.2.0/",
                                       "192.0.2.0/024",
                                       "2001:db8::/129",
                                       "host",
                                       "192.0.2.0/-1",
                                       "192.0.2.0/24 ",
                                       "::1/0",
                                       "1.2.3.4/8/8" };
    struct allow_set set = { 0 };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(allow_add(&set, str_of(bad[i]), NULL), MAAS_E_INVALID);
    assert_int_equal(set.count, 0);
    for (int i = 0; i < ALLOW_MAX; i++)
        assert_int_equal(allow_add(&set, STR("192.0.2.1"), NULL), MAAS_OK);
    assert_int_equal(allow_add(&set, STR("192.0.2.1"), NULL), MAAS_E_EXHAUSTED);
}

static void a_list_covers_what_lies_wholly_within_it(void **state)
{
    (void)state;
    const struct allow_set everywhere = { 0 }, wide = SET("10.0.0.0/8", "2001:db8::/32");
    const struct allow_set narrow = SET("10.1.0.0/16", "2001:db8::1"),
                           other = SET("10.1.0.0/16", "11.0.0.1");
    assert_true(allow_covers(&everywhere, &everywhere));
    assert_true(allow_covers(&everywhere, &wide));
    assert_false(allow_covers(&wide, &everywhere));
    assert_true(allow_covers(&wide, &narrow));
    assert_true(allow_covers(&wide, &wide));
    assert_false(allow_covers(&narrow, &wide));
    assert_false(allow_covers(&wide, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_allows_everybody),
        cmocka_unit_test(addresses_are_in_their_ranges_and_in_no_other),
        cmocka_unit_test(what_is_no_range_is_refused),
        cmocka_unit_test(a_list_covers_what_lies_wholly_within_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
