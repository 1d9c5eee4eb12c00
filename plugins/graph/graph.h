/*
 * graph.h: a model as a graph of operators: read, check, then plan for inputs of known shapes, and
 * run without taking memory.
 *
 *   graph_read   [control] reads an ONNX file under limits and checks it: names, types, order,
 *                cycles, attributes. What it cannot run is told by graph_coverage.
 *   plan_new     [control] infers all shapes, folds constants, fuses, lays out memory once.
 *   plan_run     [pool] one thread at a time per plan; takes no memory.
 */
#ifndef GRAPH_H
#define GRAPH_H

#include "operator.h"

#define GRAPH_FILE_MAX ((uint64_t)1 << 31)
enum {
    GRAPH_NODES_MAX = 65536,
    GRAPH_VALUES_MAX = 262144,
    GRAPH_NAME_MAX = 512,
    GRAPH_PORTS_MAX = 64,
    GRAPH_ATTRIBUTES_MAX = 64,
};

struct graph; /* immutable once read. [any] */

/* MAAS_E_NOT_FOUND: no such file. MAAS_E_INVALID: damaged or hostile: not protobuf, a name twice, a
 * value that nobody makes, a cycle, an extent or a size beyond the limits, data outside of the
 * file, an opset that is not OPSET_MIN to OPSET_MAX; the text names node and field. Operators that
 * are not known are no error here. */
maas_status graph_read(const char *path, struct graph **out, maas_error *error);
/* The same from memory, which is not kept. */
maas_status graph_parse(const void *bytes, size_t len, struct graph **out, maas_error *error);
void graph_free(struct graph *g); /* accepts NULL */

struct graph_port {
    const char *name;
    int32_t type;
    bool any_shape;     /* the file does not say how many dimensions; shape has none */
    struct shape shape; /* -1: free */
};
uint32_t graph_input_count(const struct graph *g); /* without initialisers */
uint32_t graph_output_count(const struct graph *g);
const struct graph_port *graph_input(const struct graph *g, uint32_t i);
const struct graph_port *graph_output(const struct graph *g, uint32_t i);
int32_t graph_opset(const struct graph *g);
uint64_t graph_weights_bytes(const struct graph *g);

/* What the model needs: each operator with how often it stands there, and why it cannot run (NULL:
 * it can). Order of names. */
struct graph_need {
    const char *domain, *name; /* domain "": ONNX' own */
    uint32_t count;
    const char *missing;
};
/* Calls `tell` for each; returns how many are missing. */
uint32_t graph_coverage(const struct graph *g,
                        void (*tell)(void *to, const struct graph_need *need), void *to);
/* MAAS_E_UNIMPLEMENTED with the names of what is missing. */
maas_status graph_covered(const struct graph *g, maas_error *error);

struct plan;
#define PLAN_BYTES_MAX ((uint64_t)8 << 30)
struct plan_options {
    bool bf16;  /* convolutions and large products in bfloat16 */
    bool plain; /* no fusing and no library but the plain kernels: what the others are compared with
                 */
    uint64_t bytes_max; /* of constants, and of values; 0: PLAN_BYTES_MAX of each */
};
/* inputs: type and shape of each of the graph's inputs; where data is set, the value is constant.
 * The graph and constant inputs are borrowed until plan_free. MAAS_E_PRECONDITION: a shape hangs on
 * the value of an input which is not constant. */
maas_status plan_new(const struct graph *g, const struct tensor *inputs,
                     const struct plan_options *options, struct plan **out, maas_error *error);
void plan_free(struct plan *p); /* accepts NULL */
/* Memory of an input that is to be filled before each run (constant ones are left alone), and of an
 * output, valid after a run until the next. */
struct tensor *plan_input(struct plan *p, uint32_t i);
const struct tensor *plan_output(const struct plan *p, uint32_t i);
maas_status plan_run(struct plan *p, maas_error *error);

struct plan_facts {
    uint32_t nodes, folded, fused; /* of the graph; what runs is nodes - folded - fused */
    uint64_t arena_bytes;          /* of what is made between */
    uint64_t constant_bytes;
};
void plan_facts(const struct plan *p, struct plan_facts *out);

#endif
