/* The guard's parsers as pure functions, and its self-test. */
#include "net/chunked.h"
#include "net/framing.h"
#include "net/hpack_count.h"
#include "net/server.h"
#include "../../support/dice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>

/* ---- framing */

static enum framing_verdict verdict_of(const char *text)
{
    return framing_check(text, strlen(text), 10, 4096).verdict;
}

static void usual_requests_are_well_framed(void **state)
{
    (void)state;
    assert_int_equal(verdict_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMING_OK);
    assert_int_equal(verdict_of("GET / HTTP/1.0\r\n\r\n"), FRAMING_OK);
    assert_int_equal(verdict_of("OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), FRAMING_OK);
    const char post[] =
        "POST /a?b HTTP/1.1\r\nhost: a:1\r\nCONTENT-LENGTH: 12\r\nX-Empty:\r\n\r\nrest";
    const struct framing f = framing_check(post, strlen(post), 10, 4096);
    assert_int_equal(f.verdict, FRAMING_OK);
    assert_true(f.has_length && !f.chunked);
    assert_int_equal(f.content_length, 12);
    assert_int_equal(f.fields, 3);
    assert_true(framing_check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                              57, 10, 4096)
                    .chunked);
}

static void what_two_readers_could_read_differently_is_named(void **state)
{
    (void)state;
#define LINE "GET / HTTP/1.1\r\nHost: a\r\n"
    static const struct {
        const char *text;
        enum framing_verdict verdict;
    } cases[] = {
        { "GET / HTTP/1.1\nHost: a\r\n\r\n", FRAMING_BARE_LF },
        { LINE "X: y\n\r\n", FRAMING_BARE_LF },
        { LINE "X: y\r\n\n", FRAMING_BARE_LF },
        { LINE "X: a\rb\r\n\r\n", FRAMING_BARE_LF },
        { "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", FRAMING_LINE },
        { "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", FRAMING_LINE },
        { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", FRAMING_LINE },
        { "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", FRAMING_LINE },
        { "G\tT / HTTP/1.1\r\nHost: a\r\n\r\n", FRAMING_LINE },
        { "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", FRAMING_LINE },
        { LINE " folded\r\n\r\n", FRAMING_FOLD },
        { LINE "\tfolded\r\n\r\n", FRAMING_FOLD },
        { LINE "X : y\r\n\r\n", FRAMING_FIELD },
        { LINE "X\r\n\r\n", FRAMING_FIELD },
        { LINE ": y\r\n\r\n", FRAMING_FIELD },
        { LINE "X: \x01\r\n\r\n", FRAMING_FIELD },
        { LINE "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", FRAMING_LENGTH },
        { LINE "Content-Length: 1, 1\r\n\r\n", FRAMING_LENGTH },
        { LINE "Content-Length: -1\r\n\r\n", FRAMING_LENGTH },
        { LINE "Content-Length:\r\n\r\n", FRAMING_LENGTH },
        { LINE "Content-Length: 9999999999999999999\r\n\r\n", FRAMING_LENGTH },
        { LINE "Transfer-Encoding: gzip\r\n\r\n", FRAMING_ENCODING },
        { LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
          FRAMING_ENCODING },
        { "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", FRAMING_ENCODING },
        { LINE "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", FRAMING_BOTH },
        { LINE "Host: a\r\n\r\n", FRAMING_HOST },
        { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", FRAMING_HOST },
        { "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", FRAMING_HOST },
        { "GET / HTTP/1.1\r\n\r\n", FRAMING_HOST },
        { LINE "X: y\r\n", FRAMING_INCOMPLETE },
        { "", FRAMING_INCOMPLETE },
    };
#undef LINE
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (verdict_of(cases[i].text) != cases[i].verdict)
            print_error("case %zu: %s\n", i, cases[i].text);
        assert_int_equal(verdict_of(cases[i].text), cases[i].verdict);
        assert_non_null(framing_text(cases[i].verdict));
    }
    const char with_nul[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
    assert_int_equal(framing_check(with_nul, sizeof(with_nul) - 1, 10, 4096).verdict,
                     FRAMING_BARE_LF);
}

static void too_many_fields_and_too_many_bytes_are_told_apart(void **state)
{
    (void)state;
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
    const size_t len = sizeof(text) - 1;
    assert_int_equal(framing_check(text, len, 3, len).verdict, FRAMING_OK);
    assert_int_equal(framing_check(text, len, 2, len).verdict, FRAMING_MANY);
    assert_int_equal(framing_check(text, len, 3, len - 1).verdict, FRAMING_LARGE);
}

/* Every prefix of a request is incomplete, never bad, and is not read beyond (ASan watches). */
static void a_prefix_of_a_good_request_is_incomplete(void **state)
{
    (void)state;
    const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, text, len);
        char *exact = realloc(copy, len != 0 ? len : 1);
        assert_int_equal(framing_check(exact, len, 10, 4096).verdict, FRAMING_INCOMPLETE);
        free(exact);
    }
}

/* ---- HPACK */

static uint32_t count_of(const char *bytes, size_t len, uint32_t max)
{
    return hpack_count((const uint8_t *)bytes, len, max);
}

static void header_fields_are_counted_without_decoding(void **state)
{
    (void)state;
    assert_int_equal(count_of("", 0, 10), 0);
    assert_int_equal(count_of("\x82\x84\x87", 3, 10), 3);       /* indexed */
    assert_int_equal(count_of("\x40\x01x\x01y\x82", 6, 10), 2); /* literal, new name */
    assert_int_equal(count_of("\x44\x02/a\x04\x01/\x10\x01x\x00", 11, 10), 3);
    assert_int_equal(count_of("\x3f\xe1\x1f\x82", 4, 10), 2); /* table size update */
    assert_int_equal(count_of("\xff\x80\x01\x82", 4, 10), 2); /* a long index */
}

static void counting_stops_past_the_limit_and_at_a_fault(void **state)
{
    (void)state;
    char bomb[5000];
    memset(bomb, 0xbe, sizeof(bomb));
    assert_int_equal(count_of(bomb, sizeof(bomb), 100), 101);
    assert_int_equal(count_of("\x40\x7f\xff\xff\xff\xff\xff\xff", 8, 10), 1); /* endless length */
    assert_int_equal(count_of("\x40\x05xy", 4, 10), 1);                       /* string too long */
    assert_int_equal(count_of("\x82\xff", 2, 10), 2);                         /* cut integer */
}

static void counting_random_bytes_stays_inside_them(void **state)
{
    (void)state;
    struct dice dice = { 7 };
    for (int round = 0; round < 20000; round++) {
        const size_t len = dice_roll(&dice) % 64;
        uint8_t *bytes = malloc(len != 0 ? len : 1);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)dice_roll(&dice);
        assert_in_range(hpack_count(bytes, len, 1000), len != 0, len);
        free(bytes);
    }
}

/* ---- chunks */

/* Decodes in pieces of `step` bytes; the result of the last call. */
static ssize_t decode(const char *text, size_t len, size_t step, char *out, size_t *out_len)
{
    struct phr_chunked_decoder decoder = { 0 };
    size_t filled = 0;
    ssize_t ret = -2;
    for (size_t at = 0; at < len && ret == -2; at += step) {
        size_t piece = len - at < step ? len - at : step;
        memcpy(out + filled, text + at, piece);
        ret = chunked_decode(&decoder, out + filled, &piece);
        filled += piece;
    }
    *out_len = filled;
    return ret;
}

static void chunks_are_decoded_however_they_are_cut(void **state)
{
    (void)state;
    const char text[] = "5\r\nhello\r\n00000006\r\n world\r\n0\r\n\r\nNEXT";
    for (size_t step = 1; step <= sizeof(text); step++) {
        char out[64];
        size_t len;
        const ssize_t left = decode(text, sizeof(text) - 1, step, out, &len);
        assert_true(left >= 0);
        assert_int_equal(len, 11);
        assert_memory_equal(out, "hello world", 11);
    }
    char out[64];
    size_t len;
    assert_int_equal(decode(text, sizeof(text) - 1, sizeof(text), out, &len), 4);
    assert_memory_equal(out + len, "NEXT", 4);
    assert_int_equal(decode("A\r\n0123456789\r\n0\r\n\r\n", 20, 20, out, &len), 0);
    assert_int_equal(len, 10);
}

static void lenient_chunks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n",
        "\r\nhello",
        "x\r\n",
        "5\r\nhelloo\r\n",
        "000000005\r\nhello\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "FFFFFFFFF\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        for (size_t step = 1; step <= strlen(bad[i]); step++) {
            char out[64];
            size_t len;
            assert_int_equal(decode(bad[i], strlen(bad[i]), step, out, &len), -1);
        }
}

static void a_body_that_is_not_over_waits(void **state)
{
    (void)state;
    char out[64];
    size_t len;
    assert_int_equal(decode("5\r\nhel", 6, 6, out, &len), -2);
    assert_int_equal(len, 3);
    assert_int_equal(decode("5\r\nhello\r\n0\r\n\r", 14, 14, out, &len), -2);
}

/* ---- linked in */

static void the_self_test_finds_the_guard_at_work(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    const uint64_t start = clock_mono_ns();
    assert_int_equal(guard_self_test(&error), MAAS_OK);
    print_message("self-test: %llu us\n", (unsigned long long)(clock_mono_ns() - start) / 1000);
    struct server_counts counts;
    server_counts(&counts);
    assert_int_equal(counts.connections_total, 0); /* its attacks are not in the counts */
}

/* RFC 9110: what may stand in a name, and in a value, byte by byte. */
static void every_byte_of_a_name_and_of_a_value_is_judged(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char name[64], value[64];
        if (c == '\n' || c == '\r' || c == ':')
            continue; /* they end what they stand in */
        snprintf(name, sizeof(name), "GET / HTTP/1.1\r\nHost: a\r\nx%cy: v\r\n\r\n", c);
        snprintf(value, sizeof(value), "GET / HTTP/1.1\r\nHost: a\r\nxy: v%cw\r\n\r\n", c);
        const bool token = c < 128 && (isalnum(c) || strchr("!#$%&'*+-.^_`|~", c) != NULL);
        assert_int_equal(verdict_of(name), token ? FRAMING_OK : FRAMING_FIELD);
        const bool clean = (c >= 0x20 && c != 0x7f) || c == '\t';
        assert_int_equal(verdict_of(value), clean ? FRAMING_OK : FRAMING_FIELD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_a_name_and_of_a_value_is_judged),
        cmocka_unit_test(usual_requests_are_well_framed),
        cmocka_unit_test(what_two_readers_could_read_differently_is_named),
        cmocka_unit_test(too_many_fields_and_too_many_bytes_are_told_apart),
        cmocka_unit_test(a_prefix_of_a_good_request_is_incomplete),
        cmocka_unit_test(header_fields_are_counted_without_decoding),
        cmocka_unit_test(counting_stops_past_the_limit_and_at_a_fault),
        cmocka_unit_test(counting_random_bytes_stays_inside_them),
        cmocka_unit_test(chunks_are_decoded_however_they_are_cut),
        cmocka_unit_test(lenient_chunks_are_refused),
        cmocka_unit_test(a_body_that_is_not_over_waits),
        cmocka_unit_test(the_self_test_finds_the_guard_at_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
