/*
 * softmax.c: along one axis from opset 13; before, over all dimensions from `axis` (1) on.
 */
#include "families.h"

#include <math.h>

#include "element.h"
#include "kernels/activation.h"

/* [outer, extent, inner] */
struct rows {
    size_t outer, extent, inner;
};

static maas_status read_rows(const struct call *c, struct rows *r, maas_error *error)
{
    uint32_t axis;
    if (!call_has(c, 0) ||
        !shape_axis(&c->in[0]->shape, call_int(c, "axis", c->opset < 13 ? 1 : -1), c->opset < 13,
                    &axis))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    const struct shape *x = &c->in[0]->shape;
    const bool whole = c->opset < 13;
    r->outer = shape_span(x, 0, axis);
    r->extent = whole ? shape_span(x, axis, x->rank) : (size_t)x->dim[axis];
    r->inner = whole ? 1 : shape_span(x, axis + 1, x->rank);
    return MAAS_OK;
}

static maas_status shape_rows(struct call *c, maas_error *error)
{
    struct rows r;
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status)
        status = read_rows(c, &r, error);
    return status ? status : shape_same(c, error);
}

enum kind { PLAIN, LOGARITHM, HARD };

static void one_row(const struct call *c, size_t base, const struct rows *r, enum kind kind)
{
    const struct tensor *x = c->in[0];
    size_t best = 0;
    double sum = 0;
    for (size_t i = 1; i < r->extent; i++)
        best =
            tensor_real(x, base + i * r->inner) > tensor_real(x, base + best * r->inner) ? i : best;
    const double most = tensor_real(x, base + best * r->inner);
    for (size_t i = 0; i < r->extent; i++)
        sum += exp(tensor_real(x, base + i * r->inner) - most);
    for (size_t i = 0; i < r->extent; i++) {
        const double v = tensor_real(x, base + i * r->inner) - most;
        element_put_real(c->out[0], base + i * r->inner,
                         kind == HARD    ? i == best
                         : kind == PLAIN ? exp(v) / sum
                                         : v - log(sum));
    }
}

static maas_status run_rows(const struct call *c, enum kind kind, maas_error *error)
{
    struct rows r;
    maas_status status = read_rows(c, &r, error);
    if (status || !tensor_count(c->in[0]))
        return status;
    if (kind == PLAIN && c->in[0]->type == T_F32 && r.inner == 1)
        softmax(c->out[0]->data, c->in[0]->data, r.outer, r.extent);
    else
        for (size_t o = 0; o < r.outer; o++)
            for (size_t i = 0; i < r.inner; i++)
                one_row(c, o * r.extent * r.inner + i, &r, kind);
    return MAAS_OK;
}

static maas_status run_softmax(const struct call *c, maas_error *error)
{
    return run_rows(c, PLAIN, error);
}

static maas_status run_log_softmax(const struct call *c, maas_error *error)
{
    return run_rows(c, LOGARITHM, error);
}

static maas_status run_hardmax(const struct call *c, maas_error *error)
{
    return run_rows(c, HARD, error);
}

#define ROWS(n, kernel)                                                                            \
    {                                                                                              \
        .name = n, .attributes = "axis:i", .least_in = 1, .most_in = 1, .least_out = 1,            \
        .most_out = 1, .shape = shape_rows, .run = kernel                                          \
    }
const struct operator ops_softmax[] = {
    ROWS("Softmax", run_softmax),
    ROWS("LogSoftmax", run_log_softmax),
    ROWS("Hardmax", run_hardmax),
    { 0 },
};
