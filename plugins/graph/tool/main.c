/*
 * main.c: maas-onnx FILE.onnx: what a model takes, gives and needs, before it is loaded. Status 1:
 * something is missing, 2: the file cannot be read.
 */
#include <stdio.h>

#include "graph/graph.h"

static void tell_port(const char *what, const struct graph_port *p)
{
    char text[120];
    printf("%s %s: %s %s\n", what, p->name, type_name(p->type),
           p->any_shape ? "of any shape" : shape_text(&p->shape, text, sizeof(text)));
}

static void tell_need(void *to, const struct graph_need *need)
{
    (void)to;
    printf("%6u %s%s%s%s%s\n", need->count, need->domain, *need->domain ? "." : "", need->name,
           need->missing ? "  missing: " : "", need->missing ? need->missing : "");
}

int main(int argc, char **argv)
{
    struct graph *g = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: maas-onnx FILE.onnx\n");
        return 2;
    }
    if (graph_read(argv[1], &g, &error)) {
        fprintf(stderr, "maas-onnx: %s\n", error.text);
        return 2;
    }
    printf("opset %d, %.1f MB of weights\n", graph_opset(g), (double)graph_weights_bytes(g) / 1e6);
    for (uint32_t i = 0; i < graph_input_count(g); i++)
        tell_port("input", graph_input(g, i));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        tell_port("output", graph_output(g, i));
    const uint32_t missing = graph_coverage(g, tell_need, NULL);
    printf("%u operators are missing\n", missing);
    graph_free(g);
    return missing != 0;
}
