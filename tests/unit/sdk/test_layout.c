/*
 * The binary layout of the ABI (LP64). What 1.0 promised, member by member, is in the frozen
 * layout.h, which holds for today's headers too; here is what may change: the sizes of the structs
 * that grow at their end. An appended member changes a line here and adds its offset, never more.
 * The test itself is the compilation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../abi/fossil_1_0/layout.h"

SIZE(maas_option_decl, 40);
SIZE(maas_model_spec, 24);
SIZE(maas_signature, 72);
SIZE(maas_request, 56);
SIZE(maas_host, 80);
SIZE(maas_plugin, 112);
SIZE(maas_train_spec, 40);
SIZE(maas_train, 32);
SIZE(maas_explain, 24);

static void has_asks_the_size_the_other_side_wrote(void **state)
{
    (void)state;
    maas_plugin older = { .size = offsetof(maas_plugin, extension) };
    assert_true(MAAS_HAS(maas_plugin, &older, infer));
    assert_false(MAAS_HAS(maas_plugin, &older, extension));
    older.size = sizeof(older) + 64;
    assert_true(MAAS_HAS(maas_plugin, &older, extension));
}

static void fail_fills_the_text_and_never_overflows_it(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(maas_fail(&error, MAAS_E_INVALID, "row %u", 7u), MAAS_E_INVALID);
    assert_string_equal(error.text, "row 7");
    assert_int_equal(maas_fail(&error, MAAS_E_INVALID, "%0500d", 1), MAAS_E_INVALID);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_int_equal(maas_fail(NULL, MAAS_E_RANGE, "nowhere"), MAAS_E_RANGE);
}

static void an_option_is_found_by_its_whole_name(void **state)
{
    (void)state;
    const maas_option options[] = { { .name = { "rate", 4 } }, { .name = { "rates", 5 } } };
    assert_ptr_equal(maas_option_find(options, 2, "rates"), &options[1]);
    assert_null(maas_option_find(options, 2, "rat"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_asks_the_size_the_other_side_wrote),
        cmocka_unit_test(fail_fills_the_text_and_never_overflows_it),
        cmocka_unit_test(an_option_is_found_by_its_whole_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
