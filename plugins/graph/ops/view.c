/*
 * view.c: the same elements under another shape. A plan lets output and input be the same memory
 * where it can; where it cannot, they are copied.
 */
#include "families.h"

static maas_status run_view(const struct call *c, maas_error *error)
{
    (void)error;
    if (c->out[0] && c->out[0]->data != c->in[0]->data && tensor_count(c->in[0]))
        memcpy(c->out[0]->data, c->in[0]->data, tensor_bytes(c->in[0]));
    return MAAS_OK;
}

static maas_status view_as(struct call *c, const struct shape *shape, maas_error *error)
{
    maas_status status = shape_check(shape, c->in[0]->type, error);
    if (!status && shape_count(shape) != tensor_count(c->in[0])) {
        char from[100], to[100];
        status = maas_fail(error, MAAS_E_INVALID, "%s has not as many elements as %s",
                           shape_text(shape, to, sizeof(to)),
                           shape_text(&c->in[0]->shape, from, sizeof(from)));
    }
    return status ? status : call_out(c, 0, c->in[0]->type, shape, error);
}

/* ---- Reshape: 0 keeps an extent (unless allowzero), one -1 is what is left */

static maas_status fill_rest(const struct call *c, struct shape *s, uint32_t rest,
                             maas_error *error)
{
    s->dim[rest] = 1;
    maas_status status = shape_check(s, c->in[0]->type, error);
    const size_t known = status ? 0 : shape_count(s), all = tensor_count(c->in[0]);
    if (!status && (!known || all % known))
        status = maas_fail(error, MAAS_E_INVALID, "%zu elements are not a whole number of %zu", all,
                           known);
    if (!status)
        s->dim[rest] = (int64_t)(all / known);
    return status;
}

static maas_status shape_reshape(struct call *c, maas_error *error)
{
    struct shape s = { .rank = 0 };
    uint32_t rest = RANK_MAX;
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = call_integers(c, 1, s.dim, RANK_MAX, &s.rank, error);
    for (uint32_t i = 0; !status && i < s.rank; i++) {
        if (s.dim[i] == 0 && !call_int(c, "allowzero", 0)) {
            if (i >= c->in[0]->shape.rank)
                return maas_fail(error, MAAS_E_INVALID,
                                 "extent %u is to be kept, and there is none", i);
            s.dim[i] = c->in[0]->shape.dim[i];
        } else if (s.dim[i] == -1) {
            if (rest != RANK_MAX)
                return maas_fail(error, MAAS_E_INVALID, "two extents are -1");
            rest = i;
        }
    }
    if (!status && rest != RANK_MAX)
        status = fill_rest(c, &s, rest, error);
    return status ? status : view_as(c, &s, error);
}

static maas_status shape_flatten(struct call *c, maas_error *error)
{
    uint32_t axis;
    if (!call_has(c, 0) || !shape_axis(&c->in[0]->shape, call_int(c, "axis", 1), true, &axis))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    const struct shape *x = &c->in[0]->shape;
    const struct shape s = {
        .rank = 2, .dim = { (int64_t)shape_span(x, 0, axis), (int64_t)shape_span(x, axis, x->rank) }
    };
    return view_as(c, &s, error);
}

/* ---- Squeeze and Unsqueeze: axes as an attribute until 12, as an input from 13 */

static maas_status read_axes(const struct call *c, int64_t *axes, uint32_t *count,
                             maas_error *error)
{
    const int64_t *given = call_ints(c, "axes", count);
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    if (call_has(c, 1))
        return call_integers(c, 1, axes, RANK_MAX, count, error);
    if (*count > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'axes' has %u values", *count);
    if (given)
        memcpy(axes, given, *count * sizeof(*axes));
    return MAAS_OK;
}

/* A bit for each axis of a shape of that rank; an axis twice is an error. */
static maas_status mark_axes(const int64_t *axes, uint32_t count, uint32_t rank, uint32_t *out,
                             maas_error *error)
{
    const struct shape s = { .rank = rank };
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t axis;
        if (!shape_axis(&s, axes[i], false, &axis) || (*out >> axis & 1))
            return maas_fail(error, MAAS_E_INVALID, "axis %lld is outside, or stands there twice",
                             (long long)axes[i]);
        *out |= 1u << axis;
    }
    return MAAS_OK;
}

static maas_status shape_squeeze(struct call *c, maas_error *error)
{
    int64_t axes[RANK_MAX];
    uint32_t count, marked = 0;
    struct shape s = { .rank = 0 };
    maas_status status = read_axes(c, axes, &count, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape;
    const bool all = !call_has(c, 1) && !call_attribute(c, "axes");
    status = mark_axes(axes, count, x->rank, &marked, error);
    for (uint32_t i = 0; !status && i < x->rank; i++) {
        const bool gone = all ? x->dim[i] == 1 : marked >> i & 1;
        if (gone && x->dim[i] != 1)
            return maas_fail(error, MAAS_E_INVALID, "axis %u has %lld elements", i,
                             (long long)x->dim[i]);
        if (!gone)
            s.dim[s.rank++] = x->dim[i];
    }
    return status ? status : view_as(c, &s, error);
}

static maas_status shape_unsqueeze(struct call *c, maas_error *error)
{
    int64_t axes[RANK_MAX];
    uint32_t count, marked = 0, from = 0;
    maas_status status = read_axes(c, axes, &count, error);
    if (status)
        return status;
    struct shape s = { .rank = c->in[0]->shape.rank + count };
    if (s.rank > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "%u dimensions; at most %d are allowed", s.rank,
                         RANK_MAX);
    status = mark_axes(axes, count, s.rank, &marked, error);
    for (uint32_t i = 0; !status && i < s.rank; i++)
        s.dim[i] = marked >> i & 1 ? 1 : c->in[0]->shape.dim[from++];
    return status ? status : view_as(c, &s, error);
}

/* ---- Dropout: nothing is dropped when a model answers */

static maas_status shape_dropout(struct call *c, maas_error *error)
{
    if (call_has(c, 2)) {
        maas_status status = call_type(c, 2, T_BOOL, error);
        if (!status)
            status = call_constant(c, 2, error);
        if (!status && tensor_count(c->in[2]) && tensor_integer(c->in[2], 0))
            status = maas_fail(error, MAAS_E_UNIMPLEMENTED, "training_mode is not supported");
        if (status)
            return status;
    }
    maas_status status = shape_same(c, error);
    return status
               ? status
               : call_out(c, 1, c->opset < 10 ? c->in[0]->type : T_BOOL, &c->in[0]->shape, error);
}

static maas_status run_dropout(const struct call *c, maas_error *error)
{
    if (c->output_count > 1 && c->out[1])
        memset(c->out[1]->data, 1, tensor_count(c->out[1]) * (c->out[1]->type == T_BOOL));
    if (c->output_count > 1 && c->out[1] && c->out[1]->type == T_F32)
        for (size_t i = 0; i < tensor_count(c->out[1]); i++)
            ((float *)c->out[1]->data)[i] = 1;
    return run_view(c, error);
}

#define VIEWS(n, list, least, most, rule)                                                          \
    {                                                                                              \
        .name = n, .attributes = list, .least_in = least, .most_in = most, .least_out = 1,         \
        .most_out = 1, .flags = OP_VIEW, .shape = rule, .run = run_view                            \
    }
const struct operator ops_view[] = {
    VIEWS("Reshape", "allowzero:i", 2, 2, shape_reshape),
    VIEWS("Flatten", "axis:i", 1, 1, shape_flatten),
    VIEWS("Squeeze", "axes:I", 1, 2, shape_squeeze),
    VIEWS("Unsqueeze", "axes:I", 1, 2, shape_unsqueeze),
    VIEWS("Identity", "", 1, 1, shape_same),
    { .name = "Dropout",
      .attributes = "ratio:f seed:i is_test:i",
      .least_in = 1,
      .most_in = 3,
      .least_out = 1,
      .most_out = 2,
      .flags = OP_VIEW,
      .shape = shape_dropout,
      .run = run_dropout },
    { 0 },
};
