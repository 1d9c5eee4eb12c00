/* dice.h: numbers that look random and are the same in every run (splitmix64). Header only. */
#ifndef MAAS_TESTS_DICE_H
#define MAAS_TESTS_DICE_H

#include <stdint.h>

struct dice {
    uint64_t seed;
};

static inline uint64_t dice_roll(struct dice *d)
{
    uint64_t z = d->seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
