/*
 * fuzz_onnx.c: any bytes as an ONNX file: read, told, planned for small inputs, and run once.
 */
#include <stddef.h>
#include <stdint.h>

#include "graph/graph.h"

enum { FILE_BYTES_MAX = 1 << 16, ELEMENTS_MAX = 1 << 12 };

static void tell(void *to, const struct graph_need *need)
{
    *(uint32_t *)to += need->count;
}

/* False: an input is too large to be tried. */
static bool make_inputs(const struct graph *g, struct tensor *in)
{
    for (uint32_t i = 0; i < graph_input_count(g); i++) {
        const struct graph_port *port = graph_input(g, i);
        maas_error error = MAAS_ERROR_INIT;
        in[i] = (struct tensor){ .type = port->type, .shape = port->shape };
        for (uint32_t d = 0; d < in[i].shape.rank; d++)
            in[i].shape.dim[d] = in[i].shape.dim[d] < 0 ? 2 : in[i].shape.dim[d];
        if (shape_check(&in[i].shape, in[i].type, &error) || tensor_count(&in[i]) > ELEMENTS_MAX)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct graph *g = NULL;
    struct plan *p = NULL;
    struct tensor in[GRAPH_PORTS_MAX] = { 0 };
    uint32_t nodes = 0;
    maas_error error = MAAS_ERROR_INIT;
    const struct plan_options options = { .plain = size % 2, .bytes_max = 1 << 22 };
    if (size > FILE_BYTES_MAX || graph_parse(data, size, &g, &error))
        return 0;
    graph_coverage(g, tell, &nodes);
    if (nodes < 64 && make_inputs(g, in) && !plan_new(g, in, &options, &p, &error))
        plan_run(p, &error);
    plan_free(p);
    graph_free(g);
    return 0;
}
