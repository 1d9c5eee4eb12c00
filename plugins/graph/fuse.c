/*
 * fuse.c: what follows a convolution goes into it: a normalisation into weights and bias, a sum and
 * an activation into what is done with each output while it is in a register. The graph's order is
 * kept: a step that takes over the output of a later one stands before everybody who reads it.
 */
#include <math.h>
#include <stdlib.h>

#include "plan.h"

/* Who reads each slot. */
struct reader_of {
    struct step *step; /* the only one, when count is 1 */
    uint32_t count;
};

static bool is(const struct step *s, const char *name)
{
    return strcmp(s->op->name, name) == 0;
}

static uint32_t readers(struct plan *p, const struct slot *slot, struct step **only)
{
    uint32_t count = slot->kept ? 2 : 0; /* the graph reads it, too */
    for (uint32_t i = 0; i < p->step_count && count < 2; i++)
        for (uint32_t k = 0; !p->steps[i].gone && k < p->steps[i].call.input_count; k++)
            if (p->steps[i].in[k] == slot) {
                *only = &p->steps[i];
                count++;
            }
    return count;
}

/* The only step that reads what `s` makes; NULL: there are others. */
static struct step *follower(struct plan *p, struct step *s)
{
    struct step *only = NULL;
    return readers(p, s->out[0], &only) == 1 ? only : NULL;
}

static void take_over(struct plan *p, struct step *s, struct step *next)
{
    s->out[0] = next->out[0];
    s->call.out[0] = next->call.out[0];
    next->gone = true;
    p->fused++;
}

/* ---- normalisation: y = (x - mean) gain / sqrt(variance + epsilon) + shift, channel by channel */

static bool all_constant(const struct step *s, uint32_t from)
{
    for (uint32_t i = from; i < s->call.input_count; i++)
        if (!s->in[i] || !s->in[i]->constant || s->in[i]->tensor.type != T_F32)
            return false;
    return true;
}

static maas_status fold_normalisation(struct plan *p, struct step *conv, struct step *norm,
                                      maas_error *error)
{
    struct slot *weights = plan_slot(p), *bias = plan_slot(p);
    struct tensor *const *in = norm->call.in;
    if (!weights || !bias)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to fuse");
    weights->tensor = (struct tensor){ .type = T_F32, .shape = conv->in[1]->tensor.shape };
    bias->tensor =
        (struct tensor){ .type = T_F32, .shape = { 1, { weights->tensor.shape.dim[0] } } };
    float *w = plan_constant(p, weights), *b = plan_constant(p, bias);
    if (!w || !b)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to fuse");
    const size_t filters = (size_t)weights->tensor.shape.dim[0],
                 taps = tensor_count(&weights->tensor) / filters;
    const float *was = conv->in[1]->tensor.data;
    const float *old = call_has(&conv->call, 2) ? conv->in[2]->tensor.data : NULL;
    const double epsilon = (double)call_float(&norm->call, "epsilon", 1e-5f);
    for (size_t f = 0; f < filters; f++) {
        const double gain = tensor_real(in[1], f) / sqrt(tensor_real(in[4], f) + epsilon);
        for (size_t t = 0; t < taps; t++)
            w[f * taps + t] = (float)((double)was[f * taps + t] * gain);
        b[f] = (float)(((old ? (double)old[f] : 0) - tensor_real(in[3], f)) * gain +
                       tensor_real(in[2], f));
    }
    struct slot **ins = arena_take(&p->arena, 3, sizeof(*ins));
    struct tensor **tensors = arena_take(&p->arena, 3, sizeof(*tensors));
    if (!ins || !tensors)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to fuse");
    ins[0] = conv->in[0];
    ins[1] = weights;
    ins[2] = bias;
    for (uint32_t i = 0; i < 3; i++)
        tensors[i] = &ins[i]->tensor;
    conv->in = ins;
    conv->call.in = tensors;
    conv->call.input_count = 3;
    take_over(p, conv, norm);
    return MAAS_OK;
}

static bool is_normalisation(const struct step *s, const struct step *conv)
{
    if (!is(s, "BatchNormalization") || s->in[0] != conv->out[0] || s->call.input_count != 5 ||
        !all_constant(s, 1) || call_int(&s->call, "training_mode", 0))
        return false;
    for (uint32_t i = 1; i < 5; i++)
        if (tensor_count(&s->in[i]->tensor) != (size_t)conv->in[1]->tensor.shape.dim[0])
            return false;
    return true;
}

/* ---- sums and activations: only an engine does them */

static bool bound(const struct step *s, uint32_t input, const char *name, float fallback,
                  float *out)
{
    *out = call_float(&s->call, name, fallback);
    if (!call_has(&s->call, input))
        return true;
    if (!s->in[input]->constant || s->in[input]->tensor.type != T_F32 ||
        tensor_count(&s->in[input]->tensor) != 1)
        return false;
    *out = *(const float *)s->in[input]->tensor.data;
    return true;
}

static bool take_activation(struct plan *p, struct step *conv, struct step *next)
{
    float least = -HUGE_VALF, most = HUGE_VALF;
    if (is(next, "Relu")) {
        conv->fusion.relu = true;
    } else if (is(next, "Clip") && next->in[0] == conv->out[0] &&
               bound(next, 1, "min", least, &least) && bound(next, 2, "max", most, &most) &&
               least < most) {
        conv->fusion.clip = true;
        conv->fusion.least = least;
        conv->fusion.most = most;
    } else {
        return false;
    }
    take_over(p, conv, next);
    return true;
}

/* Was it made before `s` runs? */
static bool is_there(struct plan *p, const struct slot *slot, const struct step *s)
{
    if (slot->constant)
        return false; /* in no layout of the engine's */
    for (struct step *i = p->steps; i < s; i++)
        for (uint32_t k = 0; !i->gone && k < i->call.output_count; k++)
            if (i->out[k] == slot)
                return true;
    return false;
}

static bool take_addend(struct plan *p, struct step *conv, struct step *next)
{
    if (!is(next, "Add") || !next->in[0] || !next->in[1] || next->in[0] == next->in[1])
        return false;
    struct slot *other = next->in[next->in[0] == conv->out[0]];
    if (!shape_equal(&other->tensor.shape, &conv->out[0]->tensor.shape) ||
        !is_there(p, other, conv))
        return false;
    conv->fusion.addend = other;
    take_over(p, conv, next);
    return true;
}

static maas_status fuse_one(struct plan *p, struct step *conv, maas_error *error)
{
    struct step *next = follower(p, conv);
    maas_status status = MAAS_OK;
    if (next && all_constant(conv, 1) && is_normalisation(next, conv)) {
        status = fold_normalisation(p, conv, next, error);
        next = status ? NULL : follower(p, conv);
    }
    if (!p->engine || !all_constant(conv, 1))
        return status;
    if (next && take_addend(p, conv, next))
        next = follower(p, conv);
    if (next)
        take_activation(p, conv, next);
    return status;
}

maas_status plan_fuse(struct plan *p, maas_error *error)
{
    maas_status status = MAAS_OK;
    p->engine = engine_new();
    for (uint32_t i = 0; !status && i < p->step_count; i++)
        if (!p->steps[i].gone && is(&p->steps[i], "Conv") &&
            p->steps[i].in[0]->tensor.type == T_F32)
            status = fuse_one(p, &p->steps[i], error);
    return status;
}
