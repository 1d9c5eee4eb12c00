/*
 * create.c: what comes from attributes, shapes or a rule.
 */
#include "families.h"

#include <math.h>

#include "element.h"

/* ---- Constant */

static maas_status shape_constant(struct call *c, maas_error *error)
{
    static const char *const names[] = { "value", "value_float", "value_int", "value_floats",
                                         "value_ints" };
    const struct attribute *a = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !a; i++)
        a = call_attribute(c, names[i]);
    if (!a)
        return maas_fail(error, MAAS_E_INVALID, "no value is given");
    struct shape s = { .rank = a->type == A_FLOATS || a->type == A_INTS, .dim = { a->count } };
    const bool real = a->type == A_FLOAT || a->type == A_FLOATS;
    return a->tensor ? call_out(c, 0, a->tensor->type, &a->tensor->shape, error)
                     : call_out(c, 0, real ? T_F32 : T_I64, &s, error);
}

static maas_status run_constant(const struct call *c, maas_error *error)
{
    const struct attribute *a = &c->attributes[0];
    const void *from = a->tensor            ? a->tensor->data
                       : a->type == A_FLOAT ? (const void *)&a->real
                       : a->type == A_INT   ? (const void *)&a->integer
                       : a->type == A_INTS  ? (const void *)a->integers
                                            : (const void *)a->reals;
    (void)error;
    if (tensor_count(c->out[0]))
        memcpy(c->out[0]->data, from, tensor_bytes(c->out[0]));
    return MAAS_OK;
}

/* ---- ConstantOfShape */

static maas_status shape_filled(struct call *c, maas_error *error)
{
    struct shape s = { .rank = 0 };
    const struct attribute *value = call_attribute(c, "value");
    if (value && tensor_count(value->tensor) != 1)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'value' must be one number");
    maas_status status = call_integers(c, 0, s.dim, RANK_MAX, &s.rank, error);
    return status ? status : call_out(c, 0, value ? value->tensor->type : T_F32, &s, error);
}

static maas_status run_filled(const struct call *c, maas_error *error)
{
    const struct attribute *value = call_attribute(c, "value");
    const size_t count = tensor_count(c->out[0]), size = type_size(c->out[0]->type);
    (void)error;
    if (!value)
        memset(c->out[0]->data ? c->out[0]->data : (void *)&(char){ 0 }, 0, count * size);
    else if (count)
        element_copy(c->out[0]->data, value->tensor->data, count, 0, size);
    return MAAS_OK;
}

/* ---- Shape and Size: known as soon as shapes are. The plan runs them when it is made only where
 * their input is constant, so their kernels give the same. */

static void shape_range(const struct call *c, int64_t *start, int64_t *end)
{
    const int64_t rank = c->in[0]->shape.rank;
    *start = call_int(c, "start", 0);
    *end = call_int(c, "end", rank);
    *start = *start < 0 ? *start + rank : *start;
    *end = *end < 0 ? *end + rank : *end;
    *start = *start < 0 ? 0 : *start > rank ? rank : *start;
    *end = *end < *start ? *start : *end > rank ? rank : *end;
}

static maas_status shape_shape(struct call *c, maas_error *error)
{
    int64_t start, end;
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    shape_range(c, &start, &end);
    const struct shape s = { .rank = 1, .dim = { end - start } };
    return call_out(c, 0, T_I64, &s, error);
}

static maas_status run_shape(const struct call *c, maas_error *error)
{
    int64_t start, end;
    (void)error;
    shape_range(c, &start, &end);
    for (int64_t i = start; i < end; i++)
        ((int64_t *)c->out[0]->data)[i - start] = c->in[0]->shape.dim[i];
    return MAAS_OK;
}

static maas_status shape_size(struct call *c, maas_error *error)
{
    const struct shape s = { .rank = 0 };
    return call_has(c, 0) ? call_out(c, 0, T_I64, &s, error)
                          : maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
}

static maas_status run_size(const struct call *c, maas_error *error)
{
    (void)error;
    *(int64_t *)c->out[0]->data = (int64_t)tensor_count(c->in[0]);
    return MAAS_OK;
}

/* ---- Range: start, limit, delta */

static maas_status shape_steps(struct call *c, maas_error *error)
{
    struct shape s = { .rank = 1 };
    for (uint32_t i = 0; i < 3; i++) {
        maas_status status = call_constant(c, i, error);
        if (status)
            return status;
        if (c->in[i]->type != c->in[0]->type || tensor_count(c->in[i]) != 1)
            return maas_fail(error, MAAS_E_INVALID,
                             "input %u must be one number of the type of input 0", i);
    }
    const double start = tensor_real(c->in[0], 0), limit = tensor_real(c->in[1], 0),
                 delta = tensor_real(c->in[2], 0);
    const double count = ceil((limit - start) / delta);
    if (!(fabs(count) < 1e9) || delta == 0)
        return maas_fail(error, MAAS_E_INVALID, "a range from %g to %g by %g", start, limit, delta);
    s.dim[0] = count > 0 ? (int64_t)count : 0;
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_steps(const struct call *c, maas_error *error)
{
    const size_t count = tensor_count(c->out[0]);
    (void)error;
    for (size_t i = 0; i < count; i++)
        if (type_is_float(c->out[0]->type))
            element_put_real(c->out[0], i,
                             tensor_real(c->in[0], 0) + (double)i * tensor_real(c->in[2], 0));
        else
            element_put_integer(c->out[0], i,
                                (int64_t)((uint64_t)tensor_integer(c->in[0], 0) +
                                          i * (uint64_t)tensor_integer(c->in[2], 0)));
    return MAAS_OK;
}

const struct operator ops_create[] = {
    { .name = "Constant",
      .attributes = "value:t value_float:f value_int:i value_floats:F value_ints:I",
      .least_in = 0,
      .most_in = 0,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_constant,
      .run = run_constant },
    { .name = "ConstantOfShape",
      .attributes = "value:t",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_filled,
      .run = run_filled },
    { .name = "Shape",
      .attributes = "start:i end:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .flags = OP_SHAPE_ALONE,
      .shape = shape_shape,
      .run = run_shape },
    { .name = "Size",
      .attributes = "",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .flags = OP_SHAPE_ALONE,
      .shape = shape_size,
      .run = run_size },
    { .name = "Range",
      .attributes = "",
      .least_in = 3,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_steps,
      .run = run_steps },
    { 0 },
};
