/*
 * engine_test.h: what the engine's tests share: load a model or fail the test, one request of FP64
 * rows.
 */
#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H

#include "engine/engine.h" /* before cmocka.h, whose fail() is a macro */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static inline struct engine_plugin *plugin_or_fail(const char *path)
{
    struct engine_plugin *plugin = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (engine_plugin_load(path, NULL, &plugin, &error))
        fail_msg("%s", error.text);
    return plugin;
}

static inline struct engine_model *model_or_fail(struct engine_plugin *plugin, const char *root,
                                                 const char *option, const char *value)
{
    struct engine_model *model = NULL;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_option given = { str_of(option), str_of(value) };
    if (engine_model_load(plugin, root, &given, option != NULL, &model, &error))
        fail_msg("%s", error.text);
    return model;
}

static inline struct engine_job *job_or_fail(size_t arena_max)
{
    struct engine_job *job = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_job_new(arena_max, &job, &error), MAAS_OK);
    return job;
}

/* "features" FP64 [rows, columns], copied into the job; shape and input live there too. */
static inline struct engine_request features_request(struct engine_job *job, const double *values,
                                                     uint32_t rows, uint32_t columns)
{
    maas_named *input = engine_job_alloc(job, sizeof(*input), 8);
    int64_t *shape = engine_job_alloc(job, 2 * sizeof(*shape), 8);
    size_t bytes = (size_t)rows * columns * sizeof(double);
    void *data = engine_job_alloc(job, bytes, 64);
    assert_true(input && shape && data);
    memcpy(data, values, bytes);
    shape[0] = rows;
    shape[1] = columns;
    *input = (maas_named){ { "features", 8 },
                           { .data = data,
                             .device_type = 1,
                             .ndim = 2,
                             .dtype = { MAAS_FLOAT, 64, 1 },
                             .shape = shape } };
    return (struct engine_request){ .rows = rows, .inputs = input, .input_count = 1 };
}

static inline const double *output_values(const struct engine_job *job, uint32_t index)
{
    uint32_t count;
    const maas_named *outputs = engine_job_outputs(job, &count);
    assert_true(index < count);
    return outputs[index].tensor.data;
}

#endif
