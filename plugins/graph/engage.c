/*
 * engage.c: convolutions and pooling to the engine, which lays their values out as it likes. A
 * value is in one layout; a step that wants another gets a reorder in front of it. Steps whose
 * elements hang on the elements in the same place alone (OP_FLAT) run in any layout that all of
 * theirs share.
 */
#include "plan.h"

/* The steps anew, with reorders between. */
struct list {
    struct step *steps;
    uint32_t count, room;
};

static maas_status too_many(maas_error *error)
{
    return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the engine's steps");
}

static bool same_layout(const struct engine_layout *a, const struct engine_layout *b)
{
    return a == b || (a && b && engine_layout_equal(a, b));
}

/* A step that brings *slot into the layout that is wanted; *slot becomes what it makes. */
static maas_status reorder(struct plan *p, struct list *l, struct slot **slot,
                           const struct engine_layout *want, const struct node *node,
                           maas_error *error)
{
    if (same_layout((*slot)->layout, want))
        return MAAS_OK;
    struct slot *made = plan_slot(p), **ends = arena_take(&p->arena, 2, sizeof(*ends));
    struct tensor **tensors = arena_take(&p->arena, 2, sizeof(*tensors));
    struct engine_step *step =
        engine_reorder_new(p->engine, &(*slot)->tensor.shape, (*slot)->layout, want);
    if (!made || !ends || !tensors || !step || l->count == l->room)
        return too_many(error);
    *made = (struct slot){ .tensor = { .type = T_F32, .shape = (*slot)->tensor.shape },
                           .layout = want };
    ends[0] = *slot;
    ends[1] = made;
    tensors[0] = &ends[0]->tensor;
    tensors[1] = &made->tensor;
    l->steps[l->count++] = (struct step){
        .op = operator_find("Identity", 8),
        .node = node,
        .engine = step,
        .in = ends,
        .out = ends + 1,
        .call = { .input_count = 1, .output_count = 1, .in = tensors, .out = tensors + 1 }
    };
    *slot = made;
    return MAAS_OK;
}

static struct engine_step *make_conv(struct plan *p, struct step *s,
                                     const struct engine_layout **in,
                                     const struct engine_layout **out)
{
    maas_error why = MAAS_ERROR_INIT;
    struct engine_conv c = { .images = s->call.in[0]->shape.dim[0],
                             .channels = s->call.in[0]->shape.dim[1],
                             .filters = s->call.in[1]->shape.dim[0],
                             .weights = s->call.in[1]->data,
                             .bias = call_has(&s->call, 2) ? s->call.in[2]->data : NULL,
                             .bf16 = p->options.bf16,
                             .relu = s->fusion.relu,
                             .clip = s->fusion.clip,
                             .least = s->fusion.least,
                             .most = s->fusion.most,
                             .addend = s->fusion.addend != NULL };
    for (uint32_t i = 1; i < s->call.input_count; i++)
        if (s->in[i] && !s->in[i]->constant)
            return NULL;
    if (conv_window(&s->call, &c.window, &c.groups, &why))
        return NULL;
    return engine_conv_new(p->engine, &c, in, out);
}

static struct engine_step *make_pool(struct plan *p, struct step *s,
                                     const struct engine_layout **out)
{
    struct window w;
    maas_error why = MAAS_ERROR_INIT;
    const struct shape *x = &s->call.in[0]->shape;
    const bool most = strcmp(s->op->name, "MaxPool") == 0,
               global = strcmp(s->op->name, "GlobalAveragePool") == 0;
    if (!s->in[0]->layout || (s->call.output_count > 1 && s->out[1]))
        return NULL;
    if (global)
        w = (struct window){ .dims = x->rank - 2 };
    for (uint32_t d = 0; global && d < WINDOW_DIMS; d++) {
        const uint32_t skip = WINDOW_DIMS - w.dims;
        w.in[d] = w.kernel[d] = d < skip ? 1 : x->dim[2 + d - skip];
        w.stride[d] = w.dilation[d] = w.out[d] = 1;
    }
    uint32_t dims = 0;
    const int64_t *kernel = call_ints(&s->call, "kernel_shape", &dims);
    if (!global && (!kernel || window_read(&s->call, kernel, dims, &w, &why)))
        return NULL;
    return engine_pool_new(p->engine, &w, x->dim[0], x->dim[1], most,
                           call_int(&s->call, "count_include_pad", 0) != 0, s->in[0]->layout, out);
}

static bool is_pool(const struct step *s)
{
    return strcmp(s->op->name, "MaxPool") == 0 || strcmp(s->op->name, "AveragePool") == 0 ||
           strcmp(s->op->name, "GlobalAveragePool") == 0;
}

/* All inputs lie alike, without padding, in float32, and have the output's shape. */
static const struct engine_layout *shared_layout(const struct step *s)
{
    const struct engine_layout *l = s->call.input_count ? s->in[0] ? s->in[0]->layout : NULL : NULL;
    if (!(s->op->flags & OP_FLAT) || !l || engine_layout_padded(l) || !engine_layout_is_f32(l))
        return NULL;
    for (uint32_t i = 0; i < s->call.input_count; i++)
        if (s->in[i] && (!same_layout(l, s->in[i]->layout) || s->in[i]->tensor.type != T_F32 ||
                         !shape_equal(&s->in[i]->tensor.shape, &s->in[0]->tensor.shape)))
            return NULL;
    for (uint32_t i = 0; i < s->call.output_count; i++)
        if (s->out[i] && (s->out[i]->kept || s->out[i]->tensor.type != T_F32))
            return NULL;
    return l;
}

static void relink(struct step *s)
{
    for (uint32_t i = 0; i < s->call.input_count; i++)
        s->call.in[i] = s->in[i] ? &s->in[i]->tensor : NULL;
    for (uint32_t i = 0; i < s->call.output_count; i++)
        s->call.out[i] = s->out[i] ? &s->out[i]->tensor : NULL;
}

/* A convolution that others went into, and that the engine refuses: the plan is made again without
 * fusing (plan_new). */
static maas_status refuse_fused(const struct step *s, maas_error *error)
{
    return s->fusion.relu || s->fusion.clip || s->fusion.addend
               ? maas_fail(error, MAAS_E_ABORTED, "the engine refuses a fused convolution")
               : MAAS_OK;
}

/* An output of the graph is always row-major: the engine's step makes a slot of its own before it.
 */
static maas_status finish_engine(struct plan *p, struct list *l, struct step *s,
                                 const struct engine_layout *out, maas_error *error)
{
    struct slot *final = s->out[0];
    if (!final->kept) {
        final->layout = out;
        relink(s);
        l->steps[l->count++] = *s;
        return MAAS_OK;
    }
    struct slot *between = plan_slot(p);
    if (!between)
        return too_many(error);
    *between =
        (struct slot){ .tensor = { .type = T_F32, .shape = final->tensor.shape }, .layout = out };
    s->out[0] = between;
    relink(s);
    l->steps[l->count++] = *s;
    maas_status status = reorder(p, l, &between, NULL, s->node, error);
    if (!status) {
        l->steps[l->count - 1].out[0] = final;
        l->steps[l->count - 1].call.out[0] = &final->tensor;
    }
    return status;
}

static maas_status plain_step(struct plan *p, struct list *l, struct step *s, maas_error *error)
{
    const struct engine_layout *shared = shared_layout(s);
    maas_status status = refuse_fused(s, error);
    for (uint32_t i = 0; !status && !shared && i < s->call.input_count; i++)
        if (s->in[i] && s->in[i]->layout)
            status = reorder(p, l, &s->in[i], NULL, s->node, error);
    for (uint32_t i = 0; shared && i < s->call.output_count; i++)
        if (s->out[i])
            s->out[i]->layout = shared;
    if (status || l->count == l->room)
        return status ? status : too_many(error);
    relink(s);
    l->steps[l->count++] = *s;
    return MAAS_OK;
}

static maas_status take_step(struct plan *p, struct list *l, struct step *s, maas_error *error)
{
    const struct engine_layout *in = NULL, *out = NULL;
    maas_status status = MAAS_OK;
    if (l->room - l->count < 8)
        return too_many(error);
    if (strcmp(s->op->name, "Conv") == 0 && s->in[0]->tensor.type == T_F32 && !s->in[0]->constant)
        s->engine = make_conv(p, s, &in, &out);
    else if (is_pool(s) && s->in[0]->tensor.type == T_F32 && (s->engine = make_pool(p, s, &out)))
        in = s->in[0]->layout;
    if (!s->engine)
        return plain_step(p, l, s, error);
    status = reorder(p, l, &s->in[0], in, s->node, error);
    if (!status && s->fusion.addend)
        status = reorder(p, l, &s->fusion.addend, out, s->node, error);
    return status ? status : finish_engine(p, l, s, out, error);
}

maas_status plan_engage(struct plan *p, maas_error *error)
{
    struct list l = { .room = p->step_room };
    maas_status status = MAAS_OK;
    if (!p->engine)
        return MAAS_OK;
    l.steps = arena_take(&p->arena, l.room, sizeof(*l.steps));
    if (!l.steps)
        return too_many(error);
    for (uint32_t i = 0; !status && i < p->step_count; i++)
        if (!p->steps[i].gone)
            status = take_step(p, &l, &p->steps[i], error);
    p->steps = l.steps;
    p->step_count = l.count;
    return status;
}
