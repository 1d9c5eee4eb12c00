/*
 * conv.c: Conv and ConvTranspose over one to three dimensions. Two dimensions of float32 go through
 * kernels/conv.h, one image at a time; the rest through plain loops. A plan puts a faster engine in
 * place of Conv where there is one (dnnl.h).
 */
#include "families.h"

#include "conv.h"
#include "kernels/conv.h"

/* ---- Conv */

maas_status conv_window(const struct call *c, struct window *w, int64_t *groups, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status)
        status = call_type(c, 1, c->in[0]->type, error);
    if (!status && call_has(c, 2))
        status = call_type(c, 2, c->in[0]->type, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape, *f = &c->in[1]->shape;
    uint32_t count;
    const int64_t *kernel = call_ints(c, "kernel_shape", &count);
    *groups = call_int(c, "group", 1);
    if (x->rank < 3 || f->rank != x->rank || *groups < 1 || f->dim[0] < 1 || f->dim[1] < 1 ||
        f->dim[0] % *groups || x->dim[1] % *groups || x->dim[1] / *groups != f->dim[1] ||
        (call_has(c, 2) && (c->in[2]->shape.rank != 1 || c->in[2]->shape.dim[0] != f->dim[0]))) {
        char left[80], right[80];
        return maas_fail(error, MAAS_E_INVALID,
                         "input %s, weights %s and %lld groups do not fit together",
                         shape_text(x, left, sizeof(left)), shape_text(f, right, sizeof(right)),
                         (long long)*groups);
    }
    if (kernel && (count != f->rank - 2 || memcmp(kernel, f->dim + 2, count * sizeof(*kernel))))
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'kernel_shape' is not that of the weights");
    return window_read(c, f->dim + 2, f->rank - 2, w, error);
}

static bool flat_conv(const struct call *c, const struct window *w, int64_t groups,
                      struct conv_shape *s)
{
    *s = (struct conv_shape){ .channels = (size_t)c->in[0]->shape.dim[1],
                              .filters = (size_t)c->in[1]->shape.dim[0],
                              .groups = (size_t)groups,
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
    return c->in[0]->type == T_F32 && w->dims < 3 && conv_shape_finish(s) &&
           s->out_h == (size_t)w->out[1] && s->out_w == (size_t)w->out[2];
}

static maas_status shape_conv(struct call *c, maas_error *error)
{
    struct window w;
    struct conv_shape s;
    int64_t groups;
    maas_status status = conv_window(c, &w, &groups, error);
    if (status)
        return status;
    if (c->in[0]->type != T_F32 && c->in[0]->type != T_F64)
        return maas_fail(error, MAAS_E_UNIMPLEMENTED,
                         "input 0 is of type %s; float32 and float64 are supported",
                         type_name(c->in[0]->type));
    if (flat_conv(c, &w, groups, &s))
        c->space_bytes = conv_patches(&s) * sizeof(float);
    const struct shape shape = window_shape(&w, c->in[0]->shape.dim[0], c->in[1]->shape.dim[0]);
    return call_out(c, 0, c->in[0]->type, &shape, error);
}

/* Where an output meets its inputs: indices of input and weights of each tap that is inside. */
#define FOR_EACH_TAP(w, o, x_at, k_at)                                                             \
    for (int64_t kd = 0, x_at, k_at; kd < (w)->kernel[0]; kd++)                                    \
        for (int64_t kh = 0; kh < (w)->kernel[1]; kh++)                                            \
            for (int64_t kw = 0; kw < (w)->kernel[2]; kw++)                                        \
                if (tap((w), (o), (const int64_t[]){ kd, kh, kw }, &(x_at), &(k_at)))

static bool tap(const struct window *w, const int64_t o[3], const int64_t k[3], int64_t *x_at,
                int64_t *k_at)
{
    *x_at = *k_at = 0;
    for (uint32_t d = 0; d < WINDOW_DIMS; d++) {
        const int64_t at = o[d] * w->stride[d] - w->before[d] + k[d] * w->dilation[d];
        if (at < 0 || at >= w->in[d])
            return false;
        *x_at = *x_at * w->in[d] + at;
        *k_at = *k_at * w->kernel[d] + k[d];
    }
    return true;
}

static void put(const struct tensor *t, size_t at, double value)
{
    if (t->type == T_F32)
        ((float *)t->data)[at] = (float)value;
    else
        ((double *)t->data)[at] = value;
}

/* One filter over one image's group of channels. */
static void plain_filter(const struct call *c, const struct window *w, size_t x_base, size_t f,
                         size_t y_base)
{
    const size_t channels = (size_t)c->in[1]->shape.dim[1], in = window_in(w);
    const size_t taps = (size_t)(w->kernel[0] * w->kernel[1] * w->kernel[2]);
    const double bias = call_has(c, 2) ? tensor_real(c->in[2], f) : 0;
    for (int64_t d = 0, at = 0; d < w->out[0]; d++)
        for (int64_t h = 0; h < w->out[1]; h++)
            for (int64_t v = 0; v < w->out[2]; v++, at++) {
                const int64_t o[3] = { d, h, v };
                double sum = bias;
                FOR_EACH_TAP(w, o, x_at, k_at)
                for (size_t i = 0; i < channels; i++)
                    sum += tensor_real(c->in[0], x_base + i * in + (size_t)x_at) *
                           tensor_real(c->in[1], (f * channels + i) * taps + (size_t)k_at);
                put(c->out[0], y_base + (size_t)at, sum);
            }
}

static maas_status run_conv(const struct call *c, maas_error *error)
{
    struct window w;
    struct conv_shape s;
    int64_t groups;
    maas_status status = conv_window(c, &w, &groups, error);
    if (status)
        return status;
    const size_t images = (size_t)c->in[0]->shape.dim[0], channels = (size_t)c->in[0]->shape.dim[1];
    const size_t filters = (size_t)c->in[1]->shape.dim[0], in = window_in(&w), out = window_out(&w);
    const bool flat = flat_conv(c, &w, groups, &s);
    for (size_t i = 0; i < images; i++) {
        if (flat)
            conv_forward((float *)c->out[0]->data + i * filters * out, c->space,
                         (const float *)c->in[0]->data + i * channels * in, c->in[1]->data,
                         call_has(c, 2) ? c->in[2]->data : NULL, &s);
        else
            for (size_t f = 0; f < filters; f++)
                plain_filter(
                    c, &w,
                    (i * channels + f / (filters / (size_t)groups) * (channels / (size_t)groups)) *
                        in,
                    f, (i * filters + f) * out);
    }
    return MAAS_OK;
}

/* ---- ConvTranspose: the window as of a convolution whose input is this one's output */

/* Extents of the output: stride (in - 1) + reach + output_padding - pads, or output_shape. */
static maas_status transposed_extent(const struct call *c, struct window *w, uint32_t d,
                                     int64_t given, int64_t extra, maas_error *error)
{
    const int64_t full =
        w->stride[d] * (w->out[d] - 1) + extra + (w->kernel[d] - 1) * w->dilation[d] + 1;
    const bool lower = call_text_is(c, "auto_pad", "SAME_LOWER", false);
    const bool same = lower || call_text_is(c, "auto_pad", "SAME_UPPER", false);
    if (given < 0 && same)
        given = w->out[d] * w->stride[d];
    if (given >= 0) {
        const int64_t pads = full - given > 0 ? full - given : 0;
        w->before[d] = lower || !same ? pads - pads / 2 : pads / 2;
        if (!same)
            w->before[d] = pads / 2;
        w->after[d] = pads - w->before[d];
        w->in[d] = given;
    } else {
        w->in[d] = full - w->before[d] - w->after[d];
    }
    return w->in[d] > 0 && w->in[d] < 1 << 24
               ? MAAS_OK
               : maas_fail(error, MAAS_E_INVALID, "an output extent of %lld", (long long)w->in[d]);
}

static maas_status transposed_window(const struct call *c, struct window *w, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape, *f = &c->in[1]->shape;
    const uint32_t dims = x->rank - 2, skip = WINDOW_DIMS - dims;
    uint32_t shapes, extras, pads;
    const int64_t *given = call_ints(c, "output_shape", &shapes);
    const int64_t *extra = call_ints(c, "output_padding", &extras);
    const int64_t *pad = call_ints(c, "pads", &pads);
    *w = (struct window){ .dims = dims };
    if ((given && shapes != dims) || (extra && extras != dims) || (pad && pads != 2 * dims))
        return maas_fail(error, MAAS_E_INVALID,
                         "an attribute has not one value for each dimension");
    for (uint32_t d = 0; d < WINDOW_DIMS; d++) {
        uint32_t n;
        const bool there = d >= skip;
        const uint32_t i = there ? d - skip : 0;
        const int64_t *strides = call_ints(c, "strides", &n);
        w->stride[d] = there && strides && n == dims ? strides[i] : 1;
        const int64_t *dilations = call_ints(c, "dilations", &n);
        w->dilation[d] = there && dilations && n == dims ? dilations[i] : 1;
        w->kernel[d] = there ? f->dim[2 + i] : 1;
        w->out[d] = there ? x->dim[2 + i] : 1;
        w->before[d] = there && pad ? pad[i] : 0;
        w->after[d] = there && pad ? pad[dims + i] : 0;
        const int64_t numbers[] = { w->stride[d],
                                    w->dilation[d],
                                    w->kernel[d],
                                    w->out[d],
                                    w->before[d] + 1,
                                    w->after[d] + 1,
                                    (there && extra ? extra[i] : 0) + 1,
                                    (there && given ? given[i] : 1) };
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++)
            if (numbers[k] < 1 || numbers[k] > 1 << 20)
                return maas_fail(error, MAAS_E_INVALID, "an attribute or extent is out of range");
        maas_status status =
            transposed_extent(c, w, d, there && given ? given[i] : (there ? -1 : 1),
                              there && extra ? extra[i] : 0, error);
        if (status)
            return status;
    }
    return MAAS_OK;
}

static maas_status shape_transposed(struct call *c, maas_error *error)
{
    struct window w;
    maas_status status = call_type(c, 0, T_F32, error);
    if (!status)
        status = call_type(c, 1, T_F32, error);
    if (!status && call_has(c, 2))
        status = call_type(c, 2, T_F32, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape, *f = &c->in[1]->shape;
    const int64_t groups = call_int(c, "group", 1);
    if (x->rank < 3 || x->rank > 5 || f->rank != x->rank || groups < 1 || groups > x->dim[1] ||
        x->dim[1] % groups || f->dim[0] != x->dim[1] || f->dim[1] < 1 || f->dim[1] > 1 << 24 ||
        (call_has(c, 2) &&
         (c->in[2]->shape.rank != 1 || c->in[2]->shape.dim[0] != f->dim[1] * groups)))
        return maas_fail(error, MAAS_E_INVALID, "input, weights and groups do not fit together");
    status = transposed_window(c, &w, error);
    if (status)
        return status;
    struct shape shape = { .rank = x->rank, .dim = { x->dim[0], f->dim[1] * groups } };
    for (uint32_t d = 0; d < w.dims; d++)
        shape.dim[2 + d] = w.in[WINDOW_DIMS - w.dims + d];
    return call_out(c, 0, T_F32, &shape, error);
}

/* Spreads one input channel over one output channel. */
static void spread(float *y, const float *x, const float *f, const struct window *w)
{
    for (int64_t d = 0, at = 0; d < w->out[0]; d++)
        for (int64_t h = 0; h < w->out[1]; h++)
            for (int64_t v = 0; v < w->out[2]; v++, at++) {
                const int64_t o[3] = { d, h, v };
                FOR_EACH_TAP(w, o, y_at, k_at)
                y[y_at] += x[at] * f[k_at];
            }
}

static maas_status run_transposed(const struct call *c, maas_error *error)
{
    struct window w;
    maas_status status = transposed_window(c, &w, error);
    if (status)
        return status;
    const size_t groups = (size_t)call_int(c, "group", 1),
                 taps = (size_t)(w.kernel[0] * w.kernel[1] * w.kernel[2]);
    const size_t images = (size_t)c->in[0]->shape.dim[0], channels = (size_t)c->in[0]->shape.dim[1];
    const size_t per = (size_t)c->in[1]->shape.dim[1], filters = per * groups;
    const size_t places = window_in(&w), in = window_out(&w);
    const float *bias = call_has(c, 2) ? c->in[2]->data : NULL;
    for (size_t i = 0; i < images * filters; i++)
        for (size_t p = 0; p < places; p++)
            ((float *)c->out[0]->data)[i * places + p] = bias ? bias[i % filters] : 0;
    for (size_t i = 0; i < images; i++)
        for (size_t k = 0; k < channels; k++)
            for (size_t f = 0; f < per; f++)
                spread((float *)c->out[0]->data +
                           (i * filters + k / (channels / groups) * per + f) * places,
                       (const float *)c->in[0]->data + (i * channels + k) * in,
                       (const float *)c->in[1]->data + (k * per + f) * taps, &w);
    return MAAS_OK;
}

#define CONV_ATTRIBUTES "auto_pad:s kernel_shape:I pads:I strides:I dilations:I group:i"
const struct operator ops_conv[] = {
    { .name = "Conv",
      .attributes = CONV_ATTRIBUTES,
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_conv,
      .run = run_conv },
    { .name = "ConvTranspose",
      .attributes = CONV_ATTRIBUTES " output_shape:I output_padding:I",
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_transposed,
      .run = run_transposed },
    { 0 },
};
