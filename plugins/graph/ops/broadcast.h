/*
 * broadcast.h: elements of up to three tensors that stand opposite each other when extents of 1 are
 * repeated (numpy's rule), as runs along the last dimension. Pure. [any]
 */
#ifndef OPS_BROADCAST_H
#define OPS_BROADCAST_H

#include "../operator.h"

enum { BROADCAST_MAX = 3 };

struct broadcast {
    struct shape shape; /* of the output, neighbouring dimensions joined where all allow it; rank 1
                           at least */
    size_t step[BROADCAST_MAX][RANK_MAX]; /* elements from one place to the next, 0: repeated */
    uint32_t count;                       /* inputs */
    size_t run, runs;                     /* elements of a run; runs */
};

/* The inputs' shapes broadcast to `out`, which shape_broadcast gave. */
void broadcast_init(struct broadcast *b, const struct shape *out, const struct tensor *const *in,
                    uint32_t count);
/* Where run `i` begins in each input, in elements. */
void broadcast_run(const struct broadcast *b, size_t i, size_t at[BROADCAST_MAX]);
/* Shape rule: outputs 0 of type `type` with the shapes of inputs [from, to) broadcast. */
maas_status broadcast_shape(struct call *c, uint32_t from, uint32_t to, int32_t type,
                            maas_error *error);

#endif
