/*
 * window.c: extents and pads as ONNX' Conv and Pool say.
 */
#include "window.h"

enum { EXTENT_MAX = 1 << 24 };

size_t window_in(const struct window *w)
{
    return (size_t)(w->in[0] * w->in[1] * w->in[2]);
}

size_t window_out(const struct window *w)
{
    return (size_t)(w->out[0] * w->out[1] * w->out[2]);
}

/* An attribute of `dims` integers of least … EXTENT_MAX into out, behind `skip`. */
static maas_status read_extents(const struct call *c, const char *name, int64_t least,
                                uint32_t dims, int64_t *out, maas_error *error)
{
    uint32_t count;
    const int64_t *got = call_ints(c, name, &count);
    if (!got)
        return MAAS_OK;
    if (count != dims)
        return maas_fail(error, MAAS_E_INVALID, "attribute '%s' has %u values instead of %u", name,
                         count, dims);
    for (uint32_t i = 0; i < dims; i++) {
        if (got[i] < least || got[i] > EXTENT_MAX)
            return maas_fail(error, MAAS_E_INVALID, "attribute '%s' holds %lld", name,
                             (long long)got[i]);
        out[i] = got[i];
    }
    return MAAS_OK;
}

static maas_status read_pads(const struct call *c, struct window *w, maas_error *error)
{
    int64_t pads[2 * WINDOW_DIMS] = { 0 };
    const uint32_t skip = WINDOW_DIMS - w->dims;
    maas_status status = read_extents(c, "pads", 0, 2 * w->dims, pads, error);
    for (uint32_t d = 0; !status && d < w->dims; d++) {
        w->before[skip + d] = pads[d];
        w->after[skip + d] = pads[w->dims + d];
    }
    return status;
}

static int64_t reach(const struct window *w, uint32_t d)
{
    return (w->kernel[d] - 1) * w->dilation[d] + 1;
}

/* auto_pad SAME: as many outputs as the input has strides. */
static void pad_same(struct window *w, bool upper)
{
    for (uint32_t d = 0; d < WINDOW_DIMS; d++) {
        const int64_t out = (w->in[d] + w->stride[d] - 1) / w->stride[d];
        const int64_t all = (out - 1) * w->stride[d] + reach(w, d) - w->in[d];
        const int64_t less = all > 0 ? all / 2 : 0, more = all > 0 ? all - less : 0;
        w->before[d] = upper ? less : more;
        w->after[d] = upper ? more : less;
    }
}

static maas_status finish(struct window *w, bool ceil, maas_error *error)
{
    for (uint32_t d = 0; d < WINDOW_DIMS; d++) {
        const int64_t room = w->in[d] + w->before[d] + w->after[d] - reach(w, d);
        if (room < 0 || !w->in[d])
            return maas_fail(error, MAAS_E_INVALID,
                             "a window of %lld is larger than its input of %lld",
                             (long long)reach(w, d), (long long)w->in[d]);
        w->out[d] = (room + (ceil ? w->stride[d] - 1 : 0)) / w->stride[d] + 1;
        if (ceil && (w->out[d] - 1) * w->stride[d] >= w->in[d] + w->before[d])
            w->out[d]--; /* no window begins behind the input */
    }
    return MAAS_OK;
}

static maas_status read_auto_pad(const struct call *c, struct window *w, maas_error *error)
{
    if (call_text_is(c, "auto_pad", "SAME_UPPER", false))
        pad_same(w, true);
    else if (call_text_is(c, "auto_pad", "SAME_LOWER", false))
        pad_same(w, false);
    else if (!call_text_is(c, "auto_pad", "VALID", false)) {
        if (!call_text_is(c, "auto_pad", "NOTSET", true))
            return maas_fail(error, MAAS_E_INVALID, "attribute 'auto_pad' has an unknown value");
        return read_pads(c, w, error);
    }
    return MAAS_OK;
}

maas_status window_read(const struct call *c, const int64_t *kernel, uint32_t dims,
                        struct window *out, maas_error *error)
{
    const struct shape *in = &c->in[0]->shape;
    if (in->rank != dims + 2 || !dims || dims > WINDOW_DIMS)
        return maas_fail(
            error, MAAS_E_UNIMPLEMENTED,
            "an input of %u dimensions with a window of %u; [n, c] and 1 to 3 are supported",
            in->rank, dims);
    struct window w = { .dims = dims };
    const uint32_t skip = WINDOW_DIMS - dims;
    for (uint32_t d = 0; d < WINDOW_DIMS; d++) {
        w.stride[d] = w.dilation[d] = 1;
        w.kernel[d] = d < skip ? 1 : kernel[d - skip];
        w.in[d] = d < skip ? 1 : in->dim[2 + d - skip];
        if (w.kernel[d] < 1 || w.kernel[d] > EXTENT_MAX || w.in[d] > EXTENT_MAX)
            return maas_fail(error, MAAS_E_INVALID, "a window of %lld over %lld",
                             (long long)w.kernel[d], (long long)w.in[d]);
    }
    maas_status status = read_extents(c, "strides", 1, dims, w.stride + skip, error);
    if (!status)
        status = read_extents(c, "dilations", 1, dims, w.dilation + skip, error);
    if (!status)
        status = read_auto_pad(c, &w, error);
    if (!status)
        status = finish(&w, call_int(c, "ceil_mode", 0) != 0, error);
    if (!status)
        *out = w;
    return status;
}

struct shape window_shape(const struct window *w, int64_t n, int64_t channels)
{
    struct shape s = { .rank = w->dims + 2, .dim = { n, channels } };
    for (uint32_t d = 0; d < w->dims; d++)
        s.dim[2 + d] = w->out[WINDOW_DIMS - w->dims + d];
    return s;
}

void window_inside(const struct window *w, uint32_t d, int64_t o, int64_t *from, int64_t *to)
{
    const int64_t at = o * w->stride[d] - w->before[d], step = w->dilation[d];
    *from = at < 0 ? (-at + step - 1) / step : 0;
    *to = at >= w->in[d] ? 0 : (w->in[d] - 1 - at) / step + 1;
    *from = *from < w->kernel[d] ? *from : w->kernel[d];
    *to = *to < w->kernel[d] ? *to : w->kernel[d];
    *to = *to < *from ? *from : *to;
}
