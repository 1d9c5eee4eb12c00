/*
 * dnnl.c: oneDNN's primitives as an engine's steps. Everything is made at planning time: a
 * primitive with work space given by the caller, weights in the layout that it wants, memory
 * objects whose handles alone change from run to run.
 */
#include "engine.h"

#include <dnnl.h>
#include <stdlib.h>

enum { ARGUMENTS = 6 };

struct engine_layout {
    struct engine_layout *next;
    dnnl_memory_desc_t desc;
};

struct engine_step {
    struct engine_step *next;
    dnnl_primitive_t primitive;
    dnnl_memory_t in, out, space, weights, bias;
    void *weights_at, *bias_at;
    size_t space_bytes, out_bytes;
    dnnl_exec_arg_t arguments[ARGUMENTS];
    int count;
};

struct engine {
    dnnl_engine_t cpu;
    dnnl_stream_t stream;
    struct engine_layout *layouts;
    struct engine_step *steps;
};

struct engine *engine_new(void)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (e && dnnl_engine_create(&e->cpu, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&e->stream, e->cpu, dnnl_stream_default_flags) == dnnl_success)
        return e;
    engine_free(e);
    return NULL;
}

static void step_free(struct engine_step *s)
{
    const dnnl_memory_t all[] = { s->in, s->out, s->space, s->weights, s->bias };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i])
            dnnl_memory_destroy(all[i]);
    if (s->primitive)
        dnnl_primitive_destroy(s->primitive);
    free(s->weights_at);
    free(s->bias_at);
    free(s);
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    for (struct engine_step *s = e->steps, *next; s; s = next) {
        next = s->next;
        step_free(s);
    }
    for (struct engine_layout *l = e->layouts, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    if (e->stream)
        dnnl_stream_destroy(e->stream);
    if (e->cpu)
        dnnl_engine_destroy(e->cpu);
    free(e);
}

/* ---- layouts */

static const struct engine_layout *layout_of(struct engine *e, const dnnl_memory_desc_t *desc)
{
    for (struct engine_layout *l = e->layouts; l; l = l->next)
        if (dnnl_memory_desc_equal(&l->desc, desc))
            return l;
    struct engine_layout *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->desc = *desc;
    l->next = e->layouts;
    return e->layouts = l;
}

size_t engine_layout_bytes(const struct engine_layout *l)
{
    return dnnl_memory_desc_get_size(&l->desc);
}

bool engine_layout_padded(const struct engine_layout *l)
{
    size_t count = dnnl_data_type_size(l->desc.data_type);
    for (int i = 0; i < l->desc.ndims; i++)
        count *= (size_t)l->desc.dims[i];
    return count != engine_layout_bytes(l);
}

bool engine_layout_equal(const struct engine_layout *a, const struct engine_layout *b)
{
    return dnnl_memory_desc_equal(&a->desc, &b->desc);
}

bool engine_layout_is_f32(const struct engine_layout *l)
{
    return l->desc.data_type == dnnl_f32;
}

static dnnl_format_tag_t row_major(int rank)
{
    static const dnnl_format_tag_t tags[] = { 0,         dnnl_a,     dnnl_ab,    dnnl_abc,
                                              dnnl_abcd, dnnl_abcde, dnnl_abcdef };
    return tags[rank];
}

static bool describe(dnnl_memory_desc_t *out, int rank, const int64_t *dims, dnnl_data_type_t type,
                     dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(out, rank, dims, type, tag) == dnnl_success;
}

/* ---- steps */

static void argue(struct engine_step *s, int what, dnnl_memory_t memory)
{
    s->arguments[s->count++] = (dnnl_exec_arg_t){ what, memory };
}

static bool add_memory(struct engine *e, struct engine_step *s, int what,
                       const dnnl_memory_desc_t *desc, void *at, dnnl_memory_t *out)
{
    if (dnnl_memory_create(out, desc, e->cpu, at) != dnnl_success)
        return false;
    argue(s, what, *out);
    return true;
}

static const dnnl_memory_desc_t *asked(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

/* The step's primitive, its work space, and input and output, which get their handles at each run.
 */
static bool step_init(struct engine *e, struct engine_step *s, const_dnnl_primitive_desc_t pd,
                      int in, int out, const dnnl_memory_desc_t *in_desc,
                      const dnnl_memory_desc_t *out_desc)
{
    const dnnl_memory_desc_t *space = asked(pd, dnnl_query_scratchpad_md);
    s->out_bytes = dnnl_memory_desc_get_size(out_desc);
    s->space_bytes = space ? dnnl_memory_desc_get_size(space) : 0;
    return dnnl_primitive_create(&s->primitive, pd) == dnnl_success &&
           add_memory(e, s, in, in_desc, DNNL_MEMORY_NONE, &s->in) &&
           add_memory(e, s, out, out_desc, DNNL_MEMORY_NONE, &s->out) &&
           (!s->space_bytes ||
            add_memory(e, s, DNNL_ARG_SCRATCHPAD, space, DNNL_MEMORY_NONE, &s->space));
}

static struct engine_step *keep(struct engine *e, struct engine_step *s, bool good)
{
    if (!good) {
        step_free(s);
        return NULL;
    }
    s->next = e->steps;
    return e->steps = s;
}

static dnnl_primitive_attr_t attributes_new(void)
{
    dnnl_primitive_attr_t a = NULL;
    if (dnnl_primitive_attr_create(&a) != dnnl_success)
        return NULL;
    if (dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user) == dnnl_success)
        return a;
    dnnl_primitive_attr_destroy(a);
    return NULL;
}

size_t engine_step_space(const struct engine_step *s)
{
    return s->space_bytes;
}

bool engine_step_run(struct engine *e, struct engine_step *s, void *out, const void *in,
                     const void *addend, void *space)
{
    union { /* the library takes all memory without const */
        const void *given;
        void *taken;
    } from = { in };
    if (addend && addend != out)
        memcpy(out, addend, s->out_bytes);
    return dnnl_memory_set_data_handle(s->in, from.taken) == dnnl_success &&
           dnnl_memory_set_data_handle(s->out, out) == dnnl_success &&
           (!s->space || dnnl_memory_set_data_handle(s->space, space) == dnnl_success) &&
           dnnl_primitive_execute(s->primitive, e->stream, s->count, s->arguments) ==
               dnnl_success &&
           dnnl_stream_wait(e->stream) == dnnl_success;
}

/* ---- reorders */

static struct engine_step *reorder_between(struct engine *e, const dnnl_memory_desc_t *from,
                                           const dnnl_memory_desc_t *to)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t a = attributes_new();
    struct engine_step *s = calloc(1, sizeof(*s));
    const bool good =
        a && s &&
        dnnl_reorder_primitive_desc_create(&pd, from, e->cpu, to, e->cpu, a) == dnnl_success &&
        step_init(e, s, pd, DNNL_ARG_FROM, DNNL_ARG_TO, from, to);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (a)
        dnnl_primitive_attr_destroy(a);
    return s ? keep(e, s, good) : NULL;
}

struct engine_step *engine_reorder_new(struct engine *e, const struct shape *shape,
                                       const struct engine_layout *from,
                                       const struct engine_layout *to)
{
    dnnl_memory_desc_t plain;
    dnnl_dims_t dims = { 0 };
    for (uint32_t i = 0; i < shape->rank; i++)
        dims[i] = shape->dim[i];
    if (shape->rank < 1 || shape->rank > 6 ||
        !describe(&plain, (int)shape->rank, dims, dnnl_f32, row_major((int)shape->rank)))
        return NULL;
    return reorder_between(e, from ? &from->desc : &plain, to ? &to->desc : &plain);
}

/* Weights into the layout that the primitive wants, once. */
static bool place_weights(struct engine *e, struct engine_step *s, int what,
                          const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                          const float *data, void **at, dnnl_memory_t *memory)
{
    const size_t bytes = (dnnl_memory_desc_get_size(to) + 63) / 64 * 64;
    struct engine_step *move = reorder_between(e, from, to);
    *at = aligned_alloc(64, bytes ? bytes : 64);
    void *space =
        move && move->space_bytes ? aligned_alloc(64, (move->space_bytes + 63) / 64 * 64) : NULL;
    const bool good = move && *at && (!move->space_bytes || space) &&
                      engine_step_run(e, move, *at, data, NULL, space) &&
                      add_memory(e, s, what, to, *at, memory);
    free(space);
    return good;
}

/* ---- convolutions */

struct conv_descs {
    dnnl_memory_desc_t in, weights, bias, out, given_weights, given_bias;
    dnnl_dims_t strides, dilations, before, after;
};

static bool describe_conv(struct conv_descs *d, const struct engine_conv *c)
{
    const struct window *w = &c->window;
    const uint32_t skip = WINDOW_DIMS - w->dims;
    const int rank = (int)w->dims + 2, grouped = c->groups > 1;
    dnnl_dims_t in = { c->images, c->channels }, out = { c->images, c->filters }, weights,
                bias = { c->filters };
    if (grouped)
        weights[0] = c->groups;
    weights[grouped] = c->filters / c->groups;
    weights[grouped + 1] = c->channels / c->groups;
    for (uint32_t i = 0; i < w->dims; i++) {
        in[2 + i] = w->in[skip + i];
        out[2 + i] = w->out[skip + i];
        weights[grouped + 2 + (int)i] = w->kernel[skip + i];
        d->strides[i] = w->stride[skip + i];
        d->dilations[i] = w->dilation[skip + i] - 1;
        d->before[i] = w->before[skip + i];
        d->after[i] = w->after[skip + i];
    }
    const dnnl_data_type_t type = c->bf16 ? dnnl_bf16 : dnnl_f32;
    return describe(&d->in, rank, in, type, dnnl_format_tag_any) &&
           describe(&d->out, rank, out, type, dnnl_format_tag_any) &&
           describe(&d->weights, rank + grouped, weights, type, dnnl_format_tag_any) &&
           describe(&d->given_weights, rank + grouped, weights, dnnl_f32,
                    row_major(rank + grouped)) &&
           describe(&d->bias, 1, bias, dnnl_f32, dnnl_a) &&
           describe(&d->given_bias, 1, bias, dnnl_f32, dnnl_a);
}

static bool post_conv(dnnl_primitive_attr_t a, const struct engine_conv *c)
{
    dnnl_post_ops_t ops = NULL;
    bool good = dnnl_post_ops_create(&ops) == dnnl_success;
    if (good && c->addend)
        good = dnnl_post_ops_append_sum(ops, 1) == dnnl_success; /* to what stands in the output */
    if (good && c->relu)
        good = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0) == dnnl_success;
    if (good && c->clip)
        good = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_clip, c->least, c->most) ==
               dnnl_success;
    good = good && dnnl_primitive_attr_set_post_ops(a, ops) == dnnl_success;
    if (ops)
        dnnl_post_ops_destroy(ops);
    return good;
}

static dnnl_primitive_desc_t conv_desc(struct engine *e, const struct engine_conv *c,
                                       const struct conv_descs *d)
{
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t a = attributes_new();
    if (a && post_conv(a, c) &&
        dnnl_dilated_convolution_forward_desc_init(
            &op, dnnl_forward_inference, dnnl_convolution_direct, &d->in, &d->weights,
            c->bias ? &d->bias : NULL, &d->out, d->strides, d->dilations, d->before,
            d->after) == dnnl_success &&
        dnnl_primitive_desc_create(&pd, &op, a, e->cpu, NULL) != dnnl_success)
        pd = NULL;
    if (a)
        dnnl_primitive_attr_destroy(a);
    return pd;
}

static bool finish_conv(struct engine *e, struct engine_step *s, const_dnnl_primitive_desc_t pd,
                        const struct engine_conv *c, const struct conv_descs *d)
{
    const dnnl_memory_desc_t *out = asked(pd, dnnl_query_dst_md);
    return step_init(e, s, pd, DNNL_ARG_SRC, DNNL_ARG_DST, asked(pd, dnnl_query_src_md), out) &&
           place_weights(e, s, DNNL_ARG_WEIGHTS, &d->given_weights,
                         asked(pd, dnnl_query_weights_md), c->weights, &s->weights_at,
                         &s->weights) &&
           (!c->bias || place_weights(e, s, DNNL_ARG_BIAS, &d->given_bias, &d->bias, c->bias,
                                      &s->bias_at, &s->bias));
}

struct engine_step *engine_conv_new(struct engine *e, const struct engine_conv *c,
                                    const struct engine_layout **in,
                                    const struct engine_layout **out)
{
    struct conv_descs d;
    if (!c->images || !describe_conv(&d, c))
        return NULL;
    dnnl_primitive_desc_t pd = conv_desc(e, c, &d);
    struct engine_step *s = pd ? calloc(1, sizeof(*s)) : NULL;
    if (s)
        s = keep(e, s, finish_conv(e, s, pd, c, &d));
    if (s) {
        *in = layout_of(e, asked(pd, dnnl_query_src_md));
        *out = layout_of(e, asked(pd, dnnl_query_dst_md));
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return s && *in && *out ? s : NULL;
}

/* ---- pooling */

struct engine_step *engine_pool_new(struct engine *e, const struct window *w, int64_t images,
                                    int64_t channels, bool most, bool count_pads,
                                    const struct engine_layout *in,
                                    const struct engine_layout **out)
{
    const uint32_t skip = WINDOW_DIMS - w->dims;
    dnnl_dims_t dims = { images, channels }, stride, kernel, dilation, before, after;
    for (uint32_t i = 0; i < w->dims; i++) {
        const uint32_t d = skip + i;
        dims[2 + i] = w->out[d];
        stride[i] = w->stride[d];
        kernel[i] = w->kernel[d];
        dilation[i] = w->dilation[d] - 1;
        before[i] = w->before[d];
        /* what the last window needs, which ceil_mode makes more than there is */
        after[i] = (w->out[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1 -
                   w->in[d] - w->before[d];
        if (after[i] < 0)
            after[i] = 0;
        if (after[i] > w->after[d] && count_pads)
            return NULL;
    }
    dnnl_memory_desc_t made;
    dnnl_pooling_v2_desc_t op;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t a = attributes_new();
    const dnnl_alg_kind_t kind = most         ? dnnl_pooling_max
                                 : count_pads ? dnnl_pooling_avg_include_padding
                                              : dnnl_pooling_avg_exclude_padding;
    struct engine_step *s = NULL;
    if (a && describe(&made, (int)w->dims + 2, dims, in->desc.data_type, dnnl_format_tag_any) &&
        dnnl_pooling_v2_forward_desc_init(&op, dnnl_forward_inference, kind, &in->desc, &made,
                                          stride, kernel, dilation, before,
                                          after) == dnnl_success &&
        dnnl_primitive_desc_create(&pd, &op, a, e->cpu, NULL) == dnnl_success)
        s = calloc(1, sizeof(*s));
    if (s)
        s = keep(e, s,
                 step_init(e, s, pd, DNNL_ARG_SRC, DNNL_ARG_DST, &in->desc,
                           asked(pd, dnnl_query_dst_md)));
    if (s)
        *out = layout_of(e, asked(pd, dnnl_query_dst_md));
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (a)
        dnnl_primitive_attr_destroy(a);
    return s && *out ? s : NULL;
}
