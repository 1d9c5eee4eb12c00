/*
 * optim.c: one pass over the weights each.
 */
#include "optim.h"

#include <math.h>

void optim_sgd(float *w, const float *g, float rate, float decay, size_t count)
{
    for (size_t i = 0; i < count; i++)
        w[i] -= rate * (g[i] + decay * w[i]);
}

void optim_momentum(float *w, float *v, const float *g, float rate, float beta, float decay,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        v[i] = beta * v[i] + g[i] + decay * w[i];
        w[i] -= rate * v[i];
    }
}

void optim_adam(float *w, float *m, float *v, const float *g, float rate, float decay,
                uint64_t step, size_t count)
{
    const float first = 0.9f, second = 0.999f;
    const float correct_m = (float)(1 / (1 - pow(0.9, (double)step))),
                correct_v = (float)(1 / (1 - pow(0.999, (double)step)));
    for (size_t i = 0; i < count; i++) {
        m[i] = first * m[i] + (1 - first) * g[i];
        v[i] = second * v[i] + (1 - second) * g[i] * g[i];
        w[i] -= rate * (m[i] * correct_m / (sqrtf(v[i] * correct_v) + 1e-8f) + decay * w[i]);
    }
}

double optim_clip(float *g, float most, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)g[i] * g[i];
    const double norm = sqrt(squares);
    for (size_t i = 0; norm > most && i < count; i++)
        g[i] = (float)(g[i] * (most / norm));
    return norm;
}
