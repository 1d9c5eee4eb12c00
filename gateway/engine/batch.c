/*
 * batch.c: requests merged into one call. Alike are those with equal parameters (as the plugin gets
 * them: a default that was spelled out equals one that was not) and equal extents of all inputs but
 * the rows; their rows are copied one behind the other, and the outputs are looked at in place, a
 * member's rows at a time, so nothing is copied back.
 *
 * Strings are not copied: a tensor's maas_str lead to the bytes of its own member.
 */
#include <string.h>

#include "engine/internal.h"

static bool has_free_extent(const maas_port *port)
{
    for (int32_t i = 1; i < port->ndim; i++)
        if (port->shape[i] < 0)
            return true;
    return false;
}

bool engine_merges(const struct engine_model *m, uint32_t *out_rows_max)
{
    const maas_signature *s = &m->signature;
    *out_rows_max = s->max_rows;
    for (uint32_t i = 0; i < s->output_count && !s->rows_independent; i++)
        if (has_free_extent(&s->outputs[i]))
            return false;
    return s->max_rows != 1;
}

maas_status engine_check(struct engine_model *m, struct engine_job *job,
                         const struct engine_request *r, struct engine_checked *out,
                         struct str *out_param, maas_error *error)
{
    *out_param = STR("");
    maas_status status = model_prepare(m, job, r, &out->request, out_param, error);
    if (status)
        return status;
    model_bind(m, job, r);
    return model_validate(m, job, &out->request, error);
}

/* ---- alike */

static bool option_eq(const maas_option *a, const maas_option *b)
{
    switch (a->kind) {
    case MAAS_OPTION_FLOAT: /* bit for bit: -0 may mean something */
        return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
    case MAAS_OPTION_TEXT:
        return name_eq(a->text, b->text);
    default:
        return a->integer == b->integer;
    }
}

static bool extents_eq(const maas_tensor *a, const maas_tensor *b)
{
    for (int32_t i = 1; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

/* Both fit one signature: the number and kinds of parameters, the dtypes and dimensions are equal.
 */
bool engine_alike(const struct engine_checked *a, const struct engine_checked *b)
{
    for (uint32_t i = 0; i < a->request.param_count; i++)
        if (!option_eq(&a->request.params[i], &b->request.params[i]))
            return false;
    for (uint32_t i = 0; i < a->request.input_count; i++)
        if (!extents_eq(&a->request.inputs[i].tensor, &b->request.inputs[i].tensor))
            return false;
    return true;
}

static uint64_t with(uint64_t hash, const void *data, size_t len)
{
    uint64_t both[2] = { hash, hash_bytes(data, len) };
    return hash_bytes(both, sizeof(both));
}

uint64_t engine_likeness(const struct engine_checked *c)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < c->request.param_count; i++) {
        const maas_option *o = &c->request.params[i];
        if (o->kind == MAAS_OPTION_TEXT)
            hash = with(hash, o->text.data, o->text.len);
        else if (o->kind == MAAS_OPTION_FLOAT)
            hash = with(hash, &o->real, sizeof(o->real));
        else
            hash = with(hash, &o->integer, sizeof(o->integer));
    }
    for (uint32_t i = 0; i < c->request.input_count; i++) {
        const maas_tensor *t = &c->request.inputs[i].tensor;
        hash = with(hash, t->shape + 1, (size_t)(t->ndim - 1) * sizeof(*t->shape));
    }
    return hash;
}

/* ---- one call */

static bool total_rows(const struct engine_checked *checked, uint32_t count, uint32_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < count; i++)
        if (__builtin_add_overflow(*out, checked[i].request.rows, out))
            return false;
    return true;
}

/* Input `port` of all members, one behind the other. */
static bool gather(struct engine_job *job, const struct engine_checked *checked, uint32_t count,
                   uint32_t port, uint32_t rows, maas_named *out)
{
    *out = checked[0].request.inputs[port];
    size_t bytes, row = tensor_row_bytes(&out->tensor);
    size_t extents = (size_t)out->tensor.ndim * sizeof(int64_t);
    if (__builtin_mul_overflow(row, (size_t)rows, &bytes))
        return false;
    char *to = engine_job_alloc(job, bytes, 64);
    int64_t *shape = engine_job_alloc(job, extents, 8);
    if (!to || !shape)
        return false;
    memcpy(shape, out->tensor.shape, extents);
    shape[0] = rows;
    out->tensor.data = to;
    out->tensor.shape = shape;
    for (uint32_t i = 0; row && i < count; i++) {
        size_t some = row * checked[i].request.rows; /* part of `bytes`, which did not overflow */
        memcpy(to, checked[i].request.inputs[port].tensor.data, some);
        to += some;
    }
    return true;
}

static bool merge(struct engine_job *job, const struct engine_checked *checked, uint32_t count,
                  maas_request *out)
{
    uint32_t rows;
    *out = checked[0].request;
    maas_named *inputs = engine_job_alloc(job, out->input_count * sizeof(*inputs), CACHE_LINE);
    if (!inputs || !total_rows(checked, count, &rows))
        return false;
    for (uint32_t i = 0; i < out->input_count; i++)
        if (!gather(job, checked, count, i, rows, &inputs[i]))
            return false;
    out->rows = rows;
    out->inputs = inputs;
    out->trace_id = (maas_str){ "", 0 }; /* it stands for nobody's */
    return true;
}

maas_status engine_infer_merged(struct engine_model *m, struct engine_job *job,
                                const struct engine_checked *checked, uint32_t count,
                                const struct engine_request *call, maas_error *error)
{
    maas_request request = checked[0].request;
    if (count > 1 && !merge(job, checked, count, &request))
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the rows of %u requests", count);
    request.deadline_ns = call->deadline_ns;
    model_bind(m, job, call);
    return model_infer(m, job, &request, error);
}
