/*
 * lstm.c: the products with x are one for all tokens; those with h are one a step, over the rows
 * that go on. Single values are plain loops.
 */
#include "lstm.h"

#include <math.h>
#include <string.h>

#include "dense.h"
#include "matmul.h"

static float logistic(float x)
{
    return 1 / (1 + expf(-x));
}

/* One step of `rows` rows: gates become what they are worth, from the sums; c_before NULL: zeros.
 */
static void step(float *h, float *c, float *gates, const float *c_before, size_t rows,
                 size_t hidden)
{
    for (size_t r = 0; r < rows; r++, gates += 4 * hidden)
        for (size_t k = 0; k < hidden; k++, h++, c++) {
            const float i = logistic(gates[k]), f = logistic(gates[hidden + k]);
            const float a = tanhf(gates[2 * hidden + k]), o = logistic(gates[3 * hidden + k]);
            *c = i * a + (c_before ? f * c_before[r * hidden + k] : 0);
            *h = o * tanhf(*c);
            gates[k] = i;
            gates[hidden + k] = f;
            gates[2 * hidden + k] = a;
            gates[3 * hidden + k] = o;
        }
}

/* gates += h u', row by row where packed: what is added to is then the bias. */
static void recur(float *gates, const float *h, const struct lstm_weights *w, size_t rows)
{
    const size_t hidden = w->hidden;
    if (!w->packed) {
        matmul(gates, h, false, w->u, true, rows, 4 * hidden, hidden, 1);
        return;
    }
    for (size_t r = 0; r < rows; r++, gates += 4 * hidden, h += hidden)
        dense_packed_forward(gates, h, w->u, gates, 1, hidden, 4 * hidden);
}

void lstm_forward(float *h, float *c, float *gates, const float *x, const struct lstm_weights *w,
                  const struct sequence *s)
{
    const size_t hidden = w->hidden;
    if (w->packed)
        dense_packed_forward(gates, x, w->w, w->b, s->tokens, w->inputs, 4 * hidden);
    else
        dense_forward(gates, x, w->w, w->b, s->tokens, w->inputs, 4 * hidden);
    for (size_t t = 0; t < s->steps; t++) {
        const size_t at = s->starts[t], before = t ? s->starts[t - 1] : 0;
        if (t)
            recur(gates + at * 4 * hidden, h + before * hidden, w, s->active[t]);
        step(h + at * hidden, c + at * hidden, gates + at * 4 * hidden,
             t ? c + before * hidden : NULL, s->active[t], hidden);
    }
}

/* One step back: gates become the gradients of their sums, dc that of the cell before. */
static void step_back(float *gates, float *dc, const float *dh, const float *c,
                      const float *c_before, size_t rows, size_t hidden)
{
    for (size_t r = 0; r < rows; r++, gates += 4 * hidden)
        for (size_t k = 0; k < hidden; k++, dh++, c++, dc++) {
            const float i = gates[k], f = gates[hidden + k];
            const float a = gates[2 * hidden + k], o = gates[3 * hidden + k];
            const float held = tanhf(*c), d = *dc + *dh * o * (1 - held * held);
            gates[k] = d * a * i * (1 - i);
            gates[hidden + k] = c_before ? d * c_before[r * hidden + k] * f * (1 - f) : 0;
            gates[2 * hidden + k] = d * i * (1 - a * a);
            gates[3 * hidden + k] = *dh * held * o * (1 - o);
            *dc = d * f;
        }
}

/* dw, du, db from the gradients of all sums. */
static void weigh(float *dw, float *du, float *db, const float *dgates, const float *h,
                  const float *x, const struct lstm_weights *w, const struct sequence *s)
{
    const size_t hidden = w->hidden;
    dense_backward(NULL, dw, db, dgates, x, w->w, s->tokens, w->inputs, 4 * hidden);
    for (size_t t = 1; t < s->steps; t++)
        matmul(du, dgates + s->starts[t] * 4 * hidden, true, h + s->starts[t - 1] * hidden, false,
               4 * hidden, hidden, s->active[t], 1);
}

void lstm_backward(float *dx, float *dw, float *du, float *db, float *dh, float *dc, float *gates,
                   const float *c, const float *h, const float *x, const struct lstm_weights *w,
                   const struct sequence *s)
{
    const size_t hidden = w->hidden;
    memset(dc, 0, s->rows * hidden * sizeof(*dc));
    for (size_t t = s->steps; t-- > 0;) {
        const size_t at = s->starts[t], before = t ? s->starts[t - 1] : 0;
        step_back(gates + at * 4 * hidden, dc, dh + at * hidden, c + at * hidden,
                  t ? c + before * hidden : NULL, s->active[t], hidden);
        if (t)
            matmul(dh + before * hidden, gates + at * 4 * hidden, false, w->u, false, s->active[t],
                   hidden, 4 * hidden, 1);
    }
    if (dw && s->tokens)
        weigh(dw, du, db, gates, h, x, w, s);
    matmul(dx, gates, false, w->w, false, s->tokens, w->inputs, 4 * hidden, 0);
}
