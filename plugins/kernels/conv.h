/*
 * conv.h: convolution of one image, as a product over unfolded patches (im2col). A batch is a loop
 * over images: each is the same product of the same shape, so its bits do not hang on the batch.
 * Pure functions, outputs first. [any]
 */
#ifndef KERNELS_CONV_H
#define KERNELS_CONV_H

#include <stdbool.h>
#include <stddef.h>

/* An image is [channels, height, width], weights [filters, channels / groups, kernel_h, kernel_w].
 * Pads are zeros. */
struct conv_shape {
    size_t channels, height, width;
    size_t filters, kernel_h, kernel_w;
    size_t stride_h, stride_w; /* 1 at least */
    size_t dilation_h, dilation_w;
    size_t pad_top, pad_left, pad_bottom, pad_right;
    size_t groups;       /* divides channels and filters */
    size_t out_h, out_w; /* conv_shape_finish sets them */
};

/* False: the window does not fit, a member is 0 that must not be, or a size is beyond 2^31. */
bool conv_shape_finish(struct conv_shape *s);
/* Floats of the work space `patches`: channels / groups * kernel_h * kernel_w * out_h * out_w. */
size_t conv_patches(const struct conv_shape *s);

/* y [filters, out_h, out_w]; b [filters] or NULL. */
void conv_forward(float *y, float *patches, const float *x, const float *w, const float *b,
                  const struct conv_shape *s);
/* Adds to dw and db (each may be NULL); dx is set, and may be NULL. patches as above. */
void conv_backward(float *dx, float *dw, float *db, float *patches, const float *dy, const float *x,
                   const float *w, const struct conv_shape *s);

#endif
