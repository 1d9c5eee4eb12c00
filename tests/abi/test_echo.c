/*
 * maas.echo, which benches rely on: it gives back what it gets, costs what it is told to, and keeps
 * every rule.
 */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <time.h>

#define ECHO SHIPPED "maas.echo.so"

static struct engine_plugin *plugin;
static struct engine_job *job;

static struct engine_model *load(const struct engine_option *options, size_t count)
{
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    if (engine_model_load(plugin, "/", options, count, &model, &error))
        fail_msg("%s", error.text);
    return model;
}

static maas_status ask(struct engine_model *model, maas_dtype dtype, void *data, int64_t rows,
                       int64_t width)
{
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    int64_t shape[2] = { rows, width };
    maas_named input = {
        { "input", 5 },
        { .data = data, .device_type = 1, .ndim = 2, .dtype = dtype, .shape = shape }
    };
    const struct engine_request request = { .rows = (uint32_t)rows,
                                            .inputs = &input,
                                            .input_count = 1 };
    engine_job_reset(job);
    return engine_infer(model, job, &request, &param, &error);
}

static void assert_echoed(const void *data, size_t bytes)
{
    uint32_t count;
    const maas_named *out = engine_job_outputs(job, &count);
    assert_int_equal(count, 1);
    assert_string_equal(out[0].name.data, "output");
    assert_memory_equal(out[0].tensor.data, data, bytes);
}

static void it_gives_back_what_it_gets(void **state)
{
    (void)state;
    double numbers[6] = { 1, -2, 3.5, 1e300, 0, -0.0 };
    uint8_t bytes[4] = { 0, 1, 127, 255 };
    const struct engine_option uint8[] = { { STR("dtype"), STR("UINT8") },
                                           { STR("width"), STR("4") } };
    struct engine_model *reals = load(NULL, 0), *small = load(uint8, 2);
    assert_int_equal(ask(reals, (maas_dtype){ MAAS_FLOAT, 64, 1 }, numbers, 2, 3), MAAS_OK);
    assert_echoed(numbers, sizeof(numbers));
    assert_int_equal(ask(small, (maas_dtype){ MAAS_UINT, 8, 1 }, bytes, 1, 4), MAAS_OK);
    assert_echoed(bytes, sizeof(bytes));
    assert_int_equal(ask(small, (maas_dtype){ MAAS_UINT, 8, 1 }, bytes, 2, 2), MAAS_E_INVALID);
    engine_model_unload(reals);
    engine_model_unload(small);
}

static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

static void a_call_costs_what_the_options_say(void **state)
{
    (void)state;
    double numbers[3] = { 1, 2, 3 };
    const struct engine_option burn[] = { { STR("burn_us"), STR("4000") },
                                          { STR("burn_row_us"), STR("2000") } };
    struct engine_model *model = load(burn, 2);
    uint64_t before = cpu_us();
    assert_int_equal(ask(model, (maas_dtype){ MAAS_FLOAT, 64, 1 }, numbers, 3, 1), MAAS_OK);
    uint64_t cost = cpu_us() - before;
    assert_in_range(cost, 10000, 30000);
    engine_model_unload(model);
}

static void it_passes_every_check(void **state)
{
    (void)state;
    assert_int_equal(system(CHECKER " " ECHO), 0);
    assert_int_equal(system(CHECKER " " ECHO " --option dtype=UINT8 --option width=7"
                                    " --option burn_us=100"),
                     0);
}

static int start(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    return engine_plugin_load(ECHO, NULL, &plugin, &error) || engine_job_new(1 << 20, &job, &error);
}

static int stop(void **state)
{
    (void)state;
    engine_job_free(job);
    engine_plugin_retire(plugin);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_back_what_it_gets),
        cmocka_unit_test(a_call_costs_what_the_options_say),
        cmocka_unit_test(it_passes_every_check),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
