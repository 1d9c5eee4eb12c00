/*
 * The four pairs of a host and a plugin, of today and of a later minor version: each loads and
 * answers, and the later pair alone uses what is new.
 */
#include "engine/engine.h"
#include "future.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>

/* ---- a later host, small: one request at a time, whose outcome is here */

static double answered;
static maas_status ended;

static void *later_alloc(const maas_host *host, size_t bytes, size_t align)
{
    (void)host;
    return aligned_alloc(align, (bytes + align - 1) & ~(align - 1));
}

static void later_free(const maas_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static int32_t later_cancelled(const maas_host *host, const maas_request *request)
{
    (void)host;
    (void)request;
    return 0;
}

static maas_status later_emit(const maas_host *host, const maas_request *request,
                              const maas_named *outputs, uint32_t count)
{
    (void)host;
    (void)request;
    assert_int_equal(count, 1);
    memcpy(&answered, outputs[0].tensor.data, sizeof(answered));
    return MAAS_OK;
}

static void later_done(const maas_host *host, const maas_request *request, maas_status status,
                       const char *text)
{
    (void)host;
    (void)request;
    (void)text;
    ended = status;
}

static double bonus(const maas_host *host)
{
    (void)host;
    return 100;
}

static struct later_host later_host(void)
{
    const maas_host today = { .size = sizeof(struct later_host),
                              .abi = MAAS_ABI + 1,
                              .alloc = later_alloc,
                              .free = later_free,
                              .cancelled = later_cancelled,
                              .emit = later_emit,
                              .done = later_done };
    struct later_host host = { .bonus = bonus };
    memcpy(&host, &today, sizeof(today));
    return host;
}

/* 1 + 2, asked of a plugin by the later host. */
static double ask_as_later_host(const char *file)
{
    union {
        void *object;
        const maas_plugin *(*function)(uint32_t);
    } entry;
    struct later_host host = later_host();
    const maas_host *table = (const maas_host *)(const void *)&host;
    double x[2] = { 1, 2 };
    int64_t shape[2] = { 1, 2 };
    maas_model *model;
    maas_error error = MAAS_ERROR_INIT;
    entry.object = dlsym(dlopen(file, RTLD_NOW | RTLD_LOCAL), "maas_plugin_entry");
    const maas_plugin *plugin = entry.function(MAAS_ABI + 1);
    const maas_model_spec spec = { .size = sizeof(spec) + 32, .root = "/" };
    maas_named input = {
        { "x", 1 },
        { .data = x, .device_type = 1, .ndim = 2, .dtype = { MAAS_FLOAT, 64, 1 }, .shape = shape }
    };
    const maas_request request = {
        .size = sizeof(request) + 32, .rows = 1, .inputs = &input, .input_count = 1
    };
    ended = -1;
    assert_int_equal(plugin->load(table, &spec, &model, &error), MAAS_OK);
    maas_signature signature = { .size = sizeof(signature) };
    assert_int_equal(plugin->describe(model, &signature, &error), MAAS_OK);
    assert_int_equal(plugin->infer(model, &request, &error), MAAS_OK);
    assert_int_equal(ended, MAAS_OK);
    plugin->unload(model);
    return answered;
}

/* 1 + 2, asked by the real host. */
static double ask_as_today(const char *file)
{
    double x[2] = { 1, 2 }, y;
    int64_t shape[2] = { 1, 2 };
    uint32_t count;
    struct str param;
    struct engine_plugin *plugin;
    struct engine_model *model;
    struct engine_job *job;
    maas_error error = MAAS_ERROR_INIT;
    maas_named input = {
        { "x", 1 },
        { .data = x, .device_type = 1, .ndim = 2, .dtype = { MAAS_FLOAT, 64, 1 }, .shape = shape }
    };
    const struct engine_request request = { .rows = 1, .inputs = &input, .input_count = 1 };
    assert_int_equal(engine_plugin_load(file, NULL, &plugin, &error), MAAS_OK);
    assert_int_equal(engine_model_load(plugin, "/", NULL, 0, &model, &error), MAAS_OK);
    assert_int_equal(engine_job_new(1 << 20, &job, &error), MAAS_OK);
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_OK);
    memcpy(&y, engine_job_outputs(job, &count)[0].tensor.data, sizeof(y));
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
    return y;
}

static void todays_host_takes_a_later_plugin(void **state)
{
    (void)state;
    assert_true(ask_as_today(PLUGINS "today.so") == 3);
    assert_true(ask_as_today(PLUGINS "future.so") == 3);
}

static void a_later_host_takes_a_plugin_of_today(void **state)
{
    (void)state;
    assert_true(ask_as_later_host(PLUGINS "today.so") == 3);
}

static void a_later_plugin_uses_what_a_later_host_has(void **state)
{
    (void)state;
    assert_true(ask_as_later_host(PLUGINS "future.so") == 103);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(todays_host_takes_a_later_plugin),
        cmocka_unit_test(a_later_host_takes_a_plugin_of_today),
        cmocka_unit_test(a_later_plugin_uses_what_a_later_host_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
