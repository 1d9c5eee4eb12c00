/*
 * optim.h: how weights follow their gradients: SGD, momentum, Adam. A state is the caller's memory,
 * zero at first. Pure functions, outputs first. [any]
 */
#ifndef KERNELS_OPTIM_H
#define KERNELS_OPTIM_H

#include <stddef.h>
#include <stdint.h>

/* w -= rate (g + decay w). Each `count` values. */
void optim_sgd(float *w, const float *g, float rate, float decay, size_t count);
/* v = beta v + g + decay w; w -= rate v (Polyak 1964, in the form of Sutskever et al. 2013 that
 * most tools use). */
void optim_momentum(float *w, float *v, const float *g, float rate, float beta, float decay,
                    size_t count);
/* Kingma and Ba 2014, algorithm 1, beta 0.9 and 0.999, epsilon 1e-8; the decay is decoupled
 * (Loshchilov and Hutter 2019): w -= rate (m' / (sqrt(v') + epsilon) + decay w). m, v: moments;
 * step: from 1. */
void optim_adam(float *w, float *m, float *v, const float *g, float rate, float decay,
                uint64_t step, size_t count);
/* g *= most / norm where its Euclidean norm is larger than `most`; the norm is returned. */
double optim_clip(float *g, float most, size_t count);

#endif
