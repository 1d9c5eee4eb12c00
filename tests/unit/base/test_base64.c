/* base64: the examples of RFC 4648, every length there and back, and what is refused. */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void there_and_back(struct str bytes, const char *text)
{
    struct buf out;
    uint8_t back[400];
    size_t len = 0;
    buf_init(&out, 1024);
    base64_encode(&out, bytes);
    if (text)
        assert_true(str_eq(buf_view(&out), str_of(text)));
    assert_true(BASE64_ROOM(out.len) <= sizeof(back));
    assert_true(base64_decode(buf_view(&out), back, &len));
    assert_int_equal(len, bytes.len);
    assert_memory_equal(back, bytes.data, len);
    buf_release(&out);
}

static void the_examples_of_the_rfc(void **state)
{
    (void)state;
    there_and_back(STR(""), "");
    there_and_back(STR("f"), "Zg==");
    there_and_back(STR("fo"), "Zm8=");
    there_and_back(STR("foo"), "Zm9v");
    there_and_back(STR("foobar"), "Zm9vYmFy");
}

static void every_byte_and_every_length(void **state)
{
    (void)state;
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)(255 - i);
    for (size_t len = 0; len <= sizeof(bytes); len++)
        there_and_back((struct str){ bytes, len }, NULL);
}

static void padding_may_be_left_out(void **state)
{
    (void)state;
    char back[BASE64_ROOM(2)];
    size_t len = 0;
    assert_true(base64_decode(STR("Zg"), back, &len));
    assert_int_equal(len, 1);
    assert_int_equal(back[0], 'f');
}

static void what_is_no_base64_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z",    "Zg=",   "=Zg=",   "Zg==Zg==", "Zg= =", "Zm9v\n",
                                       "Zm9-", "Zm9v=", "Zm9v==", "Zh==",     "Zm9=",  "====" };
    char back[16];
    size_t len;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (base64_decode(str_of(bad[i]), back, &len))
            fail_msg("'%s' was taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc),
        cmocka_unit_test(every_byte_and_every_length),
        cmocka_unit_test(padding_may_be_left_out),
        cmocka_unit_test(what_is_no_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
