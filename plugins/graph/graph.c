/*
 * graph.c: what can be asked of a graph: its inputs and outputs, what it needs; and the order of
 * its nodes (Kahn 1962), which a file should have but need not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

uint32_t graph_input_count(const struct graph *g)
{
    return g->input_count;
}

uint32_t graph_output_count(const struct graph *g)
{
    return g->output_count;
}

const struct graph_port *graph_input(const struct graph *g, uint32_t i)
{
    return &g->inputs[i].told;
}

const struct graph_port *graph_output(const struct graph *g, uint32_t i)
{
    return &g->outputs[i].told;
}

int32_t graph_opset(const struct graph *g)
{
    return g->opset;
}

uint64_t graph_weights_bytes(const struct graph *g)
{
    return g->weights_bytes;
}

/* ---- order */

/* Who waits for whom: the nodes that take a value of node n are waiting[from[n]] … */
struct edges {
    uint32_t *from, *waiting, *open; /* open: values that are still to come, by node */
};

static uint32_t maker_of(const struct graph *g, uint32_t value)
{
    return value == NOBODY ? NOBODY : g->values[value].maker;
}

static size_t count_edges(const struct graph *g, struct edges *e)
{
    size_t all = 0;
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0; i < g->nodes[n].input_count; i++) {
            const uint32_t maker = maker_of(g, g->nodes[n].inputs[i]);
            if (maker == NOBODY)
                continue;
            e->from[maker + 1]++;
            e->open[n]++;
            all++;
        }
    for (uint32_t n = 0; n < g->node_count; n++)
        e->from[n + 1] += e->from[n];
    return all;
}

static void fill_edges(const struct graph *g, struct edges *e, uint32_t *cursor)
{
    memcpy(cursor, e->from, g->node_count * sizeof(*cursor));
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0; i < g->nodes[n].input_count; i++) {
            const uint32_t maker = maker_of(g, g->nodes[n].inputs[i]);
            if (maker != NOBODY)
                e->waiting[cursor[maker]++] = n;
        }
}

/* The nodes that wait for nothing, then those that waited for them; returns how many came. */
static uint32_t walk(const struct graph *g, struct edges *e, uint32_t *order)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < g->node_count; n++)
        if (!e->open[n])
            order[count++] = n;
    for (uint32_t at = 0; at < count; at++)
        for (uint32_t w = e->from[order[at]]; w < e->from[order[at] + 1]; w++)
            if (--e->open[e->waiting[w]] == 0)
                order[count++] = e->waiting[w];
    return count;
}

static void reorder(struct graph *g, const uint32_t *order, struct node *space)
{
    memcpy(space, g->nodes, g->node_count * sizeof(*space));
    for (uint32_t at = 0; at < g->node_count; at++) {
        g->nodes[at] = space[order[at]];
        for (uint32_t o = 0; o < g->nodes[at].output_count; o++)
            if (g->nodes[at].outputs[o] != NOBODY)
                g->values[g->nodes[at].outputs[o]].maker = at;
    }
}

static bool is_in_order(const struct graph *g)
{
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0; i < g->nodes[n].input_count; i++) {
            const uint32_t maker = maker_of(g, g->nodes[n].inputs[i]);
            if (maker != NOBODY && maker >= n)
                return false;
        }
    return true;
}

maas_status graph_order(struct graph *g, maas_error *error)
{
    maas_status status = MAAS_OK;
    const size_t nodes = g->node_count;
    struct edges e = { 0 };
    if (is_in_order(g))
        return MAAS_OK;
    e.from = calloc(nodes + 1, sizeof(uint32_t));
    e.open = calloc(nodes, sizeof(uint32_t));
    uint32_t *order = calloc(nodes, sizeof(uint32_t));
    struct node *space = calloc(nodes, sizeof(*space));
    if (e.from && e.open && order && space)
        e.waiting = calloc(count_edges(g, &e) + 1, sizeof(uint32_t));
    if (!e.waiting) {
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory to order %zu nodes", nodes);
    } else {
        fill_edges(g, &e, order);
        if (walk(g, &e, order) < nodes)
            status = maas_fail(error, MAAS_E_INVALID,
                               "the graph has a cycle: nodes wait for each other");
        else
            reorder(g, order, space);
    }
    free(e.from);
    free(e.open);
    free(e.waiting);
    free(order);
    free(space);
    return status;
}

/* ---- coverage */

static int by_operator(const void *a, const void *b)
{
    const struct node *x = *(const struct node *const *)a, *y = *(const struct node *const *)b;
    int order = strcmp(x->domain, y->domain);
    order = order ? order : strcmp(x->op_name, y->op_name);
    return order ? order
                 : !x->missing - !y->missing; /* what is missing first: its reason is told */
}

uint32_t graph_coverage(const struct graph *g,
                        void (*tell)(void *to, const struct graph_need *need), void *to)
{
    uint32_t missing = 0;
    const struct node **sorted = calloc(g->node_count + 1, sizeof(struct node *));
    if (!sorted)
        return UINT32_MAX;
    for (uint32_t i = 0; i < g->node_count; i++)
        sorted[i] = &g->nodes[i];
    qsort(sorted, g->node_count, sizeof(*sorted), by_operator);
    for (uint32_t i = 0, next; i < g->node_count; i = next) {
        for (next = i + 1; next < g->node_count &&
                           !strcmp(sorted[next]->domain, sorted[i]->domain) &&
                           !strcmp(sorted[next]->op_name, sorted[i]->op_name);)
            next++;
        tell(to, &(struct graph_need){ sorted[i]->domain, sorted[i]->op_name, next - i,
                                       sorted[i]->missing });
        missing += sorted[i]->missing != NULL;
    }
    free(sorted);
    return missing;
}

struct list {
    char text[200];
    size_t len;
};

static void tell_missing(void *to, const struct graph_need *need)
{
    struct list *l = to;
    if (!need->missing || l->len >= sizeof(l->text) - 1)
        return;
    const int len =
        snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s%s%s%s (%s)", l->len ? ", " : "",
                 need->domain, *need->domain ? "." : "", need->name, need->missing);
    l->len += (size_t)len;
}

maas_status graph_covered(const struct graph *g, maas_error *error)
{
    struct list missing = { .len = 0 };
    return graph_coverage(g, tell_missing, &missing)
               ? maas_fail(error, MAAS_E_UNIMPLEMENTED, "the model needs what is not there: %s",
                           missing.text)
               : MAAS_OK;
}
