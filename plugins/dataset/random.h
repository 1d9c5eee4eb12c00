/*
 * random.h: a random sequence that is the same on every machine: what a seed means in training.
 *
 * splitmix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
 */
#ifndef DATASET_RANDOM_H
#define DATASET_RANDOM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* The next 64 bits; *state is the seed at first. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1), 53 bits. */
static inline double random_real(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* Below `bound`, without the bias of a remainder (Lemire's multiplication). bound > 0 */
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
    for (;;) {
        unsigned __int128 product = (unsigned __int128)random_next(state) * bound;
        if ((uint64_t)product >= -bound % bound)
            return (uint64_t)(product >> 64);
    }
}

/* Standard normal, by Box and Muller; one of the pair is given up so that there is no state. */
static inline double random_normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(1 - random_real(state)));
    return radius * cos(6.283185307179586 * random_real(state));
}

/* Fisher and Yates. */
static inline void random_shuffle(uint64_t *state, uint32_t *order, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)random_below(state, i);
        uint32_t held = order[i - 1];
        order[i - 1] = order[j];
        order[j] = held;
    }
}

#endif
