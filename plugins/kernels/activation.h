/*
 * activation.h: functions of single values, softmax with cross-entropy, normalisation, dropout.
 * Pure functions, outputs first; y may be x, dx may be dy. [any]
 */
#ifndef KERNELS_ACTIVATION_H
#define KERNELS_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>

/* y = max(x, 0); a NaN stays. */
void relu(float *y, const float *x, size_t count);
/* Backwards each takes y, what forward gave. */
void relu_backward(float *dx, const float *dy, const float *y, size_t count);
/* y = 1 / (1 + exp(-x)) */
void sigmoid(float *y, const float *x, size_t count);
void sigmoid_backward(float *dx, const float *dy, const float *y, size_t count);
void tanh_forward(float *y, const float *x, size_t count);
void tanh_backward(float *dx, const float *dy, const float *y, size_t count);

/* y [rows, classes]: exp(x - most of the row) over its sum. */
void softmax(float *y, const float *x, size_t rows, size_t classes);
/* The sum over rows of -log p[truth], p [rows, classes] from softmax, p at least 1e-15. */
double cross_entropy(const float *p, const uint32_t *truth, size_t rows, size_t classes);
/* Through both at once: dx = (p - one at truth) * scale. */
void cross_entropy_backward(float *dx, const float *p, const uint32_t *truth, float scale,
                            size_t rows, size_t classes);

/* Batch normalisation with known moments: y = (x - mean[c]) / sqrt(variance[c] + epsilon) gain[c] +
 * shift[c], x [channels, places] of one image (Ioffe and Szegedy 2015). */
void batch_norm(float *y, const float *x, const float *mean, const float *variance,
                const float *gain, const float *shift, float epsilon, size_t channels,
                size_t places);
/* Given moments are constants: dx is set, dgain and dshift [channels] are added to (may be NULL).
 */
void batch_norm_backward(float *dx, float *dgain, float *dshift, const float *dy, const float *x,
                         const float *mean, const float *variance, const float *gain, float epsilon,
                         size_t channels, size_t places);

/* Inverted dropout (Srivastava et al. 2014): each value becomes 0 with probability `rate`, else it
 * is divided by 1 - rate. mask [count] keeps the factor for backward: dx = dy mask. *state as in
 * dataset/random.h. */
void dropout(float *y, float *mask, const float *x, float rate, uint64_t *state, size_t count);
void dropout_backward(float *dx, const float *dy, const float *mask, size_t count);

#endif
