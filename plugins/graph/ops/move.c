/*
 * move.c: elements to other places. All of these but Concat are one walk: the output in order, each
 * dimension a start and a step in the input; elements are moved by size, whatever their type.
 */
#include "families.h"

#include "element.h"

/* The output's element [i…] is the input's element start + sum of i step. */
struct walk {
    struct shape shape;
    ptrdiff_t start, step[RANK_MAX];
};

static void walk_copy(void *out, const void *in, const struct walk *w, size_t size)
{
    const uint32_t rank = w->shape.rank;
    const size_t run = rank ? (size_t)w->shape.dim[rank - 1] : 1, all = shape_count(&w->shape);
    const ptrdiff_t step = rank ? w->step[rank - 1] : 1;
    for (size_t i = 0; i < all; i += run) {
        ptrdiff_t at = w->start;
        size_t rest = run ? i / run : 0;
        for (uint32_t d = rank > 0 ? rank - 1 : 0; d-- > 0;) {
            at += (ptrdiff_t)(rest % (size_t)w->shape.dim[d]) * w->step[d];
            rest /= (size_t)w->shape.dim[d];
        }
        char *to = (char *)out + i * size;
        if (step >= 0)
            element_copy(to, (const char *)in + at * (ptrdiff_t)size, run, (size_t)step, size);
        else
            for (size_t k = 0; k < run; k++)
                memcpy(to + k * size,
                       (const char *)in + (at + (ptrdiff_t)k * step) * (ptrdiff_t)size, size);
    }
}

/* The input's own steps. */
static void walk_init(struct walk *w, const struct shape *in)
{
    ptrdiff_t step = 1;
    *w = (struct walk){ .shape = *in };
    for (uint32_t d = in->rank; d-- > 0; step *= in->dim[d])
        w->step[d] = step;
}

/* ---- Transpose */

static maas_status read_order(const struct call *c, uint32_t order[RANK_MAX], maas_error *error)
{
    uint32_t count, seen = 0;
    const int64_t *perm = call_ints(c, "perm", &count);
    const uint32_t rank = call_has(c, 0) ? c->in[0]->shape.rank : 0;
    if (perm && count != rank)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'perm' has %u values instead of %u",
                         count, rank);
    for (uint32_t i = 0; i < rank; i++) {
        const int64_t axis = perm ? perm[i] : rank - 1 - i;
        if (axis < 0 || axis >= rank || (seen >> axis & 1))
            return maas_fail(error, MAAS_E_INVALID, "attribute 'perm' is no order of %u axes",
                             rank);
        seen |= 1u << axis;
        order[i] = (uint32_t)axis;
    }
    return MAAS_OK;
}

static maas_status shape_transpose(struct call *c, maas_error *error)
{
    uint32_t order[RANK_MAX];
    maas_status status = read_order(c, order, error);
    if (status || !call_has(c, 0))
        return status ? status : maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    struct shape s = c->in[0]->shape;
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = c->in[0]->shape.dim[order[i]];
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_transpose(const struct call *c, maas_error *error)
{
    struct walk in, w = { .shape = c->out[0]->shape };
    uint32_t order[RANK_MAX] = { 0 };
    maas_status status = read_order(c, order, error);
    walk_init(&in, &c->in[0]->shape);
    for (uint32_t i = 0; i < w.shape.rank; i++)
        w.step[i] = in.step[order[i]];
    if (!status)
        walk_copy(c->out[0]->data, c->in[0]->data, &w, type_size(c->in[0]->type));
    return status;
}

/* ---- Concat and Split: blocks of whole inner rows */

static maas_status shape_concat(struct call *c, maas_error *error)
{
    uint32_t axis = 0;
    if (!call_has(c, 0) || !shape_axis(&c->in[0]->shape, call_int(c, "axis", 1), false, &axis))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    struct shape s = c->in[0]->shape;
    for (uint32_t i = 1; i < c->input_count; i++) {
        maas_status status = call_type(c, i, c->in[0]->type, error);
        if (status)
            return status;
        struct shape other = c->in[i]->shape;
        const int64_t extent = axis < other.rank ? other.dim[axis] : 0;
        if (axis < other.rank)
            other.dim[axis] = c->in[0]->shape.dim[axis];
        if (!shape_equal(&other, &c->in[0]->shape))
            return maas_fail(error, MAAS_E_INVALID, "input %u has other extents than input 0", i);
        s.dim[axis] += extent;
    }
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_concat(const struct call *c, maas_error *error)
{
    const struct shape *s = &c->out[0]->shape;
    const size_t size = type_size(c->out[0]->type);
    uint32_t axis = 0;
    size_t at = 0;
    (void)error;
    shape_axis(s, call_int(c, "axis", 1), false, &axis);
    const size_t outer = shape_span(s, 0, axis), row = shape_span(s, axis, s->rank) * size;
    for (uint32_t i = 0; i < c->input_count; i++) {
        const size_t bytes = shape_span(&c->in[i]->shape, axis, s->rank) * size;
        for (size_t o = 0; bytes && o < outer; o++)
            memcpy((char *)c->out[0]->data + o * row + at, (const char *)c->in[i]->data + o * bytes,
                   bytes);
        at += bytes;
    }
    return MAAS_OK;
}

static maas_status split_sizes(const struct call *c, uint32_t axis, int64_t sizes[CALL_IO_MAX],
                               maas_error *error)
{
    uint32_t count = 0;
    const int64_t all = c->in[0]->shape.dim[axis], *given = call_ints(c, "split", &count);
    int64_t sum = 0;
    maas_status status = MAAS_OK;
    if (call_has(c, 1))
        status = call_integers(c, 1, sizes, CALL_IO_MAX, &count, error);
    else if (given && count == c->output_count)
        memcpy(sizes, given, count * sizeof(*sizes));
    else if (!given && all % c->output_count == 0)
        for (; count < c->output_count; count++)
            sizes[count] = all / c->output_count;
    for (uint32_t i = 0; !status && count == c->output_count && i < count; i++) {
        if (sizes[i] < 0 || sizes[i] > all)
            return maas_fail(error, MAAS_E_INVALID, "a part of %lld", (long long)sizes[i]);
        sum += sizes[i];
    }
    if (!status && (count != c->output_count || sum != all))
        status = maas_fail(error, MAAS_E_INVALID, "%u parts of %lld elements are not %lld", count,
                           (long long)sum, (long long)all);
    return status;
}

static maas_status shape_split(struct call *c, maas_error *error)
{
    uint32_t axis;
    int64_t sizes[CALL_IO_MAX];
    if (!call_has(c, 0) || !shape_axis(&c->in[0]->shape, call_int(c, "axis", 0), false, &axis))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    maas_status status = split_sizes(c, axis, sizes, error);
    struct shape s = c->in[0]->shape;
    for (uint32_t i = 0; !status && i < c->output_count; i++) {
        s.dim[axis] = sizes[i];
        status = call_out(c, i, c->in[0]->type, &s, error);
    }
    return status;
}

static maas_status run_split(const struct call *c, maas_error *error)
{
    const struct shape *s = &c->in[0]->shape;
    const size_t size = type_size(c->in[0]->type);
    int64_t sizes[CALL_IO_MAX];
    uint32_t axis = 0;
    shape_axis(s, call_int(c, "axis", 0), false, &axis);
    maas_status status = split_sizes(c, axis, sizes, error);
    const size_t outer = shape_span(s, 0, axis), inner = shape_span(s, axis + 1, s->rank) * size;
    size_t at = 0;
    for (uint32_t i = 0; !status && i < c->output_count; i++) {
        const size_t bytes = (size_t)sizes[i] * inner;
        for (size_t o = 0; c->out[i] && bytes && o < outer; o++)
            memcpy((char *)c->out[i]->data + o * bytes,
                   (const char *)c->in[0]->data + o * (size_t)s->dim[axis] * inner + at, bytes);
        at += bytes;
    }
    return status;
}

/* ---- Slice: starts, ends, axes, steps as attributes until 9 (without steps), as inputs from 10 */

static maas_status slice_list(const struct call *c, uint32_t input, const char *name, int64_t *out,
                              uint32_t *count, maas_error *error)
{
    if (call_has(c, input))
        return call_integers(c, input, out, RANK_MAX, count, error);
    const int64_t *given = call_ints(c, name, count);
    if (*count > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "attribute '%s' has %u values", name, *count);
    if (given)
        memcpy(out, given, *count * sizeof(*out));
    return MAAS_OK;
}

static int64_t clamp(int64_t x, int64_t least, int64_t most)
{
    return x < least ? least : x > most ? most : x;
}

static void slice_axis(struct walk *w, uint32_t axis, int64_t start, int64_t end, int64_t step)
{
    const int64_t extent = w->shape.dim[axis];
    start = start < 0 ? (start < -extent ? -1 : start + extent) : start;
    end = end < 0 ? (end < -extent ? -1 : end + extent) : end;
    start = step > 0 ? clamp(start, 0, extent) : clamp(start, start < 0 ? -1 : 0, extent - 1);
    end = step > 0 ? clamp(end, 0, extent) : clamp(end, -1, extent - 1);
    const int64_t span = step > 0 ? end - start : start - end;
    const int64_t stride = step > 0 ? step : step == INT64_MIN ? INT64_MAX : -step;
    const int64_t count = span > 0 ? (span - 1) / stride + 1 : 0;
    w->shape.dim[axis] = count;
    w->start += count ? start * w->step[axis] : 0;
    w->step[axis] = count > 1 ? w->step[axis] * step : w->step[axis];
}

static maas_status read_slice(const struct call *c, struct walk *w, maas_error *error)
{
    int64_t starts[RANK_MAX], ends[RANK_MAX], axes[RANK_MAX], steps[RANK_MAX];
    uint32_t count = 0, others[3] = { 0 }, seen = 0;
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = slice_list(c, 1, "starts", starts, &count, error);
    if (!status)
        status = slice_list(c, 2, "ends", ends, &others[0], error);
    if (!status)
        status = slice_list(c, 3, "axes", axes, &others[1], error);
    if (!status)
        status = slice_list(c, 4, "steps", steps, &others[2], error);
    if (!status && (others[0] != count || (others[1] && others[1] != count) ||
                    (others[2] && others[2] != count)))
        status =
            maas_fail(error, MAAS_E_INVALID, "starts, ends, axes and steps are not of one length");
    walk_init(w, &c->in[0]->shape);
    for (uint32_t i = 0; !status && i < count; i++) {
        uint32_t axis;
        const int64_t step = others[2] ? steps[i] : 1;
        if (!shape_axis(&w->shape, others[1] ? axes[i] : i, false, &axis) || (seen >> axis & 1) ||
            !step)
            return maas_fail(error, MAAS_E_INVALID,
                             "an axis is outside or stands there twice, or a step is 0");
        seen |= 1u << axis;
        slice_axis(w, axis, starts[i], ends[i], step);
    }
    return status;
}

static maas_status shape_slice(struct call *c, maas_error *error)
{
    struct walk w;
    maas_status status = read_slice(c, &w, error);
    return status ? status : call_out(c, 0, c->in[0]->type, &w.shape, error);
}

static maas_status run_slice(const struct call *c, maas_error *error)
{
    struct walk w;
    maas_status status = read_slice(c, &w, error);
    if (!status && shape_count(&w.shape))
        walk_copy(c->out[0]->data, c->in[0]->data, &w, type_size(c->in[0]->type));
    return status;
}

/* ---- Expand and Tile: extents repeated */

static maas_status shape_expand(struct call *c, maas_error *error)
{
    struct shape s = { .rank = 0 };
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = call_integers(c, 1, s.dim, RANK_MAX, &s.rank, error);
    if (!status)
        status = shape_check(&s, c->in[0]->type, error);
    if (!status)
        status = shape_broadcast(&s, &s, &c->in[0]->shape, error);
    return status ? status : call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_expand(const struct call *c, maas_error *error)
{
    struct walk in, w = { .shape = c->out[0]->shape };
    (void)error;
    walk_init(&in, &c->in[0]->shape);
    const uint32_t skip = w.shape.rank - in.shape.rank;
    for (uint32_t d = skip; d < w.shape.rank; d++)
        w.step[d] = in.shape.dim[d - skip] == 1 ? 0 : in.step[d - skip];
    if (shape_count(&w.shape))
        walk_copy(c->out[0]->data, c->in[0]->data, &w, type_size(c->in[0]->type));
    return MAAS_OK;
}

static maas_status shape_tile(struct call *c, maas_error *error)
{
    int64_t times[RANK_MAX];
    uint32_t count;
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = call_integers(c, 1, times, RANK_MAX, &count, error);
    struct shape s = c->in[0]->shape;
    if (!status && count != s.rank)
        status = maas_fail(error, MAAS_E_INVALID, "%u repeats for %u dimensions", count, s.rank);
    for (uint32_t i = 0; !status && i < count; i++)
        if (times[i] < 0 || __builtin_mul_overflow(s.dim[i], times[i], &s.dim[i]))
            status = maas_fail(error, MAAS_E_INVALID, "%lld repeats", (long long)times[i]);
    return status ? status : call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status run_tile(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    const size_t size = type_size(c->in[0]->type), all = tensor_count(c->out[0]);
    (void)error;
    for (size_t i = 0; i < all; i++) {
        size_t rest = i, at = 0, step = 1;
        for (uint32_t d = x->rank; d-- > 0;) {
            at += rest % (size_t)y->dim[d] % (size_t)x->dim[d] * step;
            rest /= (size_t)y->dim[d];
            step *= (size_t)x->dim[d];
        }
        memcpy((char *)c->out[0]->data + i * size, (const char *)c->in[0]->data + at * size, size);
    }
    return MAAS_OK;
}

/* ---- Pad: an attribute until 10, an input from 11; what is below 0 cuts */

enum { FILL = -1 };

static maas_status read_pads(const struct call *c, int64_t before[RANK_MAX], struct shape *out,
                             maas_error *error)
{
    int64_t pads[2 * RANK_MAX];
    uint32_t count = 0;
    const int64_t *given = call_ints(c, "pads", &count);
    const struct shape *x = &c->in[0]->shape;
    maas_status status = MAAS_OK;
    if (call_has(c, 1))
        status = call_integers(c, 1, pads, 2 * RANK_MAX, &count, error);
    else if (given && count == 2 * x->rank)
        memcpy(pads, given, count * sizeof(*pads));
    if (!status && count != 2 * x->rank)
        status = maas_fail(error, MAAS_E_INVALID, "%u pads for %u dimensions", count, x->rank);
    *out = *x;
    for (uint32_t d = 0; !status && d < x->rank; d++) {
        const int64_t front = pads[d], behind = pads[x->rank + d], most = INT32_MAX;
        if (front > most || front < -most || behind > most || behind < -most)
            return maas_fail(error, MAAS_E_INVALID, "a pad is out of range");
        before[d] = front;
        out->dim[d] += front + behind;
    }
    return status;
}

static maas_status shape_pad(struct call *c, maas_error *error)
{
    int64_t before[RANK_MAX];
    struct shape s;
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    const bool constant = call_text_is(c, "mode", "constant", true),
               edge = call_text_is(c, "mode", "edge", false);
    if (!constant && !edge && !call_text_is(c, "mode", "reflect", false))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "attribute 'mode' is not supported");
    if (call_has(c, 2) && (c->in[2]->type != c->in[0]->type || tensor_count(c->in[2]) != 1))
        return maas_fail(error, MAAS_E_INVALID,
                         "input 2 must be one number of the type of input 0");
    maas_status status = read_pads(c, before, &s, error);
    for (uint32_t d = 0; !status && !constant && d < s.rank; d++)
        if (!c->in[0]->shape.dim[d])
            status = maas_fail(error, MAAS_E_INVALID, "nothing to take from dimension %u", d);
    return status ? status : call_out(c, 0, c->in[0]->type, &s, error);
}

/* Which element of a dimension stands at `at`, or FILL. */
static int64_t padded(int64_t at, int64_t extent, bool edge, bool constant)
{
    if (at >= 0 && at < extent)
        return at;
    if (constant)
        return FILL;
    if (edge)
        return at < 0 ? 0 : extent - 1;
    const int64_t period = extent > 1 ? 2 * (extent - 1) : 1;
    at = (at % period + period) % period;
    return at < extent ? at : period - at;
}

static void fill_value(const struct call *c, uint8_t value[8])
{
    const struct tensor t = { c->in[0]->type, { 0 }, value };
    memset(value, 0, 8);
    if (call_has(c, 2))
        memcpy(value, c->in[2]->data, type_size(t.type));
    else if (type_is_float(t.type))
        element_put_real(&t, 0, (double)call_float(c, "value", 0));
}

static maas_status run_pad(const struct call *c, maas_error *error)
{
    int64_t before[RANK_MAX] = { 0 };
    _Alignas(8) uint8_t value[8];
    struct shape s;
    maas_status status = read_pads(c, before, &s, error);
    const struct shape *x = &c->in[0]->shape;
    const bool constant = call_text_is(c, "mode", "constant", true),
               edge = call_text_is(c, "mode", "edge", false);
    const size_t size = type_size(c->in[0]->type), all = status ? 0 : shape_count(&s);
    fill_value(c, value);
    for (size_t i = 0; i < all; i++) {
        size_t rest = i, at = 0, step = 1;
        bool inside = true;
        for (uint32_t d = s.rank; d-- > 0;) {
            const int64_t place =
                padded((int64_t)(rest % (size_t)s.dim[d]) - before[d], x->dim[d], edge, constant);
            inside = inside && place != FILL;
            at += inside ? (size_t)place * step : 0;
            rest /= (size_t)s.dim[d];
            step *= (size_t)x->dim[d];
        }
        memcpy((char *)c->out[0]->data + i * size,
               inside ? (const char *)c->in[0]->data + at * size : (char *)value, size);
    }
    return status;
}

/* ---- DepthToSpace and SpaceToDepth: six dimensions in another order */

static maas_status read_block(const struct call *c, int64_t *block, maas_error *error)
{
    *block = call_int(c, "blocksize", 0);
    if (!call_has(c, 0) || c->in[0]->shape.rank != 4 || *block < 1 || *block > 1 << 12)
        return maas_fail(error, MAAS_E_INVALID,
                         "the input must have 4 dimensions, 'blocksize' must be 1 to 4096");
    return MAAS_OK;
}

static maas_status shape_to_space(struct call *c, maas_error *error)
{
    int64_t b;
    maas_status status = read_block(c, &b, error);
    if (status)
        return status;
    struct shape s = c->in[0]->shape;
    if (s.dim[1] % (b * b))
        return maas_fail(error, MAAS_E_INVALID, "%lld channels are not a whole number of blocks",
                         (long long)s.dim[1]);
    s.dim[1] /= b * b;
    s.dim[2] *= b;
    s.dim[3] *= b;
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static maas_status shape_to_depth(struct call *c, maas_error *error)
{
    int64_t b;
    maas_status status = read_block(c, &b, error);
    if (status)
        return status;
    struct shape s = c->in[0]->shape;
    if (s.dim[2] % b || s.dim[3] % b)
        return maas_fail(error, MAAS_E_INVALID, "the sides are not whole numbers of blocks");
    s.dim[1] *= b * b;
    s.dim[2] /= b;
    s.dim[3] /= b;
    return call_out(c, 0, c->in[0]->type, &s, error);
}

static void move_blocks(const struct call *c, const struct shape *in, const uint32_t order[6])
{
    struct walk from, w = { .shape = { .rank = 6 } };
    walk_init(&from, in);
    for (uint32_t i = 0; i < 6; i++) {
        w.shape.dim[i] = in->dim[order[i]];
        w.step[i] = from.step[order[i]];
    }
    if (tensor_count(c->out[0]))
        walk_copy(c->out[0]->data, c->in[0]->data, &w, type_size(c->in[0]->type));
}

static maas_status run_to_space(const struct call *c, maas_error *error)
{
    static const uint32_t dcr[] = { 0, 3, 4, 1, 5, 2 }, crd[] = { 0, 1, 4, 2, 5, 3 };
    const struct shape *x = &c->in[0]->shape;
    int64_t b = 1;
    maas_status status = read_block(c, &b, error);
    const bool columns = call_text_is(c, "mode", "CRD", false);
    const struct shape as_dcr = { 6,
                                  { x->dim[0], b, b, x->dim[1] / (b * b), x->dim[2], x->dim[3] } };
    const struct shape as_crd = { 6,
                                  { x->dim[0], x->dim[1] / (b * b), b, b, x->dim[2], x->dim[3] } };
    if (!status)
        move_blocks(c, columns ? &as_crd : &as_dcr, columns ? crd : dcr);
    return status;
}

static maas_status run_to_depth(const struct call *c, maas_error *error)
{
    static const uint32_t order[] = { 0, 3, 5, 1, 2, 4 };
    const struct shape *x = &c->in[0]->shape;
    int64_t b = 1;
    maas_status status = read_block(c, &b, error);
    const struct shape as = { 6, { x->dim[0], x->dim[1], x->dim[2] / b, b, x->dim[3] / b, b } };
    if (!status)
        move_blocks(c, &as, order);
    return status;
}

#define MOVES(n, list, least, most, outs, tag)                                                     \
    {                                                                                              \
        .name = n, .attributes = list, .least_in = least, .most_in = most, .least_out = 1,         \
        .most_out = outs, .shape = shape_##tag, .run = run_##tag                                   \
    }
const struct operator ops_move[] = {
    MOVES("Transpose", "perm:I", 1, 1, 1, transpose),
    MOVES("Concat", "axis:i", 1, CALL_IO_MAX, 1, concat),
    MOVES("Split", "axis:i split:I", 1, 2, CALL_IO_MAX, split),
    MOVES("Slice", "starts:I ends:I axes:I", 1, 5, 1, slice),
    MOVES("Expand", "", 2, 2, 1, expand),
    MOVES("Tile", "", 2, 2, 1, tile),
    MOVES("Pad", "mode:s pads:I value:f", 1, 3, 1, pad),
    MOVES("DepthToSpace", "blocksize:i mode:s", 1, 1, 1, to_space),
    MOVES("SpaceToDepth", "blocksize:i", 1, 1, 1, to_depth),
    { 0 },
};
