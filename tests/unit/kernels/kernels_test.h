/* kernels_test.h: vectors of drawn numbers. */
#ifndef KERNELS_TEST_H
#define KERNELS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/dice.h"

static struct dice dice = { 11 };

/* Uniform in (-1, 1). */
static inline float drawn(void)
{
    return (float)((double)(dice_roll(&dice) >> 11) * 0x1p-52 - 1);
}

static inline float *vector(size_t count)
{
    float *v = malloc((count + 1) * sizeof(*v));
    assert_non_null(v);
    for (size_t i = 0; i < count; i++)
        v[i] = drawn();
    return v;
}

#endif
