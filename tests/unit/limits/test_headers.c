/* test_headers.c: a verdict as headers. */
#include "limits/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct bucket *const some_limit = (const struct bucket *)&some_limit;

static const char *text_of(const struct limits_verdict *verdict, const char *name)
{
    static char text[64];
    char buffer[LIMITS_HEADERS_BYTES];
    struct limits_header headers[LIMITS_HEADERS_MAX];
    size_t count = limits_headers(verdict, buffer, headers);
    for (size_t i = 0; i < count; i++) {
        if (str_eq(headers[i].name, str_of(name))) {
            (void)snprintf(text, sizeof(text), "%.*s", (int)headers[i].value.len,
                           headers[i].value.data);
            return text;
        }
    }
    return NULL;
}

static struct limits_verdict yes(void)
{
    return (struct limits_verdict){ .outcome = LIMITS_YES,
                                    .tightest = some_limit,
                                    .scope = LIMIT_KEY,
                                    .limit = 100,
                                    .window_s = 60,
                                    .remaining = 50,
                                    .reset_ms = 29500 };
}

static void an_admitted_request_says_what_is_left(void **state)
{
    (void)state;
    struct limits_verdict v = yes();
    assert_string_equal(text_of(&v, "ratelimit-policy"), "\"key\";q=100;w=60");
    assert_string_equal(text_of(&v, "ratelimit"), "\"key\";r=50;t=30");
    assert_string_equal(text_of(&v, "x-ratelimit-limit-requests"), "100");
    assert_string_equal(text_of(&v, "x-ratelimit-remaining-requests"), "50");
    assert_string_equal(text_of(&v, "x-ratelimit-reset-requests"), "29.5s");
    assert_null(text_of(&v, "retry-after"));
    assert_null(text_of(&v, "x-should-retry"));
}

static void a_refused_request_says_when_to_come_back_and_no_earlier_than_t(void **state)
{
    (void)state;
    struct limits_verdict v = yes();
    v.outcome = LIMITS_NO;
    v.remaining = 0;
    v.retry_after_ms = 2001;
    assert_string_equal(text_of(&v, "retry-after"), "3");
    assert_string_equal(text_of(&v, "ratelimit"), "\"key\";r=0;t=3");
    assert_string_equal(text_of(&v, "x-should-retry"), "true");
    v.retry_after_ms = 1;
    assert_string_equal(text_of(&v, "retry-after"), "1");
}

static void a_request_that_never_passes_is_told_not_to_retry(void **state)
{
    (void)state;
    struct limits_verdict v = yes();
    v.outcome = LIMITS_NO;
    v.retry_after_ms = UINT64_MAX;
    assert_null(text_of(&v, "retry-after"));
    assert_string_equal(text_of(&v, "x-should-retry"), "false");
}

static void durations_are_written_as_go_writes_them(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = { { 0, "0s" },          { 1, "1ms" },          { 999, "999ms" },
                  { 1000, "1s" },       { 1500, "1.5s" },      { 1050, "1.05s" },
                  { 1001, "1.001s" },   { 60000, "1m0s" },     { 360000, "6m0s" },
                  { 61250, "1m1.25s" }, { 3600000, "1h0m0s" }, { 90061001, "25h1m1.001s" } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct limits_verdict v = yes();
        v.reset_ms = cases[i].ms;
        assert_string_equal(text_of(&v, "x-ratelimit-reset-requests"), cases[i].text);
    }
}

static void the_largest_values_fit_the_buffer(void **state)
{
    (void)state;
    char buffer[LIMITS_HEADERS_BYTES], text[32];
    struct limits_header headers[LIMITS_HEADERS_MAX];
    struct limits_verdict v = { .outcome = LIMITS_NO,
                                .tightest = some_limit,
                                .scope = LIMIT_TENANT_MODEL,
                                .limit = UINT64_MAX,
                                .window_s = 4294967,
                                .remaining = UINT64_MAX,
                                .reset_ms = UINT64_MAX,
                                .retry_after_ms = UINT64_MAX - 1 };
    size_t count = limits_headers(&v, buffer, headers), sum = 0;
    assert_int_equal(count, LIMITS_HEADERS_MAX);
    for (size_t i = 0; i < count; i++)
        sum += headers[i].value.len;
    assert_true(sum <= sizeof(buffer));
    (void)snprintf(text, sizeof(text), "%.*s", (int)headers[2].value.len, headers[2].value.data);
    assert_string_equal(text, "18446744073709551615");
}

static void a_verdict_without_a_limit_has_no_headers(void **state)
{
    (void)state;
    char buffer[LIMITS_HEADERS_BYTES];
    struct limits_header headers[LIMITS_HEADERS_MAX];
    struct limits_verdict v = { .outcome = LIMITS_YES };
    assert_int_equal(limits_headers(&v, buffer, headers), 0);
}

static void all_of_it_takes_under_150_ns(void **state)
{
    (void)state;
    enum { TURNS = 1000000 };
    char buffer[LIMITS_HEADERS_BYTES];
    struct limits_header headers[LIMITS_HEADERS_MAX];
    struct limits_verdict v = yes();
    uint64_t best = UINT64_MAX;
    for (int run = 0; run < 5; run++) {
        uint64_t start = clock_mono_ns();
        for (uint64_t i = 0; i < TURNS / (MAAS_SANITIZED ? 100 : 5); i++) {
            v.remaining = i & 1023;
            v.reset_ms = 1000 + (i & 65535);
            size_t count = limits_headers(&v, buffer, headers);
            __asm__ volatile("" : : "r"(count), "r"(buffer) : "memory");
        }
        uint64_t took = clock_mono_ns() - start;
        best = took < best ? took : best;
    }
    double each = (double)best / (TURNS / (MAAS_SANITIZED ? 100 : 5));
    print_message("limits_headers: %.1f ns\n", each);
    assert_true(MAAS_SANITIZED || each < 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_admitted_request_says_what_is_left),
        cmocka_unit_test(a_refused_request_says_when_to_come_back_and_no_earlier_than_t),
        cmocka_unit_test(a_request_that_never_passes_is_told_not_to_retry),
        cmocka_unit_test(durations_are_written_as_go_writes_them),
        cmocka_unit_test(the_largest_values_fit_the_buffer),
        cmocka_unit_test(a_verdict_without_a_limit_has_no_headers),
        cmocka_unit_test(all_of_it_takes_under_150_ns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
