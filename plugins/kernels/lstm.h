/*
 * lstm.h: long short-term memory over packed sequences (sequence.h), one direction; the other is
 * the same over the mirrored tokens. Hochreiter and Schmidhuber 1997, with the forget gate of Gers
 * et al. 2000:
 *
 *     i, f, o = sigmoid(w x + u h' + b), a = tanh(w x + u h' + b)
 *     c = f c' + i a, h = o tanh(c)          h', c' of the step before, zeros at first
 *
 * The gates stand in the order i, f, a, o. Pure functions, outputs first; memory is the caller's.
 * [any]
 */
#ifndef KERNELS_LSTM_H
#define KERNELS_LSTM_H

#include "sequence.h"

#include <stdbool.h>

struct lstm_weights {
    size_t inputs, hidden;
    const float *w; /* [4 hidden, inputs] */
    const float *u; /* [4 hidden, hidden] */
    const float *b; /* [4 hidden] */
    bool packed;    /* w and u as dense_pack made them: a row has the same bits in any batch */
};

/* h, c [tokens, hidden], gates [tokens, 4 hidden] (kept for backward), x [tokens, inputs]. */
void lstm_forward(float *h, float *c, float *gates, const float *x, const struct lstm_weights *w,
                  const struct sequence *s);
/* dh [tokens, hidden] is what the loss says of each h, and is spoilt; gates become their gradients;
 * dc [rows, hidden] is work space. Adds to dw, du, db (all may be NULL together); dx [tokens,
 * inputs] is set. Weights are not packed. */
void lstm_backward(float *dx, float *dw, float *du, float *db, float *dh, float *dc, float *gates,
                   const float *c, const float *h, const float *x, const struct lstm_weights *w,
                   const struct sequence *s);

#endif
