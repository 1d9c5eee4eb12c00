/*
 * window.h: what convolution and pooling share: a window that moves over one to three dimensions.
 * Always three here: those that are not there have an extent of 1 in front. Pure. [any]
 */
#ifndef OPS_WINDOW_H
#define OPS_WINDOW_H

#include "../operator.h"

enum { WINDOW_DIMS = 3 };

struct window {
    uint32_t dims; /* that are there */
    int64_t in[WINDOW_DIMS], kernel[WINDOW_DIMS], stride[WINDOW_DIMS], dilation[WINDOW_DIMS];
    int64_t before[WINDOW_DIMS], after[WINDOW_DIMS], out[WINDOW_DIMS];
};

/* Reads strides, dilations, pads, auto_pad (and ceil_mode) for input 0, [n, c, …], and a kernel of
 * `dims` extents. */
maas_status window_read(const struct call *c, const int64_t *kernel, uint32_t dims,
                        struct window *out, maas_error *error);
/* [n, channels, out …] */
struct shape window_shape(const struct window *w, int64_t n, int64_t channels);
/* Elements of one channel. */
size_t window_in(const struct window *w);
size_t window_out(const struct window *w);
/* The places [*from, *to) of the kernel that lie inside of dimension d for output o. */
void window_inside(const struct window *w, uint32_t d, int64_t o, int64_t *from, int64_t *to);

#endif
