/*
 * test_arithmetic.c: OpenBLAS, brought in later, does as the environment says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/arithmetic.h"

static void the_kernels_are_those_of_the_processor(void **state)
{
    (void)state;
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_NUM_THREADS");
    assert_true(arithmetic_environment());
    assert_string_equal(getenv("OPENBLAS_NUM_THREADS"), "1");
    void *library = dlopen("libopenblas.so.0", RTLD_NOW);
    assert_non_null(library);
    char *(*name)(void) = NULL;
    int (*threads)(void) = NULL;
    *(void **)&name = dlsym(library, "openblas_get_corename");
    *(void **)&threads = dlsym(library, "openblas_get_num_threads");
    assert_true(name && threads);
    assert_int_equal(threads(), 1);
    if (arithmetic_kernels())
        assert_int_equal(strcasecmp(name(), arithmetic_kernels()), 0);
}

static void what_is_set_already_stays(void **state)
{
    (void)state;
    setenv("OPENBLAS_CORETYPE", "Nehalem", 1);
    setenv("OMP_NUM_THREADS", "2", 1);
    assert_true(arithmetic_environment());
    assert_string_equal(getenv("OPENBLAS_CORETYPE"), "Nehalem");
    assert_string_equal(getenv("OMP_NUM_THREADS"), "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernels_are_those_of_the_processor),
        cmocka_unit_test(what_is_set_already_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
