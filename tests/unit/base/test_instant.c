/* test_instant.c: RFC 3339 as people write it. */
#include "base/instant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

static void moments_are_read_to_the_microsecond(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01T01:00:00+01:00", 0 },
        { "2026-11-27T16:09:13Z", 1795795753000000 },
        { "2026-11-27t18:09:13.25+02:00", 1795795753250000 },
        { "2024-02-29T23:59:59.123456789-05:30", 1709270999123456 },
        { "9999-12-31T23:59:59z", 253402300799000000 },
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        uint64_t us = 1;
        assert_true(instant_parse(str_of(good[i].text), &us));
        assert_int_equal(us, good[i].us);
    }
}

static void every_day_of_centuries_is_the_librarys(void **state)
{
    (void)state;
    char text[32];
    for (time_t t = 0; t < 253402300800; t += 86400 * 11 + 3601) {
        struct tm tm;
        uint64_t us;
        gmtime_r(&t, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_true(instant_parse(str_of(text), &us));
        assert_int_equal(us, (uint64_t)t * 1000000);
    }
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "tomorrow",
        "2026-11-27",
        "2026-11-27T16:09:13",
        "2026-11-27 16:09:13Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-27T24:00:00Z",
        "2026-11-27T16:60:00Z",
        "2026-11-27T16:09:60Z",
        "2026-11-27T16:09:13.Z",
        "2026-11-27T16:09:13.1234567890Z",
        "2026-11-27T16:09:13+0100",
        "2026-11-27T16:09:13+24:00",
        "2026-11-27T16:09:13Zulu",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2026-1-27T16:09:13Z",
    };
    uint64_t us;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(instant_parse(str_of(bad[i]), &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_read_to_the_microsecond),
        cmocka_unit_test(every_day_of_centuries_is_the_librarys),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
