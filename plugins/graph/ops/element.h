/*
 * element.h: one element of any type, written; for kernels that are not worth a loop a type. [any]
 */
#ifndef OPS_ELEMENT_H
#define OPS_ELEMENT_H

#include "../tensor.h"

/* Rounds to the type; integers: towards zero, to the nearest that there is; NaN is 0. */
void element_put_real(const struct tensor *t, size_t at, double value);
/* Integers: the low bits; floats: to nearest. */
void element_put_integer(const struct tensor *t, size_t at, int64_t value);
/* Copies `count` elements of `size` bytes, each `step` elements further in `from`. */
void element_copy(void *to, const void *from, size_t count, size_t step, size_t size);

#endif
