/*
 * answer.c: asks the real engine and compares what comes back (sample.h).
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "sample.h"

#define ARENA_MAX ((size_t)1 << 30)

struct answer answer_new(void)
{
    struct answer a = { .status = MAAS_E_UNKNOWN, .error = MAAS_ERROR_INIT };
    CHECK(engine_job_new(ARENA_MAX, &a.job, NULL) == MAAS_OK);
    return a;
}

void answer_free(struct answer *a)
{
    engine_job_free(a->job);
    a->job = NULL;
}

maas_status ask(struct engine_model *model, const struct sample *sample, const struct manner *how,
                struct answer *out)
{
    struct str param;
    maas_named inputs[SAMPLE_PORTS_MAX];
    memcpy(inputs, sample->inputs, sizeof(inputs));
    struct engine_request request = { .rows = sample->rows,
                                      .inputs = inputs,
                                      .input_count = sample->input_count,
                                      .trace_id = STR("check") };
    if (how) {
        request.deadline_ns = how->deadline_ns;
        request.cancelled = how->cancelled;
        request.cancelled_arg = how->arg;
    }
    engine_job_reset(out->job);
    out->rows = sample->rows;
    out->error = (maas_error)MAAS_ERROR_INIT;
    out->status = how && how->explain
                      ? engine_explain(model, out->job, &request, &param, &out->error)
                      : engine_infer(model, out->job, &request, &param, &out->error);
    return out->status;
}

struct errand {
    struct engine_model *model;
    const struct sample *sample;
    struct answer *out;
};

static void *run_errand(void *arg)
{
    const struct errand *e = arg;
    (void)ask(e->model, e->sample, NULL, e->out);
    return NULL;
}

maas_status ask_on_a_thread(struct engine_model *model, const struct sample *sample,
                            struct answer *out)
{
    pthread_t thread;
    struct errand errand = { model, sample, out };
    CHECK(pthread_create(&thread, NULL, run_errand, &errand) == 0);
    pthread_join(thread, NULL);
    return out->status;
}

/* ---- comparing */

static bool strings_agree(const maas_str *a, const maas_str *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].len != b[i].len || memcmp(a[i].data, b[i].data, a[i].len) != 0)
            return false;
    return true;
}

static bool rows_agree(const maas_tensor *a, size_t a_first, const maas_tensor *b, size_t b_first,
                       size_t count)
{
    size_t n = row_elements(a), bytes = a->dtype.bits / 8u;
    const char *x = (const char *)a->data + a_first * n * bytes;
    const char *y = (const char *)b->data + b_first * n * bytes;
    if (n != row_elements(b))
        return false;
    if (a->dtype.code == MAAS_HANDLE)
        return strings_agree((const void *)x, (const void *)y, count * n);
    return memcmp(x, y, count * n * bytes) == 0;
}

bool answers_agree(const struct answer *a, uint32_t a_first, const struct answer *b,
                   uint32_t b_first, uint32_t count, char *why, size_t why_size)
{
    uint32_t outputs, others;
    const maas_named *x = engine_job_outputs(a->job, &outputs);
    const maas_named *y = engine_job_outputs(b->job, &others);
    for (uint32_t i = 0; i < outputs && outputs == others; i++)
        if (!rows_agree(&x[i].tensor, a_first, &y[i].tensor, b_first, count)) {
            snprintf(why, why_size, "output '%s' differs", x[i].name.data);
            return false;
        }
    snprintf(why, why_size, "one has outputs and the other has none");
    return outputs == others;
}

static bool tensor_finite(const maas_tensor *t, size_t count)
{
    const double *wide = t->data;
    const float *narrow = t->data;
    for (size_t i = 0; t->dtype.code == MAAS_FLOAT && i < count; i++)
        if ((t->dtype.bits == 64 && !isfinite(wide[i])) ||
            (t->dtype.bits == 32 && !isfinite(narrow[i])))
            return false;
    return true;
}

bool answer_finite(const struct answer *a, char *why, size_t why_size)
{
    uint32_t count;
    const maas_named *outputs = engine_job_outputs(a->job, &count);
    for (uint32_t i = 0; i < count; i++)
        if (!tensor_finite(&outputs[i].tensor, a->rows * row_elements(&outputs[i].tensor))) {
            snprintf(why, why_size, "output '%s' holds NaN or infinity, which JSON cannot carry",
                     outputs[i].name.data);
            return false;
        }
    return true;
}
