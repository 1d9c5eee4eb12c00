/*
 * plan.c: a plan from its making to its end, and its run: a list of steps.
 */
#include <stdlib.h>

#include "plan.h"

static maas_status make(struct plan *p, const struct tensor *inputs, maas_error *error)
{
    maas_status status = plan_infer(p, inputs, error);
    if (!status && !p->options.plain)
        status = plan_fuse(p, error);
    if (!status && !p->options.plain)
        status = plan_engage(p, error);
    return status ? status : plan_lay_out(p, error);
}

static struct plan *plan_empty(const struct graph *g, const struct plan_options *options)
{
    struct plan *p = calloc(1, sizeof(*p));
    if (p) {
        p->graph = g;
        p->options = options ? *options : (struct plan_options){ .plain = false };
        if (!p->options.bytes_max)
            p->options.bytes_max = PLAN_BYTES_MAX;
        p->arena.most = p->options.bytes_max;
    }
    return p;
}

maas_status plan_new(const struct graph *g, const struct tensor *inputs,
                     const struct plan_options *options, struct plan **out, maas_error *error)
{
    const struct plan_options plain = { .plain = true,
                                        .bytes_max = options ? options->bytes_max : 0 };
    maas_status status = graph_covered(g, error);
    if (status)
        return status;
    struct plan *p = plan_empty(g, options);
    status = p ? make(p, inputs, error) : MAAS_E_EXHAUSTED;
    if (status == MAAS_E_ABORTED) { /* the engine refused what was fused for it */
        plan_free(p);
        p = plan_empty(g, &plain);
        status = p ? make(p, inputs, error) : MAAS_E_EXHAUSTED;
    }
    if (!p)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a plan");
    if (status)
        plan_free(p);
    else
        *out = p;
    return status;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    engine_free(p->engine);
    arena_release(&p->arena);
    free(p->block);
    free(p);
}

struct tensor *plan_input(struct plan *p, uint32_t i)
{
    return &p->slots[p->graph->inputs[i].value].tensor;
}

const struct tensor *plan_output(const struct plan *p, uint32_t i)
{
    return &p->slots[p->graph->outputs[i].value].tensor;
}

static maas_status run_step(const struct plan *p, const struct step *s, maas_error *error)
{
    if (!s->engine)
        return s->op->run(&s->call, error);
    const void *addend = s->fusion.addend ? s->fusion.addend->tensor.data : NULL;
    return engine_step_run(p->engine, s->engine, s->out[0]->tensor.data, s->in[0]->tensor.data,
                           addend, s->call.space)
               ? MAAS_OK
               : maas_fail(error, MAAS_E_INTERNAL, "the engine failed");
}

maas_status plan_run(struct plan *p, maas_error *error)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        maas_error why = MAAS_ERROR_INIT;
        maas_status status = p->steps[i].gone ? MAAS_OK : run_step(p, &p->steps[i], &why);
        if (status)
            return plan_step_error(&p->steps[i], status, &why, error);
    }
    return MAAS_OK;
}

void plan_facts(const struct plan *p, struct plan_facts *out)
{
    *out = (struct plan_facts){ .nodes = p->graph->node_count,
                                .folded = p->folded,
                                .fused = p->fused,
                                .arena_bytes = p->block_bytes,
                                .constant_bytes = p->constant_bytes };
}
