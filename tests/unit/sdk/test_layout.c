/*
 * The binary layout of the ABI, member by member (LP64): a plugin compiled last year has these
 * offsets in its code. Frozen values never change; growing structs may get members at the end only,
 * so a line here is added, never edited. The test itself is the compilation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <maas/author.h>
#include <maas/ext/explain.h>
#include <maas/ext/train.h>

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has changed its size")
#define AT(type, member, bytes)                                                                    \
    _Static_assert(offsetof(type, member) == (bytes), #type "." #member " has moved")

/* ---- frozen values; maas_tensor is DLPack's DLTensor */

SIZE(maas_str, 16);
AT(maas_str, data, 0);
AT(maas_str, len, 8);

SIZE(maas_dtype, 4);
AT(maas_dtype, code, 0);
AT(maas_dtype, bits, 1);
AT(maas_dtype, lanes, 2);

SIZE(maas_tensor, 48);
AT(maas_tensor, data, 0);
AT(maas_tensor, device_type, 8);
AT(maas_tensor, device_id, 12);
AT(maas_tensor, ndim, 16);
AT(maas_tensor, dtype, 20);
AT(maas_tensor, shape, 24);
AT(maas_tensor, strides, 32);
AT(maas_tensor, byte_offset, 40);

SIZE(maas_named, 64);
AT(maas_named, name, 0);
AT(maas_named, tensor, 16);

SIZE(maas_option, 56);
AT(maas_option, name, 0);
AT(maas_option, kind, 16);
AT(maas_option, given, 20);
AT(maas_option, integer, 24);
AT(maas_option, real, 32);
AT(maas_option, text, 40);

SIZE(maas_port, 56);
AT(maas_port, name, 0);
AT(maas_port, dtype, 16);
AT(maas_port, ndim, 20);
AT(maas_port, shape, 24);
AT(maas_port, labels, 32);
AT(maas_port, label_count, 40);
AT(maas_port, flags, 48);

SIZE(maas_error, 256);
AT(maas_error, size, 0);
AT(maas_error, text, 4);

/* ---- structs that grow at the end; sizes as of 1.0 */

SIZE(maas_option_decl, 40);
AT(maas_option_decl, size, 0);
AT(maas_option_decl, kind, 4);
AT(maas_option_decl, name, 8);
AT(maas_option_decl, fallback, 16);
AT(maas_option_decl, choices, 24);
AT(maas_option_decl, help, 32);

SIZE(maas_model_spec, 24);
AT(maas_model_spec, size, 0);
AT(maas_model_spec, option_count, 4);
AT(maas_model_spec, root, 8);
AT(maas_model_spec, options, 16);

SIZE(maas_signature, 72);
AT(maas_signature, size, 0);
AT(maas_signature, abi, 4);
AT(maas_signature, inputs, 8);
AT(maas_signature, outputs, 16);
AT(maas_signature, input_count, 24);
AT(maas_signature, output_count, 28);
AT(maas_signature, max_rows, 32);
AT(maas_signature, max_concurrency, 36);
AT(maas_signature, rows_independent, 40);
AT(maas_signature, flags, 44);
AT(maas_signature, resident_bytes, 48);
AT(maas_signature, task, 56);
AT(maas_signature, params, 64);

SIZE(maas_request, 56);
AT(maas_request, size, 0);
AT(maas_request, rows, 4);
AT(maas_request, inputs, 8);
AT(maas_request, params, 16);
AT(maas_request, input_count, 24);
AT(maas_request, param_count, 28);
AT(maas_request, deadline_ns, 32);
AT(maas_request, trace_id, 40);

SIZE(maas_host, 80);
AT(maas_host, size, 0);
AT(maas_host, abi, 4);
AT(maas_host, log, 8);
AT(maas_host, now_ns, 16);
AT(maas_host, alloc, 24);
AT(maas_host, free, 32);
AT(maas_host, metric, 40);
AT(maas_host, cancelled, 48);
AT(maas_host, emit, 56);
AT(maas_host, done, 64);
AT(maas_host, extension, 72);

SIZE(maas_plugin, 112);
AT(maas_plugin, size, 0);
AT(maas_plugin, abi, 4);
AT(maas_plugin, id, 8);
AT(maas_plugin, version, 16);
AT(maas_plugin, title, 24);
AT(maas_plugin, vendor, 32);
AT(maas_plugin, options, 40);
AT(maas_plugin, init, 48);
AT(maas_plugin, deinit, 56);
AT(maas_plugin, load, 64);
AT(maas_plugin, unload, 72);
AT(maas_plugin, describe, 80);
AT(maas_plugin, validate, 88);
AT(maas_plugin, infer, 96);
AT(maas_plugin, extension, 104);

SIZE(maas_train_spec, 40);
AT(maas_train_spec, size, 0);
AT(maas_train_spec, option_count, 4);
AT(maas_train_spec, data, 8);
AT(maas_train_spec, out, 16);
AT(maas_train_spec, options, 24);
AT(maas_train_spec, seed, 32);

SIZE(maas_train, 32);
AT(maas_train, size, 0);
AT(maas_train, abi, 4);
AT(maas_train, options, 8);
AT(maas_train, train, 16);
AT(maas_train, evaluate, 24);

SIZE(maas_explain, 24);
AT(maas_explain, size, 0);
AT(maas_explain, abi, 4);
AT(maas_explain, describe, 8);
AT(maas_explain, explain, 16);

/* ---- numbers */

#define IS(name, value) _Static_assert((name) == (value), #name " is renumbered")
IS(MAAS_OK, 0);
IS(MAAS_E_CANCELLED, 1);
IS(MAAS_E_INVALID, 3);
IS(MAAS_E_NOT_FOUND, 5);
IS(MAAS_E_EXHAUSTED, 8);
IS(MAAS_E_INTERNAL, 13);
IS(MAAS_E_UNAUTHENTICATED, 16);
IS(MAAS_INT, 0);
IS(MAAS_UINT, 1);
IS(MAAS_FLOAT, 2);
IS(MAAS_HANDLE, 3);
IS(MAAS_BFLOAT, 4);
IS(MAAS_BOOL, 6);
IS(MAAS_OPTION_INT, 1);
IS(MAAS_OPTION_FLOAT, 2);
IS(MAAS_OPTION_BOOL, 3);
IS(MAAS_OPTION_TEXT, 4);

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
