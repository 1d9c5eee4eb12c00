/*
 * operators.c: the families of operators, and what their rules share.
 */
#include "operator.h"

#include <stdio.h>

#include "ops/families.h"

static const struct operator* const families[] = {
    ops_activation, ops_arithmetic, ops_cast,      ops_conv,  ops_create, ops_logic,
    ops_loss,       ops_move,       ops_normalise, ops_pick,  ops_pool,   ops_product,
    ops_reduce,     ops_resize,     ops_softmax,   ops_unary, ops_view,
};

const struct operator* operator_find(const char *name, size_t len)
{
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
        for (const struct operator* o = families[f]; o->name; o++)
            if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
                return o;
    return NULL;
}

/* ---- attributes */

const struct attribute *call_attribute(const struct call *c, const char *name)
{
    for (uint32_t i = 0; i < c->attribute_count; i++)
        if (strcmp(c->attributes[i].name, name) == 0)
            return &c->attributes[i];
    return NULL;
}

int64_t call_int(const struct call *c, const char *name, int64_t fallback)
{
    const struct attribute *a = call_attribute(c, name);
    return a ? a->integer : fallback;
}

float call_float(const struct call *c, const char *name, float fallback)
{
    const struct attribute *a = call_attribute(c, name);
    return a ? a->real : fallback;
}

bool call_text_is(const struct call *c, const char *name, const char *text, bool fallback)
{
    const struct attribute *a = call_attribute(c, name);
    return a ? a->text.len == strlen(text) && memcmp(a->text.data, text, a->text.len) == 0
             : fallback;
}

const int64_t *call_ints(const struct call *c, const char *name, uint32_t *count)
{
    const struct attribute *a = call_attribute(c, name);
    *count = a ? a->count : 0;
    return a ? a->integers : NULL;
}

/* ---- inputs and outputs */

bool call_has(const struct call *c, uint32_t input)
{
    return input < c->input_count && c->in[input];
}

maas_status call_type(const struct call *c, uint32_t input, int32_t type, maas_error *error)
{
    if (!call_has(c, input))
        return maas_fail(error, MAAS_E_INVALID, "input %u is missing", input);
    const int32_t got = c->in[input]->type;
    if (type == T_NONE ? !type_is_float(got) : got != type)
        return maas_fail(error, MAAS_E_INVALID, "input %u is of type %s, which must be %s", input,
                         type_name(got), type == T_NONE ? "a float" : type_name(type));
    return MAAS_OK;
}

maas_status call_constant(const struct call *c, uint32_t input, maas_error *error)
{
    if (!call_has(c, input))
        return maas_fail(error, MAAS_E_INVALID, "input %u is missing", input);
    if (!c->in[input]->data && tensor_count(c->in[input]))
        return maas_fail(error, MAAS_E_PRECONDITION,
                         "input %u must be known when the model is planned: a shape hangs on it",
                         input);
    return MAAS_OK;
}

maas_status call_integers(const struct call *c, uint32_t input, int64_t *out, uint32_t room,
                          uint32_t *count, maas_error *error)
{
    maas_status status = call_constant(c, input, error);
    if (status)
        return status;
    const struct tensor *t = c->in[input];
    if (t->shape.rank > 1 || (t->type != T_I64 && t->type != T_I32) || tensor_count(t) > room)
        return maas_fail(error, MAAS_E_INVALID, "input %u must be at most %u integers in a row",
                         input, room);
    *count = (uint32_t)tensor_count(t);
    for (uint32_t i = 0; i < *count; i++)
        out[i] = tensor_integer(t, i);
    return MAAS_OK;
}

maas_status call_out(struct call *c, uint32_t output, int32_t type, const struct shape *shape,
                     maas_error *error)
{
    maas_status status = shape_check(shape, type, error);
    if (!status && output < c->output_count && c->out[output]) {
        c->out[output]->type = type;
        c->out[output]->shape = *shape;
    }
    return status;
}

maas_status shape_same(struct call *c, maas_error *error)
{
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    return call_out(c, 0, c->in[0]->type, &c->in[0]->shape, error);
}

maas_status shape_same_float(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    return status ? status : shape_same(c, error);
}
