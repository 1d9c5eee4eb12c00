/*
 * layout.c: where every value stands in one block: a value lives from the step that makes it to the
 * last that reads it, and takes the lowest gap among those that live at the same time (first fit,
 * the largest first: Pisarchyk and Lee, "Efficient memory management for deep neural net
 * inference", 2020). Views share the memory of what they look at.
 */
#include <stdlib.h>

#include "plan.h"

static struct slot *owner(struct slot *s)
{
    while (s->same)
        s = s->same;
    return s;
}

static size_t bytes_of(const struct slot *s)
{
    const size_t bytes = s->layout ? engine_layout_bytes(s->layout) : tensor_bytes(&s->tensor);
    return (bytes + 63) / 64 * 64;
}

/* Output 0 of a view is its input's memory, unless that is constant, or both are the graph's. */
static void find_views(struct plan *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const struct step *s = &p->steps[i];
        if (s->gone || s->engine || !(s->op->flags & OP_VIEW) || !s->in[0] || !s->out[0] ||
            s->in[0]->constant || s->in[0]->kept || s->out[0]->kept ||
            tensor_bytes(&s->in[0]->tensor) != tensor_bytes(&s->out[0]->tensor))
            continue;
        s->out[0]->same = s->in[0];
    }
}

static bool is_read_later(const struct plan *p, uint32_t from, struct slot *memory)
{
    for (uint32_t i = from; i < p->step_count; i++) {
        const struct step *s = &p->steps[i];
        if (!s->gone && s->fusion.addend && owner(s->fusion.addend) == memory)
            return true;
        for (uint32_t k = 0; !s->gone && k < s->call.input_count; k++)
            if (s->in[k] && owner(s->in[k]) == memory)
                return true;
    }
    return false;
}

/* A sum whose addend nobody reads again is made in the addend's memory. */
static void find_sums(struct plan *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const struct step *s = &p->steps[i];
        struct slot *from = s->fusion.addend ? owner(s->fusion.addend) : NULL;
        if (s->gone || !s->engine || !from || from->constant || from->kept || s->out[0]->kept ||
            from->layout != s->out[0]->layout || owner(s->in[0]) == from ||
            is_read_later(p, i + 1, from))
            continue;
        s->out[0]->same = from;
    }
}

static void live(struct slot *s, uint32_t at)
{
    s = owner(s);
    s->first = at < s->first ? at : s->first;
    s->last = at > s->last ? at : s->last;
}

static void find_lives(struct plan *p, struct slot **all, uint32_t *count)
{
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < p->step_count; i++) {
            const struct step *s = &p->steps[i];
            for (uint32_t k = 0; !s->gone && k < s->call.input_count + s->call.output_count + 1;
                 k++) {
                const uint32_t ins = s->call.input_count;
                struct slot *slot = k < ins                          ? s->in[k]
                                    : k < ins + s->call.output_count ? s->out[k - ins]
                                                                     : s->fusion.addend;
                if (!slot || slot->constant)
                    continue;
                if (pass) {
                    live(slot, i);
                    if (!slot->same && slot->at == SIZE_MAX) { /* not listed yet */
                        slot->at = 0;
                        all[(*count)++] = slot;
                    }
                } else {
                    slot->first = UINT32_MAX;
                    slot->last = 0;
                    slot->at = SIZE_MAX;
                }
            }
        }
}

static int larger_first(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

static int lower_first(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    return (x->at > y->at) - (x->at < y->at);
}

/* placed: those that stand already, by address. */
static void place(struct slot *s, struct slot **placed, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct slot *other = placed[i];
        if (other->last < s->first || other->first > s->last || other->at + other->bytes <= at)
            continue;
        if (other->at >= at + s->bytes)
            break;
        at = other->at + other->bytes;
    }
    s->at = at;
}

static size_t place_all(struct slot **all, uint32_t count, size_t bytes_max)
{
    size_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        all[i]->bytes = bytes_of(all[i]);
        if (all[i]->kept) { /* for the caller before and after */
            all[i]->first = 0;
            all[i]->last = UINT32_MAX;
        }
    }
    qsort(all, count, sizeof(*all), larger_first);
    for (uint32_t i = 0; i < count; i++) {
        qsort(all, i, sizeof(*all), lower_first);
        place(all[i], all, i);
        most = all[i]->at + all[i]->bytes > most ? all[i]->at + all[i]->bytes : most;
        if (most > bytes_max)
            return most;
    }
    return most;
}

static size_t space_of(const struct step *s)
{
    return s->gone ? 0 : s->engine ? engine_step_space(s->engine) : s->call.space_bytes;
}

static void point(struct plan *p)
{
    uint8_t *space = p->block + p->block_bytes - p->space_bytes;
    for (uint32_t i = 0; i < p->step_count; i++) {
        struct step *s = &p->steps[i];
        s->call.space = space;
        for (uint32_t k = 0; !s->gone && k < s->call.input_count; k++)
            if (s->in[k] && !s->in[k]->constant)
                s->in[k]->tensor.data = p->block + owner(s->in[k])->at;
        for (uint32_t k = 0; !s->gone && k < s->call.output_count; k++)
            if (s->out[k] && !s->out[k]->constant)
                s->out[k]->tensor.data = p->block + owner(s->out[k])->at;
    }
}

/* Inputs that no step reads, and outputs that are inputs, stand beside the rest. */
static maas_status place_untouched(struct plan *p, size_t *at)
{
    for (uint32_t i = 0; i < p->graph->input_count; i++) {
        struct slot *s = &p->slots[p->graph->inputs[i].value];
        if (s->constant || s->tensor.data || s->bytes)
            continue;
        s->bytes = bytes_of(s);
        s->at = *at;
        *at += s->bytes;
    }
    return MAAS_OK;
}

maas_status plan_lay_out(struct plan *p, maas_error *error)
{
    uint32_t count = 0, most = p->graph->value_count + p->step_room;
    struct slot **all = calloc(most, sizeof(struct slot *));
    if (!all)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to plan %u values", most);
    find_views(p);
    find_sums(p);
    find_lives(p, all, &count);
    size_t bytes = place_all(all, count, p->options.bytes_max);
    free(all);
    place_untouched(p, &bytes);
    for (uint32_t i = 0; i < p->step_count; i++)
        p->space_bytes =
            space_of(&p->steps[i]) > p->space_bytes ? space_of(&p->steps[i]) : p->space_bytes;
    p->space_bytes = (p->space_bytes + 63) / 64 * 64;
    p->block_bytes = bytes + p->space_bytes;
    if (p->block_bytes > p->options.bytes_max)
        return maas_fail(
            error, MAAS_E_EXHAUSTED,
            "the model needs %zu bytes of memory for its values; at most %zu are allowed",
            p->block_bytes, (size_t)p->options.bytes_max);
    p->block = aligned_alloc(64, p->block_bytes + 64);
    if (!p->block)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu bytes of values",
                         p->block_bytes);
    memset(p->block, 0, p->block_bytes + 64);
    for (uint32_t i = 0; i < p->graph->input_count; i++) {
        struct slot *s = &p->slots[p->graph->inputs[i].value];
        if (!s->constant)
            s->tensor.data = p->block + s->at;
    }
    point(p);
    return MAAS_OK;
}
