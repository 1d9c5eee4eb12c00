/*
 * infer.c: the shape of every value, for given inputs; what hangs on constants alone is computed
 * here, once. What is left becomes the plan's steps.
 */
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

static maas_status no_memory(maas_error *error)
{
    return maas_fail(error, MAAS_E_EXHAUSTED, "the plan needs more memory than it may have");
}

maas_status plan_step_error(const struct step *s, maas_status status, const maas_error *why,
                            maas_error *error)
{
    return maas_fail(error, status, "node '%.80s' (%.60s): %s", s->node->name, s->node->op_name,
                     why->text);
}

/* ---- inputs */

static maas_status check_input(const struct graph_port *want, const struct tensor *got,
                               maas_error *error)
{
    char expected[100], given[100];
    bool fits = want->any_shape || want->shape.rank == got->shape.rank;
    for (uint32_t i = 0; fits && !want->any_shape && i < want->shape.rank; i++)
        fits = want->shape.dim[i] < 0 || want->shape.dim[i] == got->shape.dim[i];
    if (got->type != want->type)
        return maas_fail(error, MAAS_E_INVALID, "input '%.80s' is %s, the model takes %s",
                         want->name, type_name(got->type), type_name(want->type));
    if (!fits)
        return maas_fail(error, MAAS_E_INVALID, "input '%.80s' is %s, the model takes %s",
                         want->name, shape_text(&got->shape, given, sizeof(given)),
                         shape_text(&want->shape, expected, sizeof(expected)));
    return shape_check(&got->shape, got->type, error);
}

static maas_status take_values(struct plan *p, const struct tensor *inputs, maas_error *error)
{
    const struct graph *g = p->graph;
    for (uint32_t v = 0; v < g->value_count; v++)
        if (g->values[v].constant) {
            p->slots[v].tensor = *g->values[v].constant;
            p->slots[v].constant = true;
        }
    for (uint32_t i = 0; i < g->input_count; i++) {
        struct slot *s = &p->slots[g->inputs[i].value];
        maas_status status = check_input(&g->inputs[i].told, &inputs[i], error);
        if (status)
            return status;
        s->tensor = inputs[i];
        s->constant = inputs[i].data != NULL;
        s->kept = true;
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        p->slots[g->outputs[i].value].kept = true;
    return MAAS_OK;
}

/* ---- steps */

static maas_status connect_step(struct plan *p, struct step *s, const struct node *n,
                                maas_error *error)
{
    struct arena *a = &p->arena;
    *s = (struct step){ .op = n->op,
                        .node = n,
                        .call = { .attributes = n->attributes,
                                  .attribute_count = n->attribute_count,
                                  .opset = p->graph->opset,
                                  .input_count = n->input_count,
                                  .output_count = n->output_count } };
    s->in = arena_take(a, n->input_count, sizeof(*s->in));
    s->out = arena_take(a, n->output_count, sizeof(*s->out));
    s->call.in = arena_take(a, n->input_count, sizeof(*s->call.in));
    s->call.out = arena_take(a, n->output_count, sizeof(*s->call.out));
    if (!s->in || !s->out || !s->call.in || !s->call.out)
        return no_memory(error);
    for (uint32_t i = 0; i < n->input_count; i++)
        if (n->inputs[i] != NOBODY) {
            s->in[i] = &p->slots[n->inputs[i]];
            s->call.in[i] = &s->in[i]->tensor;
        }
    for (uint32_t i = 0; i < n->output_count; i++)
        if (n->outputs[i] != NOBODY) {
            s->out[i] = &p->slots[n->outputs[i]];
            s->call.out[i] = &s->out[i]->tensor;
        }
    return MAAS_OK;
}

static bool is_constant(const struct step *s)
{
    if (s->op->flags & OP_SHAPE_ALONE)
        return true;
    for (uint32_t i = 0; i < s->call.input_count; i++)
        if (s->in[i] && !s->in[i]->constant)
            return false;
    return true;
}

void *plan_constant(struct plan *p, struct slot *s)
{
    const size_t bytes = tensor_bytes(&s->tensor);
    s->tensor.data = arena_take(&p->arena, bytes, 1);
    s->constant = true;
    p->constant_bytes += bytes;
    return s->tensor.data;
}

struct slot *plan_slot(struct plan *p)
{
    return arena_take(&p->arena, 1, sizeof(struct slot));
}

/* Runs a step of constants now. */
static maas_status fold(struct plan *p, struct step *s, maas_error *error)
{
    for (uint32_t i = 0; i < s->call.output_count; i++)
        if (s->out[i] && !plan_constant(p, s->out[i]))
            return no_memory(error);
    const size_t room = (s->call.space_bytes + 63) / 64 * 64;
    if (room && !(s->call.space = room > p->options.bytes_max ? NULL : aligned_alloc(64, room)))
        return no_memory(error);
    maas_status status = s->op->run(&s->call, error);
    free(s->call.space);
    s->call.space = NULL;
    p->folded++;
    return status;
}

static maas_status take_node(struct plan *p, const struct node *n, maas_error *error)
{
    struct step *s = &p->steps[p->step_count];
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = connect_step(p, s, n, error);
    if (status)
        return status;
    status = s->op->shape(&s->call, &why);
    for (uint32_t i = 0; !status && i < n->output_count; i++)
        if (s->out[i] && s->out[i]->tensor.type == T_NONE)
            status = maas_fail(&why, MAAS_E_UNIMPLEMENTED, "output %u is not supported", i);
    if (!status && is_constant(s))
        status = fold(p, s, &why);
    else
        p->step_count++;
    return status ? plan_step_error(s, status, &why, error) : MAAS_OK;
}

maas_status plan_infer(struct plan *p, const struct tensor *inputs, maas_error *error)
{
    const struct graph *g = p->graph;
    p->step_room = g->node_count * 4 + 64; /* of which most are for reorders */
    p->slots = arena_take(&p->arena, g->value_count, sizeof(*p->slots));
    p->steps = arena_take(&p->arena, p->step_room, sizeof(*p->steps));
    maas_status status = p->slots && p->steps ? take_values(p, inputs, error) : no_memory(error);
    for (uint32_t n = 0; !status && n < g->node_count; n++)
        status = take_node(p, &g->nodes[n], error);
    return status;
}
