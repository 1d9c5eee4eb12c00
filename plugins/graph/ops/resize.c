/*
 * resize.c: Resize and Upsample: each output is a weighted sum over at most four points an axis
 * (nearest 1, linear 2, cubic 4: Keys 1981); the axes are independent.
 */
#include "families.h"

#include <math.h>

#include "element.h"

enum { TAPS = 4 };
enum mode { NEAREST, LINEAR, CUBIC };

struct resize {
    enum mode mode;
    bool sizes; /* the output's extents are given, not the scales */
    struct shape out;
    double scale[RANK_MAX], start[RANK_MAX], end[RANK_MAX];
    bool crop;
};

/* Scales or extents; inputs moved from opset to opset. */
static maas_status read_scales(const struct call *c, struct resize *r, maas_error *error)
{
    const uint32_t scales_at = c->opset < 11 ? 1 : 2;
    const struct attribute *given = call_attribute(c, "scales");
    const struct shape *x = &c->in[0]->shape;
    r->out = (struct shape){ .rank = x->rank };
    if (c->opset >= 11 && call_has(c, 3) && tensor_count(c->in[3])) {
        uint32_t count;
        r->sizes = true;
        maas_status status = call_integers(c, 3, r->out.dim, RANK_MAX, &count, error);
        if (!status && count != x->rank)
            status = maas_fail(error, MAAS_E_INVALID, "%u sizes for %u dimensions", count, x->rank);
        for (uint32_t d = 0; !status && d < x->rank; d++)
            r->scale[d] = x->dim[d] ? (double)r->out.dim[d] / (double)x->dim[d] : 0;
        return status;
    }
    if (!given) {
        maas_status status = call_constant(c, scales_at, error);
        if (status)
            return status;
        if (!type_is_float(c->in[scales_at]->type) || tensor_count(c->in[scales_at]) != x->rank)
            return maas_fail(error, MAAS_E_INVALID, "input %u must be one scale for each dimension",
                             scales_at);
    } else if (given->count != x->rank) {
        return maas_fail(error, MAAS_E_INVALID, "attribute 'scales' has %u values", given->count);
    }
    for (uint32_t d = 0; d < x->rank; d++)
        r->scale[d] = given ? (double)given->reals[d] : tensor_real(c->in[scales_at], d);
    return MAAS_OK;
}

static maas_status read_region(const struct call *c, struct resize *r, maas_error *error)
{
    const uint32_t rank = c->in[0]->shape.rank;
    r->crop = call_text_is(c, "coordinate_transformation_mode", "tf_crop_and_resize", false);
    if (!r->crop)
        return MAAS_OK;
    maas_status status = call_constant(c, 1, error);
    if (!status && (tensor_count(c->in[1]) != 2 * rank || !type_is_float(c->in[1]->type)))
        status = maas_fail(error, MAAS_E_INVALID,
                           "input 1 must be a start and an end for each dimension");
    for (uint32_t d = 0; !status && d < rank; d++) {
        r->start[d] = tensor_real(c->in[1], d);
        r->end[d] = tensor_real(c->in[1], rank + d);
    }
    return status;
}

static maas_status read_resize(const struct call *c, struct resize *r, maas_error *error)
{
    *r = (struct resize){ .mode = NEAREST };
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    if (call_text_is(c, "mode", "linear", false) || call_text_is(c, "mode", "bilinear", false))
        r->mode = LINEAR;
    else if (call_text_is(c, "mode", "cubic", false))
        r->mode = CUBIC;
    else if (!call_text_is(c, "mode", "nearest", true))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "attribute 'mode' is not supported");
    maas_status status = read_scales(c, r, error);
    if (!status)
        status = read_region(c, r, error);
    for (uint32_t d = 0; !status && !r->sizes && d < r->out.rank; d++) {
        const double extent = floor((double)c->in[0]->shape.dim[d] * r->scale[d] *
                                    (r->crop ? r->end[d] - r->start[d] : 1));
        if (!(r->scale[d] > 0) || !(extent >= 0) || extent > 1e9)
            return maas_fail(error, MAAS_E_INVALID, "a scale of %g", r->scale[d]);
        r->out.dim[d] = (int64_t)extent;
    }
    return status;
}

static maas_status shape_resize(struct call *c, maas_error *error)
{
    struct resize r;
    maas_status status = read_resize(c, &r, error);
    if (status)
        return status;
    for (uint32_t d = 0; d < r.out.rank; d++)
        if (!c->in[0]->shape.dim[d] && r.out.dim[d])
            return maas_fail(error, MAAS_E_INVALID, "nothing to take from dimension %u", d);
    if (!c->in[0]->shape.rank)
        return maas_fail(error, MAAS_E_INVALID, "a single number cannot be resized");
    size_t taps = 0;
    for (uint32_t d = 0; d < r.out.rank && r.out.dim[d] >= 0 && r.out.dim[d] < 1 << 28; d++)
        taps += (size_t)r.out.dim[d];
    c->space_bytes = taps * TAPS * (sizeof(double) + sizeof(int64_t));
    return call_out(c, 0, c->in[0]->type, &r.out, error);
}

/* Where output i of axis d stands in the input. */
static double source(const struct call *c, const struct resize *r, uint32_t d, int64_t i)
{
    const double in = (double)c->in[0]->shape.dim[d], out = (double)r->out.dim[d], x = (double)i;
    const bool old = c->opset < 11; /* Upsample, and Resize of 10: asymmetric */
    if (old || call_text_is(c, "coordinate_transformation_mode", "asymmetric", false))
        return x / r->scale[d];
    if (call_text_is(c, "coordinate_transformation_mode", "align_corners", false))
        return out > 1 ? x * (in - 1) / (in * r->scale[d] - 1) : 0; /* not rounded to whole ones */
    if (call_text_is(c, "coordinate_transformation_mode", "pytorch_half_pixel", false))
        return out > 1 ? (x + 0.5) / r->scale[d] - 0.5 : 0;
    if (call_text_is(c, "coordinate_transformation_mode", "tf_half_pixel_for_nn", false))
        return (x + 0.5) / r->scale[d];
    if (r->crop)
        return out > 1
                   ? r->start[d] * (in - 1) + x * (r->end[d] - r->start[d]) * (in - 1) / (out - 1)
                   : 0.5 * (r->start[d] + r->end[d]) * (in - 1);
    return (x + 0.5) / r->scale[d] - 0.5;
}

static double nearest(const struct call *c, double x)
{
    if (c->opset < 11 || call_text_is(c, "nearest_mode", "floor", false))
        return floor(x);
    if (call_text_is(c, "nearest_mode", "ceil", false))
        return ceil(x);
    return call_text_is(c, "nearest_mode", "round_prefer_ceil", false) ? floor(x + 0.5)
                                                                       : ceil(x - 0.5);
}

static void weigh(const struct call *c, const struct resize *r, double x, double weight[TAPS],
                  int64_t place[TAPS])
{
    const double a = (double)call_float(c, "cubic_coeff_a", -0.75f), low = floor(x), t = x - low;
    for (int k = 0; k < TAPS; k++)
        weight[k] = 0;
    for (int k = 0; k < TAPS; k++)
        place[k] = (int64_t)low - 1 + k;
    if (r->mode == NEAREST) {
        place[0] = (int64_t)nearest(c, x);
        weight[0] = 1;
    } else if (r->mode == LINEAR) {
        place[0] = (int64_t)low;
        place[1] = (int64_t)low + 1;
        weight[0] = 1 - t;
        weight[1] = t;
    } else {
        weight[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
        weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
        weight[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
        weight[3] = ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a;
    }
}

/* Points outside are those at the border, or, where excluded, none. */
static void settle(const struct call *c, int64_t extent, double weight[TAPS], int64_t place[TAPS])
{
    const bool exclude = call_int(c, "exclude_outside", 0) != 0;
    double sum = 0;
    for (int k = 0; k < TAPS; k++) {
        if (exclude && (place[k] < 0 || place[k] >= extent))
            weight[k] = 0;
        place[k] = place[k] < 0 ? 0 : place[k] >= extent ? extent - 1 : place[k];
        sum += weight[k];
    }
    for (int k = 0; exclude && k < TAPS; k++)
        weight[k] /= sum;
}

struct axis {
    double *weight;
    int64_t *place;
};

/* The sum over all taps of all axes, those without weight left out: a counter in base TAPS. */
static double sum_up(const struct call *c, const struct resize *r, const struct axis *axes,
                     const size_t at[RANK_MAX])
{
    const struct shape *x = &c->in[0]->shape;
    double sum = 0;
    uint32_t tap[RANK_MAX] = { 0 }, d = 0;
    while (d < x->rank) {
        double weight = 1;
        size_t from = 0;
        for (uint32_t k = 0; k < x->rank; k++) {
            weight *= axes[k].weight[at[k] * TAPS + tap[k]];
            from = from * (size_t)x->dim[k] + (size_t)axes[k].place[at[k] * TAPS + tap[k]];
        }
        if (weight != 0)
            sum += weight * tensor_real(c->in[0], from);
        for (d = 0; d < x->rank; d++) {                               /* the next */
            if (r->mode == NEAREST || (r->scale[d] == 1 && !r->crop)) /* one tap alone has weight */
                continue;
            if (++tap[d] < (r->mode == LINEAR ? 2 : TAPS))
                break;
            tap[d] = 0;
        }
    }
    return sum;
}

static maas_status run_resize(const struct call *c, maas_error *error)
{
    struct resize r;
    struct axis axes[RANK_MAX];
    maas_status status = read_resize(c, &r, error);
    const struct shape *x = &c->in[0]->shape;
    const double beyond = (double)call_float(c, "extrapolation_value", 0);
    uint8_t *space = c->space;
    if (status || !tensor_count(c->out[0]))
        return status;
    for (uint32_t d = 0; d < x->rank; d++) {
        axes[d].weight = (double *)(void *)space;
        axes[d].place = (int64_t *)(void *)(space + (size_t)r.out.dim[d] * TAPS * sizeof(double));
        space += (size_t)r.out.dim[d] * TAPS * (sizeof(double) + sizeof(int64_t));
        for (int64_t i = 0; i < r.out.dim[d]; i++) {
            double *w = axes[d].weight + i * TAPS;
            int64_t *p = axes[d].place + i * TAPS;
            const double at = r.scale[d] == 1 && !r.crop ? (double)i : source(c, &r, d, i);
            weigh(c, &r, at, w, p);
            if (r.scale[d] == 1 && !r.crop) { /* untouched: the point itself */
                w[0] = 1;
                w[1] = w[2] = w[3] = 0;
                p[0] = i;
            }
            settle(c, x->dim[d], w, p);
            if (r.crop && (at < 0 || at > (double)(x->dim[d] - 1)))
                w[0] = NAN; /* marks what lies beyond */
        }
    }
    for (size_t i = 0; i < tensor_count(c->out[0]); i++) {
        size_t at[RANK_MAX], rest = i;
        bool inside = true;
        for (uint32_t d = x->rank; d-- > 0; rest /= (size_t)r.out.dim[d]) {
            at[d] = rest % (size_t)r.out.dim[d];
            inside = inside && !isnan(axes[d].weight[at[d] * TAPS]);
        }
        element_put_real(c->out[0], i, inside ? sum_up(c, &r, axes, at) : beyond);
    }
    return MAAS_OK;
}

const struct operator ops_resize[] = {
    { .name = "Resize",
      .attributes = "mode:s coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i "
                    "extrapolation_value:f "
                    "nearest_mode:s",
      .least_in = 1,
      .most_in = 4,
      .least_out = 1,
      .most_out = 1,
      .since = 10,
      .shape = shape_resize,
      .run = run_resize },
    { .name = "Upsample",
      .attributes = "mode:s scales:F",
      .least_in = 1,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_resize,
      .run = run_resize },
    { 0 },
};
