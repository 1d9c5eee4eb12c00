/*
 * cast.c: from one type of numbers to another. Floats to integers are cut; what is out of range
 * becomes the nearest that there is.
 */
#include "families.h"

#include "element.h"

static maas_status shape_cast(struct call *c, maas_error *error)
{
    const int64_t to = call_int(c, "to", 0);
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    if (to < 0 || to > INT32_MAX || !type_size((int32_t)to))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "type %lld is not supported", (long long)to);
    return call_out(c, 0, (int32_t)to, &c->in[0]->shape, error);
}

static maas_status shape_cast_like(struct call *c, maas_error *error)
{
    if (!call_has(c, 0) || !call_has(c, 1))
        return maas_fail(error, MAAS_E_INVALID, "an input is missing");
    return call_out(c, 0, c->in[1]->type, &c->in[0]->shape, error);
}

static maas_status run_cast(const struct call *c, maas_error *error)
{
    const struct tensor *x = c->in[0], *y = c->out[0];
    const size_t count = tensor_count(x);
    const bool real = type_is_float(x->type);
    (void)error;
    if (x->type == y->type && count)
        memcpy(y->data, x->data, tensor_bytes(x));
    else
        for (size_t i = 0; i < count; i++)
            if (real)
                element_put_real(y, i, tensor_real(x, i));
            else
                element_put_integer(y, i, tensor_integer(x, i));
    return MAAS_OK;
}

const struct operator ops_cast[] = {
    { .name = "Cast",
      .attributes = "to:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_cast,
      .run = run_cast },
    { .name = "CastLike",
      .attributes = "",
      .least_in = 2,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_cast_like,
      .run = run_cast },
    { 0 },
};
