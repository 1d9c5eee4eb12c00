/*
 * pool.c: MaxPool (with the places of its maxima), AveragePool, LpPool and what they are over the
 * whole picture. One walker over windows of three dimensions; a kernel sees the rows of one window.
 */
#include "families.h"

#include <math.h>

#include "kernels/pool.h"
#include "window.h"

/* ---- shapes */

static maas_status read_window(const struct call *c, struct window *w, maas_error *error)
{
    uint32_t dims;
    const int64_t *kernel = call_ints(c, "kernel_shape", &dims);
    if (!kernel)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'kernel_shape' is missing");
    return window_read(c, kernel, dims, w, error);
}

static maas_status shape_pool(struct call *c, maas_error *error)
{
    struct window w;
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status)
        status = read_window(c, &w, error);
    if (status)
        return status;
    const struct shape shape = window_shape(&w, c->in[0]->shape.dim[0], c->in[0]->shape.dim[1]);
    return call_out(c, 0, c->in[0]->type, &shape, error);
}

static maas_status shape_max_pool(struct call *c, maas_error *error)
{
    struct window w;
    const int32_t type = call_has(c, 0) ? c->in[0]->type : T_NONE;
    if (!type_is_float(type) && type != T_U8 && type != T_I8)
        return maas_fail(error, MAAS_E_INVALID, "input 0 is of type %s", type_name(type));
    maas_status status = read_window(c, &w, error);
    if (status)
        return status;
    const struct shape shape = window_shape(&w, c->in[0]->shape.dim[0], c->in[0]->shape.dim[1]);
    status = call_out(c, 0, type, &shape, error);
    return status ? status : call_out(c, 1, T_I64, &shape, error);
}

static maas_status shape_global(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    if (status)
        return status;
    struct shape shape = c->in[0]->shape;
    if (shape.rank < 2 || !shape_span(&shape, 2, shape.rank))
        return maas_fail(error, MAAS_E_INVALID, "the input has no places to pool");
    for (uint32_t d = 2; d < shape.rank; d++)
        shape.dim[d] = 1;
    return call_out(c, 0, c->in[0]->type, &shape, error);
}

/* ---- elements of any type as doubles, which hold each of them */

static void put_real(const struct tensor *t, size_t at, double value)
{
    switch (t->type) {
    case T_F32:
        ((float *)t->data)[at] = (float)value;
        break;
    case T_F64:
        ((double *)t->data)[at] = value;
        break;
    case T_F16:
        ((uint16_t *)t->data)[at] = f32_to_f16((float)value);
        break;
    case T_BF16:
        ((uint16_t *)t->data)[at] = f32_to_bf16((float)value);
        break;
    default:
        ((uint8_t *)t->data)[at] = (uint8_t)(int)value; /* the low byte of either kind */
    }
}

/* One window's answer: adds elements one by one. */
struct pooled {
    double sum, most;
    size_t from; /* place of the maximum */
    size_t count;
    float p; /* 0: no powers */
};

static void add(struct pooled *s, double value, size_t at)
{
    if (!s->count || value > s->most || isnan(value)) {
        s->most = value;
        s->from = at;
    }
    s->sum += s->p > 0 ? pow(fabs(value), (double)s->p) : value;
    s->count++;
}

static struct pooled pool_one(const struct tensor *x, size_t base, const struct window *w,
                              const int64_t o[3], float p)
{
    struct pooled s = { .p = p };
    int64_t from[3], to[3], k[3];
    for (uint32_t d = 0; d < 3; d++)
        window_inside(w, d, o[d], &from[d], &to[d]);
    for (k[0] = from[0]; k[0] < to[0]; k[0]++)
        for (k[1] = from[1]; k[1] < to[1]; k[1]++)
            for (k[2] = from[2]; k[2] < to[2]; k[2]++) {
                size_t at = 0;
                for (uint32_t d = 0; d < 3; d++)
                    at = at * (size_t)w->in[d] +
                         (size_t)(o[d] * w->stride[d] - w->before[d] + k[d] * w->dilation[d]);
                add(&s, tensor_real(x, base + at), base + at);
            }
    return s;
}

typedef void pooled_fn(const struct call *c, const struct window *w, const struct pooled *s,
                       const int64_t o[3], size_t at);

static void for_each_window(const struct call *c, const struct window *w, float p, pooled_fn *done)
{
    const size_t channels = shape_span(&c->in[0]->shape, 0, 2), in = window_in(w);
    size_t at = 0;
    for (size_t i = 0; i < channels; i++)
        for (int64_t d = 0; d < w->out[0]; d++)
            for (int64_t h = 0; h < w->out[1]; h++)
                for (int64_t v = 0; v < w->out[2]; v++, at++) {
                    const int64_t o[3] = { d, h, v };
                    const struct pooled s = pool_one(c->in[0], i * in, w, o, p);
                    done(c, w, &s, o, at);
                }
}

/* ---- kernels */

/* storage_order 1 counts the last two dimensions of a place by columns. */
static int64_t place(const struct call *c, const struct window *w, size_t at)
{
    if (!call_int(c, "storage_order", 0))
        return (int64_t)at;
    const int64_t in = (int64_t)window_in(w), inner = (int64_t)at % in, base = (int64_t)at - inner;
    const int64_t h = w->in[1], v = w->in[2], plane = inner / (h * v) * h * v;
    return base + plane + (inner % v) * h + inner % (h * v) / v;
}

static void done_max(const struct call *c, const struct window *w, const struct pooled *s,
                     const int64_t o[3], size_t at)
{
    (void)o;
    if (c->out[0])
        put_real(c->out[0], at, s->count ? s->most : -HUGE_VAL);
    if (c->output_count > 1 && c->out[1])
        ((int64_t *)c->out[1]->data)[at] = s->count ? place(c, w, s->from) : -1;
}

static void done_average(const struct call *c, const struct window *w, const struct pooled *s,
                         const int64_t o[3], size_t at)
{
    double count = (double)s->count;
    if (call_int(c, "count_include_pad",
                 0)) /* pads count, what ceil_mode adds behind them does not */
        for (uint32_t d = 0, first = 1; d < 3; d++, first = 0) {
            const int64_t start = o[d] * w->stride[d] - w->before[d];
            const int64_t room = w->in[d] + w->after[d] - start;
            int64_t taps = (room + w->dilation[d] - 1) / w->dilation[d];
            taps = taps < w->kernel[d] ? taps : w->kernel[d];
            count = (first ? 1 : count) * (double)taps;
        }
    put_real(c->out[0], at, count > 0 ? s->sum / count : 0);
}

static void done_lp(const struct call *c, const struct window *w, const struct pooled *s,
                    const int64_t o[3], size_t at)
{
    (void)w;
    (void)o;
    put_real(c->out[0], at, pow(s->sum, 1 / (double)s->p));
}

/* The two-dimensional kernels that the rest of the house uses; false: they do not fit. */
static bool flat_shape(const struct call *c, const struct window *w, struct conv_shape *s)
{
    const size_t channels = (size_t)c->in[0]->shape.dim[1];
    *s = (struct conv_shape){ .channels = channels,
                              .filters = channels,
                              .groups = channels,
                              .height = (size_t)w->in[1],
                              .width = (size_t)w->in[2],
                              .kernel_h = (size_t)w->kernel[1],
                              .kernel_w = (size_t)w->kernel[2],
                              .stride_h = (size_t)w->stride[1],
                              .stride_w = (size_t)w->stride[2],
                              .dilation_h = (size_t)w->dilation[1],
                              .dilation_w = (size_t)w->dilation[2],
                              .pad_top = (size_t)w->before[1],
                              .pad_left = (size_t)w->before[2],
                              .pad_bottom = (size_t)w->after[1],
                              .pad_right = (size_t)w->after[2] };
    return c->in[0]->type == T_F32 && w->dims == 2 && channels && conv_shape_finish(s) &&
           s->out_h == (size_t)w->out[1] && s->out_w == (size_t)w->out[2];
}

static maas_status run_max_pool(const struct call *c, maas_error *error)
{
    struct window w;
    struct conv_shape s;
    maas_status status = read_window(c, &w, error);
    if (status)
        return status;
    if (!(c->output_count > 1 && c->out[1]) && flat_shape(c, &w, &s))
        for (int64_t i = 0; i < c->in[0]->shape.dim[0]; i++)
            pool_max((float *)c->out[0]->data + (size_t)i * s.channels * window_out(&w), NULL,
                     (const float *)c->in[0]->data + (size_t)i * s.channels * window_in(&w), &s);
    else
        for_each_window(c, &w, 0, done_max);
    return MAAS_OK;
}

static maas_status run_average_pool(const struct call *c, maas_error *error)
{
    struct window w;
    maas_status status = read_window(c, &w, error);
    if (!status)
        for_each_window(c, &w, 0, done_average);
    return status;
}

static maas_status run_lp_pool(const struct call *c, maas_error *error)
{
    struct window w;
    const struct attribute *p = call_attribute(c, "p");
    maas_status status = read_window(c, &w, error);
    if (!status)
        for_each_window(c, &w, p ? (float)p->integer : 2, done_lp);
    return status;
}

static maas_status run_global(const struct call *c, bool most, float p)
{
    const struct shape *s = &c->in[0]->shape;
    const size_t channels = shape_span(s, 0, 2), places = shape_span(s, 2, s->rank);
    for (size_t i = 0; i < channels; i++) {
        struct pooled all = { .p = p };
        for (size_t at = i * places; at < (i + 1) * places; at++)
            add(&all, tensor_real(c->in[0], at), at);
        put_real(c->out[0], i,
                 most    ? all.most
                 : p > 0 ? pow(all.sum, 1 / (double)p)
                         : all.sum / (double)places);
    }
    return MAAS_OK;
}

static maas_status run_global_max(const struct call *c, maas_error *error)
{
    (void)error;
    return run_global(c, true, 0);
}

static maas_status run_global_average(const struct call *c, maas_error *error)
{
    (void)error;
    return run_global(c, false, 0);
}

static maas_status run_global_lp(const struct call *c, maas_error *error)
{
    (void)error;
    return run_global(c, false, (float)call_int(c, "p", 2));
}

/* p below 1 is no norm. */
static maas_status shape_lp(struct call *c, maas_error *error)
{
    if (call_int(c, "p", 2) < 1)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'p' must be at least 1");
    return call_attribute(c, "kernel_shape") ? shape_pool(c, error) : shape_global(c, error);
}

#define WINDOW_ATTRIBUTES "auto_pad:s kernel_shape:I pads:I strides:I dilations:I ceil_mode:i"
const struct operator ops_pool[] = {
    { .name = "MaxPool",
      .attributes = WINDOW_ATTRIBUTES " storage_order:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 2,
      .shape = shape_max_pool,
      .run = run_max_pool },
    { .name = "AveragePool",
      .attributes = WINDOW_ATTRIBUTES " count_include_pad:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_pool,
      .run = run_average_pool },
    { .name = "LpPool",
      .attributes = WINDOW_ATTRIBUTES " p:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_lp,
      .run = run_lp_pool },
    { .name = "GlobalMaxPool",
      .attributes = "",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_global,
      .run = run_global_max },
    { .name = "GlobalAveragePool",
      .attributes = "",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_global,
      .run = run_global_average },
    { .name = "GlobalLpPool",
      .attributes = "p:i",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_lp,
      .run = run_global_lp },
    { 0 },
};
