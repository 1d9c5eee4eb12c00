/*
 * engine.h: oneDNN behind the few words a plan needs. Only dnnl.c sees its header. A step takes its
 * memory by pointers at each run; primitives and weights in their layouts are made once, as the
 * worker's sandbox forbids new machine code later. [one thread per engine]
 */
#ifndef GRAPH_ENGINE_H
#define GRAPH_ENGINE_H

#include <maas/author.h>

#include <stdbool.h>

#include "ops/window.h"

struct engine;
struct engine_layout; /* how a tensor lies in memory; lives as long as the engine */
struct engine_step;

/* NULL: there is none here. */
struct engine *engine_new(void);
void engine_free(struct engine *e); /* accepts NULL; steps and layouts, too */

size_t engine_layout_bytes(const struct engine_layout *l);
bool engine_layout_padded(const struct engine_layout *l); /* holds more than the elements */
bool engine_layout_equal(const struct engine_layout *a, const struct engine_layout *b);
bool engine_layout_is_f32(const struct engine_layout *l);

struct engine_conv {
    struct window window;
    int64_t images, channels, filters, groups;
    const float *weights, *bias; /* bias may be NULL */
    bool bf16, relu, clip, addend;
    float least, most;
};
/* Each returns NULL when the engine cannot; then the plain kernel runs. Layouts that the step wants
 * for its input (and addend, as its output) and gives to its output. */
struct engine_step *engine_conv_new(struct engine *e, const struct engine_conv *c,
                                    const struct engine_layout **in,
                                    const struct engine_layout **out);
struct engine_step *engine_pool_new(struct engine *e, const struct window *w, int64_t images,
                                    int64_t channels, bool most, bool count_pads,
                                    const struct engine_layout *in,
                                    const struct engine_layout **out);
/* From one layout to another; NULL stands for row-major float32 of that shape. */
struct engine_step *engine_reorder_new(struct engine *e, const struct shape *shape,
                                       const struct engine_layout *from,
                                       const struct engine_layout *to);
size_t engine_step_space(const struct engine_step *s);
/* False: it failed. addend: what the output is added to, in the output's layout; it costs nothing
 * where it stands in the output's memory. NULL: none. */
bool engine_step_run(struct engine *e, struct engine_step *s, void *out, const void *in,
                     const void *addend, void *space);

#endif
