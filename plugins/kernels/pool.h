/*
 * pool.h: pooling of one image [channels, height, width]. Pure functions, outputs first. [any]
 */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H

#include "conv.h"

#include <stdint.h>

/* The window is conv_shape's kernel, stride, dilation and pads; filters = channels, groups =
 * channels. y [channels, out_h, out_w]; from, of the same shape or NULL, gets the place in its
 * channel that each maximum came from: the first of equals. A NaN wins. A window that meets only
 * pads is -infinity, from UINT32_MAX. */
void pool_max(float *y, uint32_t *from, const float *x, const struct conv_shape *s);
/* dx is set. */
void pool_max_backward(float *dx, const float *dy, const uint32_t *from,
                       const struct conv_shape *s);
/* count_pads: divide by the whole window, pads too; else by the pixels it met. */
void pool_average(float *y, const float *x, bool count_pads, const struct conv_shape *s);
void pool_average_backward(float *dx, const float *dy, bool count_pads, const struct conv_shape *s);

#endif
