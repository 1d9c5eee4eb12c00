/*
 * dense.h: fully connected layers, y = x w' + b. Two forms: for learning, by matmul.h, over a whole
 * batch; for answering, over weights packed once, where a row has the same bits in any batch.
 * Pure functions, outputs first. [any]
 */
#ifndef KERNELS_DENSE_H
#define KERNELS_DENSE_H

#include <stddef.h>

enum { DENSE_PANEL = 16 }; /* outputs that are computed together */

/* y [rows, outputs] = x [rows, inputs] w [outputs, inputs]' + b [outputs]; b may be NULL. */
void dense_forward(float *y, const float *x, const float *w, const float *b, size_t rows,
                   size_t inputs, size_t outputs);
/* Adds to dw [outputs, inputs] and db [outputs] (each may be NULL); dx [rows, inputs] is set, and
 * may be NULL. */
void dense_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                    const float *w, size_t rows, size_t inputs, size_t outputs);

/* Floats of packed weights: outputs rounded up to panels, times inputs. */
size_t dense_packed_size(size_t inputs, size_t outputs);
/* packed: aligned to 64 bytes, [outputs / 16 rounded up][inputs][16], zeros behind the last. */
void dense_pack(float *packed, const float *w, size_t inputs, size_t outputs);
/* As dense_forward. Each element is summed over the inputs in their order by fused multiply-adds,
 * or without fusing where the processor has none: one machine, one result, whatever the rows. */
void dense_packed_forward(float *y, const float *x, const float *packed, const float *b,
                          size_t rows, size_t inputs, size_t outputs);

#endif
