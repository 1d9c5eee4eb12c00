/*
 * model.h: a graph as it was read, seen by the reader and the planner alone. Everything stands in
 * one arena and is freed with it.
 */
#ifndef GRAPH_MODEL_H
#define GRAPH_MODEL_H

#include "arena.h"
#include "graph.h"

#define NOBODY                                                                                     \
    UINT32_MAX /* no value: an input left out; no node: an input of the graph, a constant */

struct node {
    const struct operator* op;                     /* NULL: not known */
    const char *name, *domain, *op_name, *missing; /* missing: why it cannot run, or NULL */
    struct attribute *attributes;
    uint32_t *inputs, *outputs; /* values */
    uint32_t attribute_count, input_count, output_count;
};

struct value {
    const char *name;
    uint32_t maker;                /* node */
    const struct tensor *constant; /* of an initialiser */
};

struct port {
    struct graph_port told;
    uint32_t value;
};

struct graph {
    struct arena arena;
    int32_t opset;
    uint32_t node_count, value_count, input_count, output_count;
    struct node *nodes; /* each behind those whose values it takes */
    struct value *values;
    struct port *inputs, *outputs;
    uint64_t weights_bytes;
};

/* order.c: puts the nodes in an order in which they can run; MAAS_E_INVALID: there is a cycle. */
maas_status graph_order(struct graph *g, maas_error *error);

#endif
