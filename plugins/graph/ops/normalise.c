/*
 * normalise.c: batch, instance, layer and local response normalisation, as they are when a model
 * answers.
 */
#include "families.h"

#include <math.h>

#include "element.h"
#include "kernels/activation.h"

/* [outer, extent, inner]; `extent` values share a gain and a shift. */

/* ---- BatchNormalization: x, gain, shift, mean, variance */

static maas_status check_channels(const struct call *c, uint32_t from, uint32_t to,
                                  maas_error *error)
{
    if (!call_has(c, 0) || c->in[0]->shape.rank < 2)
        return maas_fail(error, MAAS_E_INVALID, "input 0 must have 2 dimensions at least");
    for (uint32_t i = from; i < to; i++) {
        maas_status status = call_type(c, i, T_NONE, error);
        if (status)
            return status;
        if (c->in[i]->shape.rank != 1 || c->in[i]->shape.dim[0] != c->in[0]->shape.dim[1])
            return maas_fail(error, MAAS_E_INVALID,
                             "input %u must have one number for each channel", i);
    }
    return call_type(c, 0, T_NONE, error);
}

static maas_status shape_batch(struct call *c, maas_error *error)
{
    if (call_int(c, "training_mode", 0))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "attribute 'training_mode' is not supported");
    if (!call_int(c, "spatial", 1))
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "attribute 'spatial' of 0 is not supported");
    maas_status status = check_channels(c, 1, 5, error);
    return status ? status : shape_same(c, error);
}

static bool all_single(const struct call *c)
{
    for (uint32_t i = 0; i < c->input_count; i++)
        if (c->in[i]->type != T_F32)
            return false;
    return true;
}

static maas_status run_batch(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const size_t images = (size_t)x->dim[0], channels = (size_t)x->dim[1],
                 places = shape_span(x, 2, x->rank);
    const float epsilon = call_float(c, "epsilon", 1e-5f);
    (void)error;
    if (all_single(c)) {
        for (size_t i = 0; i < images; i++)
            batch_norm((float *)c->out[0]->data + i * channels * places,
                       (const float *)c->in[0]->data + i * channels * places, c->in[3]->data,
                       c->in[4]->data, c->in[1]->data, c->in[2]->data, epsilon, channels, places);
        return MAAS_OK;
    }
    for (size_t i = 0; i < images * channels; i++) {
        const size_t k = i % channels;
        const double gain =
            tensor_real(c->in[1], k) / sqrt(tensor_real(c->in[4], k) + (double)epsilon);
        for (size_t p = i * places; p < (i + 1) * places; p++)
            element_put_real(c->out[0], p,
                             (tensor_real(c->in[0], p) - tensor_real(c->in[3], k)) * gain +
                                 tensor_real(c->in[2], k));
    }
    return MAAS_OK;
}

/* ---- over a run of elements: their own mean and variance */

struct moments {
    double mean, inverse; /* 1 / sqrt(variance + epsilon) */
};

static struct moments moments_of(const struct tensor *x, size_t from, size_t count, double epsilon)
{
    double mean = 0, spread = 0;
    for (size_t i = from; i < from + count; i++)
        mean += tensor_real(x, i) / (double)count;
    for (size_t i = from; i < from + count; i++)
        spread += (tensor_real(x, i) - mean) * (tensor_real(x, i) - mean) / (double)count;
    return (struct moments){ mean, 1 / sqrt(spread + epsilon) };
}

static maas_status shape_instance(struct call *c, maas_error *error)
{
    maas_status status = check_channels(c, 1, 3, error);
    return status ? status : shape_same(c, error);
}

static maas_status run_instance(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const size_t channels = (size_t)x->dim[1], places = shape_span(x, 2, x->rank);
    const double epsilon = (double)call_float(c, "epsilon", 1e-5f);
    (void)error;
    for (size_t i = 0; i < shape_span(x, 0, 2); i++) {
        const struct moments m = moments_of(c->in[0], i * places, places, epsilon);
        for (size_t p = i * places; p < (i + 1) * places; p++)
            element_put_real(c->out[0], p,
                             (tensor_real(c->in[0], p) - m.mean) * m.inverse *
                                     tensor_real(c->in[1], i % channels) +
                                 tensor_real(c->in[2], i % channels));
    }
    return MAAS_OK;
}

static maas_status shape_layer(struct call *c, maas_error *error)
{
    uint32_t axis;
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status && !shape_axis(&c->in[0]->shape, call_int(c, "axis", -1), false, &axis))
        status = maas_fail(error, MAAS_E_INVALID,
                           "attribute 'axis' is outside of the input's dimensions");
    if (status)
        return status;
    struct shape s = c->in[0]->shape;
    const size_t count = shape_span(&s, axis, s.rank);
    for (uint32_t i = 1; i < c->input_count; i++)
        if (call_has(c, i) && (tensor_count(c->in[i]) != count || !type_is_float(c->in[i]->type)))
            return maas_fail(error, MAAS_E_INVALID, "input %u must have %zu floats", i, count);
    status = shape_same(c, error);
    for (uint32_t d = axis; d < s.rank; d++)
        s.dim[d] = 1;
    if (!status)
        status = call_out(c, 1, T_F32, &s, error);
    return status ? status : call_out(c, 2, T_F32, &s, error);
}

static maas_status run_layer(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const double epsilon = (double)call_float(c, "epsilon", 1e-5f);
    uint32_t axis = 0;
    (void)error;
    shape_axis(x, call_int(c, "axis", -1), false, &axis);
    const size_t rows = shape_span(x, 0, axis), count = shape_span(x, axis, x->rank);
    for (size_t r = 0; r < rows; r++) {
        const struct moments m = moments_of(c->in[0], r * count, count, epsilon);
        for (size_t i = 0; i < count; i++)
            element_put_real(c->out[0], r * count + i,
                             (tensor_real(c->in[0], r * count + i) - m.mean) * m.inverse *
                                     tensor_real(c->in[1], i) +
                                 (call_has(c, 2) ? tensor_real(c->in[2], i) : 0));
        if (c->output_count > 1 && c->out[1])
            element_put_real(c->out[1], r, m.mean);
        if (c->output_count > 2 && c->out[2])
            element_put_real(c->out[2], r, m.inverse);
    }
    return MAAS_OK;
}

/* ---- LRN: x / (bias + alpha / size sum of squares of the channels around)^beta */

static maas_status shape_lrn(struct call *c, maas_error *error)
{
    const int64_t size = call_int(c, "size", 0);
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status && (c->in[0]->shape.rank < 2 || size < 1 || size > 1 << 20))
        status = maas_fail(error, MAAS_E_INVALID,
                           "the input must have channels, 'size' must be at least 1");
    return status ? status : shape_same(c, error);
}

static maas_status run_lrn(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const int64_t channels = x->dim[1], size = call_int(c, "size", 1);
    const size_t places = shape_span(x, 2, x->rank);
    const double alpha = (double)call_float(c, "alpha", 1e-4f),
                 beta = (double)call_float(c, "beta", 0.75f);
    const double bias = (double)call_float(c, "bias", 1);
    (void)error;
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t k = 0; k < channels; k++)
            for (size_t p = 0; p < places; p++) {
                const int64_t from = k - (size - 1) / 2 > 0 ? k - (size - 1) / 2 : 0;
                const int64_t to = k + size / 2 < channels - 1 ? k + size / 2 : channels - 1;
                double sum = 0;
                for (int64_t i = from; i <= to; i++) {
                    const double v = tensor_real(c->in[0], (size_t)(n * channels + i) * places + p);
                    sum += v * v;
                }
                const size_t at = (size_t)(n * channels + k) * places + p;
                element_put_real(c->out[0], at,
                                 tensor_real(c->in[0], at) /
                                     pow(bias + alpha / (double)size * sum, beta));
            }
    return MAAS_OK;
}

/* ---- LpNormalization: x / norm along an axis */

static maas_status shape_lp(struct call *c, maas_error *error)
{
    uint32_t axis;
    const int64_t p = call_int(c, "p", 2);
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status &&
        (!shape_axis(&c->in[0]->shape, call_int(c, "axis", -1), false, &axis) || p < 1 || p > 2))
        status = maas_fail(error, MAAS_E_INVALID, "'axis' is outside, or 'p' is neither 1 nor 2");
    return status ? status : shape_same(c, error);
}

static maas_status run_lp(const struct call *c, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const bool squares = call_int(c, "p", 2) == 2;
    uint32_t axis = 0;
    (void)error;
    shape_axis(x, call_int(c, "axis", -1), false, &axis);
    const size_t inner = shape_span(x, axis + 1, x->rank), extent = (size_t)x->dim[axis];
    for (size_t o = 0; o < shape_span(x, 0, axis); o++)
        for (size_t i = 0; i < inner; i++) {
            const size_t base = o * extent * inner + i;
            double sum = 0;
            for (size_t k = 0; k < extent; k++) {
                const double v = tensor_real(c->in[0], base + k * inner);
                sum += squares ? v * v : fabs(v);
            }
            const double norm = squares ? sqrt(sum) : sum;
            for (size_t k = 0; k < extent; k++)
                element_put_real(c->out[0], base + k * inner,
                                 norm > 0 ? tensor_real(c->in[0], base + k * inner) / norm : 0);
        }
    return MAAS_OK;
}

const struct operator ops_normalise[] = {
    { .name = "BatchNormalization",
      .attributes = "epsilon:f momentum:f spatial:i is_test:i training_mode:i",
      .least_in = 5,
      .most_in = 5,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_batch,
      .run = run_batch },
    { .name = "InstanceNormalization",
      .attributes = "epsilon:f",
      .least_in = 3,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_instance,
      .run = run_instance },
    { .name = "LayerNormalization",
      .attributes = "axis:i epsilon:f stash_type:i",
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 3,
      .since = 17,
      .shape = shape_layer,
      .run = run_layer },
    { .name = "LRN",
      .attributes = "alpha:f beta:f bias:f size:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_lrn,
      .run = run_lrn },
    { .name = "LpNormalization",
      .attributes = "axis:i p:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_lp,
      .run = run_lp },
    { 0 },
};
