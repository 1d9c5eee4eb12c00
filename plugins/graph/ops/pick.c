/*
 * pick.c: elements by index: Gather and GatherElements, and the largest of a row (TopK).
 */
#include "families.h"

#include <stdlib.h>

#include "element.h"

static maas_status read_axis(const struct call *c, int64_t fallback, uint32_t *axis,
                             maas_error *error)
{
    if (!call_has(c, 0) ||
        !shape_axis(&c->in[0]->shape, call_int(c, "axis", fallback), false, axis))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    return MAAS_OK;
}

static maas_status check_indices(const struct call *c, maas_error *error)
{
    if (!call_has(c, 1) || (c->in[1]->type != T_I64 && c->in[1]->type != T_I32))
        return maas_fail(error, MAAS_E_INVALID, "input 1 must be integers");
    return MAAS_OK;
}

/* An index that may count from the end. */
static maas_status index_at(const struct tensor *t, size_t at, int64_t extent, size_t *out,
                            maas_error *error)
{
    const int64_t index = tensor_integer(t, at);
    if (index < -extent || index >= extent)
        return maas_fail(error, MAAS_E_INVALID, "index %lld is outside of %lld elements",
                         (long long)index, (long long)extent);
    *out = (size_t)(index < 0 ? index + extent : index);
    return MAAS_OK;
}

/* ---- Gather: whole slices */

static maas_status shape_gather(struct call *c, maas_error *error)
{
    uint32_t axis;
    maas_status status = read_axis(c, 0, &axis, error);
    if (!status)
        status = check_indices(c, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape, *i = &c->in[1]->shape;
    struct shape s = { .rank = 0 };
    if (x->rank - 1 + i->rank > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "%u dimensions; at most %d are allowed",
                         x->rank - 1 + i->rank, RANK_MAX);
    for (uint32_t d = 0; d < axis; d++)
        s.dim[s.rank++] = x->dim[d];
    for (uint32_t d = 0; d < i->rank; d++)
        s.dim[s.rank++] = i->dim[d];
    for (uint32_t d = axis + 1; d < x->rank; d++)
        s.dim[s.rank++] = x->dim[d];
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_gather(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    uint32_t axis = 0;
    maas_status status = read_axis(c, 0, &axis, error);
    const size_t outer = shape_span(x, 0, axis),
                 inner = shape_span(x, axis + 1, x->rank) * type_size(c->in[0]->type);
    const size_t count = tensor_count(c->in[1]), extent = (size_t)x->dim[axis];
    for (size_t k = 0; !status && k < count; k++) {
        size_t from = 0;
        status = index_at(c->in[1], k, x->dim[axis], &from, error);
        for (size_t o = 0; !status && inner && o < outer; o++)
            memcpy((char *)c->out[0]->data + (o * count + k) * inner,
                   (const char *)c->in[0]->data + (o * extent + from) * inner, inner);
    }
    return status;
}

/* ---- GatherElements: one by one; the indices' shape is the output's */

static maas_status shape_elements(struct call *c, maas_error *error)
{
    uint32_t axis;
    maas_status status = read_axis(c, 0, &axis, error);
    if (!status)
        status = check_indices(c, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape, *i = &c->in[1]->shape;
    bool fits = x->rank == i->rank;
    for (uint32_t d = 0; fits && d < x->rank; d++)
        fits = d == axis || i->dim[d] <= x->dim[d];
    if (!fits)
        return maas_fail(error, MAAS_E_INVALID, "the indices are not within the input's extents");
    return call_out(c, 0, c->in[0]->type, i, error);
}

static maas_status run_elements(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape, *y = &c->in[1]->shape;
    const size_t size = type_size(c->in[0]->type), all = tensor_count(c->in[1]);
    uint32_t axis = 0;
    maas_status status = read_axis(c, 0, &axis, error);
    for (size_t i = 0; !status && i < all; i++) {
        size_t rest = i, at = 0, step = 1, index = 0;
        status = index_at(c->in[1], i, x->dim[axis], &index, error);
        for (uint32_t d = x->rank; d-- > 0;) {
            at += (d == axis ? index : rest % (size_t)y->dim[d]) * step;
            rest /= (size_t)y->dim[d];
            step *= (size_t)x->dim[d];
        }
        if (!status)
            memcpy((char *)c->out[0]->data + i * size, (const char *)c->in[0]->data + at * size,
                   size);
    }
    return status;
}

/* ---- TopK: values and indices; equal ones in the order of their indices */

static maas_status read_k(const struct call *c, int64_t *k, maas_error *error)
{
    uint32_t count = 1;
    *k = call_int(c, "k", 0);
    maas_status status = c->opset < 10 ? MAAS_OK : call_integers(c, 1, k, 1, &count, error);
    if (!status && (count != 1 || *k < 0))
        status = maas_fail(error, MAAS_E_INVALID, "k must be one number that is not below 0");
    return status;
}

static maas_status shape_top(struct call *c, maas_error *error)
{
    uint32_t axis;
    int64_t k;
    maas_status status = read_axis(c, -1, &axis, error);
    if (!status)
        status = read_k(c, &k, error);
    if (!status && k > c->in[0]->shape.dim[axis])
        status = maas_fail(error, MAAS_E_INVALID, "k is %lld of %lld elements", (long long)k,
                           (long long)c->in[0]->shape.dim[axis]);
    if (status)
        return status;
    struct shape s = c->in[0]->shape;
    c->space_bytes = (size_t)s.dim[axis] * sizeof(struct {
                         double value;
                         int64_t index;
                     });
    s.dim[axis] = k;
    status = call_out(c, 0, c->in[0]->type, &s, error);
    return status ? status : call_out(c, 1, T_I64, &s, error);
}

struct ranked {
    double value; /* descending: negated for the smallest */
    int64_t index;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static maas_status run_top(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const bool largest = call_int(c, "largest", 1) != 0;
    struct ranked *all = c->space;
    uint32_t axis = 0;
    int64_t k = 0;
    maas_status status = read_axis(c, -1, &axis, error);
    if (!status)
        status = read_k(c, &k, error);
    const size_t inner = shape_span(x, axis + 1, x->rank), extent = (size_t)x->dim[axis];
    for (size_t o = 0; !status && o < shape_span(x, 0, axis); o++)
        for (size_t i = 0; i < inner; i++) {
            for (size_t e = 0; e < extent; e++) {
                const double v = tensor_real(c->in[0], (o * extent + e) * inner + i);
                all[e] = (struct ranked){ largest ? v : -v, (int64_t)e };
            }
            qsort(all, extent, sizeof(*all), by_rank);
            for (size_t e = 0; e < (size_t)k; e++) {
                const size_t to = (o * (size_t)k + e) * inner + i;
                const size_t from = (o * extent + (size_t)all[e].index) * inner + i,
                             size = type_size(c->in[0]->type);
                if (c->out[0])
                    memcpy((char *)c->out[0]->data + to * size,
                           (const char *)c->in[0]->data + from * size, size);
                if (c->output_count > 1 && c->out[1])
                    ((int64_t *)c->out[1]->data)[to] = all[e].index;
            }
        }
    return status;
}

const struct operator ops_pick[] = {
    { .name = "Gather",
      .attributes = "axis:i",
      .least_in = 2,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_gather,
      .run = run_gather },
    { .name = "GatherElements",
      .attributes = "axis:i",
      .least_in = 2,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_elements,
      .run = run_elements },
    { .name = "TopK",
      .attributes = "axis:i k:i largest:i sorted:i",
      .least_in = 1,
      .most_in = 2,
      .least_out = 1,
      .most_out = 2,
      .shape = shape_top,
      .run = run_top },
    { 0 },
};
