/*
 * selftest.c: the first requests of a worker, which come from its artifact and not from a tenant.
 * They run when the process is sealed, so that a plugin which opens a file in its first inference
 * fails here.
 *
 * Rejected: a test over the rings, driven by the gateway: it would have to know the signature, and
 * the gateway parses neither artifacts nor payloads.
 */
#include "worker/selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/sample.h"

#define MANIFEST_MAX ((size_t)8 << 20)
#define JOB_MAX      ((size_t)512 << 20)
#define DIMS_MAX     8

struct selftest {
    struct samples *samples; /* NULL: none */
};

maas_status selftest_new(const char *root, struct selftest **out, maas_error *error)
{
    char path[1200], *text = NULL;
    size_t len;
    maas_error why = MAAS_ERROR_INIT;
    struct selftest *test = calloc(1, sizeof(*test));
    if (!test)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a self-test");
    snprintf(path, sizeof(path), "%s/manifest.json", root);
    maas_status status = MAAS_OK;
    if (file_read(path, MANIFEST_MAX, &text, &len, &why) == MAAS_OK)
        status = samples_new((struct str){ text, len }, &test->samples, &why);
    free(text);
    if (status != MAAS_OK) {
        free(test);
        return fail(error, status, "manifest.json: %.200s", why.text);
    }
    *out = test;
    return MAAS_OK;
}

void selftest_free(struct selftest *test)
{
    if (!test)
        return;
    samples_free(test->samples);
    free(test);
}

/* ---- one row of zeros */

static maas_status zero_input(struct engine_job *job, const maas_port *port, maas_named *out,
                              maas_error *error)
{
    int64_t *shape = engine_job_alloc(job, DIMS_MAX * sizeof(*shape), 8);
    size_t bytes = (size_t)port->dtype.bits / 8;
    for (int32_t i = 0; shape && i < port->ndim; i++) {
        shape[i] = port->shape[i] < 0 ? 1 : port->shape[i];
        if (__builtin_mul_overflow(bytes, (size_t)shape[i], &bytes))
            return fail(error, MAAS_E_INVALID, "'%s' has an impossible size", port->name.data);
    }
    void *data = shape ? engine_job_alloc(job, bytes, 64) : NULL;
    if (!data)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a row of '%s'", port->name.data);
    memset(data, 0, bytes);
    maas_str *texts = data;
    for (size_t i = 0; port->dtype.code == MAAS_HANDLE && i < bytes / sizeof(*texts); i++)
        texts[i] = (maas_str){ "", 0 };
    *out = (maas_named){ .name = port->name,
                         .tensor = { .data = data,
                                     .device_type = 1,
                                     .ndim = port->ndim,
                                     .dtype = port->dtype,
                                     .shape = shape } };
    return MAAS_OK;
}

static maas_status zeros(struct engine_job *job, const maas_signature *s,
                         struct engine_request *out, maas_error *error)
{
    maas_status status = MAAS_OK;
    *out = (struct engine_request){ .rows = 1, .input_count = s->input_count };
    out->inputs = engine_job_alloc(job, s->input_count * sizeof(*out->inputs), CACHE_LINE);
    if (!out->inputs)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a self-test");
    for (uint32_t i = 0; i < s->input_count && status == MAAS_OK; i++)
        status = zero_input(job, &s->inputs[i], &out->inputs[i], error);
    return status;
}

static maas_status ask_zeros(struct engine_model *model, struct engine_job *job, maas_error *error)
{
    struct engine_request request;
    struct str param;
    maas_status status = zeros(job, engine_signature(model), &request, error);
    if (status == MAAS_OK)
        status = engine_infer(model, job, &request, &param, error);
    return status == MAAS_E_INVALID ? MAAS_OK : status;
}

/* ---- samples */

static maas_status ask_sample(const struct samples *samples, uint32_t index,
                              struct engine_model *model, struct engine_job *job, maas_error *error)
{
    const maas_signature *s = engine_signature(model);
    struct engine_request request;
    struct str param;
    engine_job_reset(job);
    maas_status status = sample_decode(samples, index, s, job, &request, error);
    if (status == MAAS_OK)
        status = engine_infer(model, job, &request, &param, error);
    if (status == MAAS_OK)
        status = sample_compare(samples, index, job, error);
    return status;
}

static maas_status ask_all(const struct selftest *test, struct engine_model *model,
                           struct engine_job *job, maas_error *error)
{
    uint32_t count = samples_count(test->samples);
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = MAAS_OK;
    if (count == 0 && (status = ask_zeros(model, job, &why)))
        return fail(error, status, "self-test, one row of zeros: %.200s", why.text);
    for (uint32_t i = 0; i < count; i++)
        if ((status = ask_sample(test->samples, i, model, job, &why)))
            return fail(error, status, "self-test, samples[%u]: %.200s", i, why.text);
    return MAAS_OK;
}

maas_status selftest_run(const struct selftest *test, struct engine_model *model, maas_error *error)
{
    struct engine_job *job = NULL;
    maas_status status = engine_job_new(JOB_MAX, &job, error);
    if (status == MAAS_OK)
        status = ask_all(test, model, job, error);
    engine_job_free(job);
    return status;
}
