/*
 * plan.h: a plan's parts, for the passes that make it, in their order:
 *   infer.c   shapes; nodes whose inputs are all constant are run at once (folding)
 *   fuse.c    normalisation into a convolution's weights; sums and activations behind it
 *   engine.c  convolutions and pooling by oneDNN in its own layouts, with reorders where needed
 *   layout.c  one block of memory for all that lives between
 */
#ifndef GRAPH_PLAN_H
#define GRAPH_PLAN_H

#include "engine.h"
#include "model.h"
#include "ops/conv.h"

/* A tensor of the plan. Its memory is constant (the graph's or the plan's own), or a place in the
 * block, or that of another slot (a view). */
struct slot {
    struct tensor tensor;
    bool constant, kept; /* kept: an input or output of the graph: never overwritten */
    struct slot *same;   /* whose memory it is; NULL: its own */
    const struct engine_layout *layout; /* NULL: row-major */
    size_t bytes;                       /* of its memory, when the layout pads */
    uint32_t first, last;               /* steps that write and read it */
    size_t at;                          /* in the block */
};

struct step {
    const struct operator* op;
    const struct node *node;    /* for errors; of several that were fused the first */
    struct call call;           /* in and out point at slots' tensors */
    struct slot **in, **out;    /* the same, NULL likewise */
    struct engine_step *engine; /* runs instead of op, or NULL */
    struct fusion {
        bool relu, clip;
        float least, most;
        struct slot *addend; /* same shape as the output */
    } fusion;
    bool gone; /* fused into another, or nobody wants what it makes */
};

struct plan {
    struct arena arena; /* steps, slots, constants */
    const struct graph *graph;
    struct plan_options options;
    struct slot *slots; /* of the graph's values */
    struct step *steps;
    uint32_t step_count, step_room, folded, fused;
    uint8_t *block;
    size_t block_bytes, space_bytes; /* work space stands at its end */
    uint64_t constant_bytes;
    struct engine *engine; /* NULL: plain */
};

/* A slot beside the graph's, of the arena; NULL: no memory. */
struct slot *plan_slot(struct plan *p);
/* Memory for a constant slot; NULL: no memory. */
void *plan_constant(struct plan *p, struct slot *s);
maas_status plan_step_error(const struct step *s, maas_status status, const maas_error *why,
                            maas_error *error);

maas_status plan_infer(struct plan *p, const struct tensor *inputs, maas_error *error);
maas_status plan_fuse(struct plan *p, maas_error *error);
maas_status plan_engage(struct plan *p, maas_error *error);
maas_status plan_lay_out(struct plan *p, maas_error *error);

#endif
