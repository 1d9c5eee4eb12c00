/*
 * A plugin compiled against the headers of ABI 1.0 (fossil_1_0/, never edited) in today's host: it
 * passes every check, is trained, explained and served. Compiling this file asserts that today's
 * headers still have the layout of 1.0.
 */
#include "engine/engine.h"
#include "fossil_1_0/layout.h"
#include "served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FOSSIL PLUGINS "fossil_1_0.so"
#define MODEL  MAAS_SOURCE_DIR "/tests/abi/models/fossil"

static void nobody_has_touched_the_fossil(void **state)
{
    (void)state;
    assert_int_equal(
        system("cd " MAAS_SOURCE_DIR "/tests/abi/fossil_1_0 && sha256sum --quiet -c SHA256SUMS"),
        0);
    assert_int_equal(system("cd " MAAS_SOURCE_DIR "/tests/abi/fossil_1_0 && "
                            "test $(find . -name '*.[ch]' | wc -l) = $(wc -l < SHA256SUMS)"),
                     0);
}

static void it_passes_every_check(void **state)
{
    (void)state;
    assert_int_equal(system(CHECKER " " FOSSIL " --model " MODEL " --data " MODEL), 0);
    assert_int_equal(system(CHECKER " " FOSSIL " --model " MODEL " --data " MODEL
                                    " | grep -q ' ok, 0 failed, 0 skipped'"),
                     0);
}

static void it_is_served_by_todays_worker(void **state)
{
    (void)state;
    char line[512], answer[4096];
    struct served *s = served_start(FOSSIL, MODEL, line, sizeof(line));
    if (!s)
        fail_msg("%s", line);
    assert_int_equal(
        served_ask(s, SURFACE_V2,
                   "{\"parameters\":{\"factor\":10},\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],"
                   "\"datatype\":\"FP64\",\"data\":[1,2,-3,-4]}]}",
                   answer, sizeof(answer)),
        MAAS_OK);
    assert_non_null(strstr(answer, "\"data\":[60,-140]"));
    assert_non_null(strstr(answer, "\"data\":[\"above\",\"below\"]"));
    assert_int_equal(
        served_ask(s, SURFACE_V2,
                   "{\"parameters\":{\"strict\":true},\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],"
                   "\"datatype\":\"FP64\",\"data\":[1,-2]}]}",
                   answer, sizeof(answer)),
        MAAS_E_INVALID);
    assert_string_equal(answer, "row 0 is not welcome");
    served_stop(s);
}

static double evaluated;

static void on_scalar(void *arg, const char *name, double value)
{
    (void)arg;
    if (strcmp(name, "scale") == 0)
        evaluated = value;
}

static void it_is_evaluated_with_its_options(void **state)
{
    (void)state;
    struct engine_plugin *plugin;
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    const struct engine_option level = { STR("level"), STR("9") },
                               high = { STR("level"), STR("10") };
    const struct engine_train train = { .data_dir = MODEL, .on_scalar = on_scalar };
    assert_int_equal(engine_plugin_load(FOSSIL, NULL, &plugin, &error), MAAS_OK);
    assert_int_equal(engine_model_load(plugin, MODEL, &high, 1, &model, &error), MAAS_E_INVALID);
    assert_int_equal(engine_model_load(plugin, MODEL, &level, 1, &model, &error), MAAS_OK);
    assert_int_equal(engine_train_run(plugin, model, &train, &error), MAAS_OK);
    assert_true(evaluated == 2);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_has_touched_the_fossil),
        cmocka_unit_test(it_passes_every_check),
        cmocka_unit_test(it_is_served_by_todays_worker),
        cmocka_unit_test(it_is_evaluated_with_its_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
