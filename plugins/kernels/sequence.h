/*
 * sequence.h: sequences of different lengths, packed: rows stand sorted by falling length, step t
 * holds one token of each row that is longer than t, in the rows' order, and the steps stand one
 * behind the other. So no place is wasted on the short ones, and the rows that go on are always the
 * first of the step before. [any]
 */
#ifndef KERNELS_SEQUENCE_H
#define KERNELS_SEQUENCE_H

#include <stddef.h>
#include <stdint.h>

struct sequence {
    size_t rows, steps, tokens; /* steps: of the longest; tokens: of all */
    const uint32_t *lengths;    /* rows: tokens of each, falling */
    const uint32_t *active;     /* steps: rows that are so long */
    const uint32_t *starts;     /* steps: their first token; row r's is starts[t] + r */
};

/* memory [2 lengths[0]] and lengths [rows] are borrowed as long as the result is used. */
struct sequence sequence_of(uint32_t *memory, const uint32_t *lengths, size_t rows);
/* mirror [tokens]: where each token goes when every row is read from its end. It is its own
 * inverse. */
void sequence_mirror(uint32_t *mirror, const struct sequence *s);

/* y [rows, 2 width]: of each row the largest of its tokens x [tokens, width], and their mean; zeros
 * where a row has none. from [rows, width]: the token of each maximum, the first of equals; may be
 * NULL. Rows of y are `stride` apart. */
void sequence_pool(float *y, uint32_t *from, const float *x, const struct sequence *s, size_t width,
                   size_t stride);
/* dx [tokens, width] is set. */
void sequence_pool_backward(float *dx, const float *dy, const uint32_t *from,
                            const struct sequence *s, size_t width, size_t stride);

#endif
