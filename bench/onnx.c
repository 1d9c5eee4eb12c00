/*
 * onnx.c: how long one run of an ONNX model takes, one thread, batch 1: prints medians and
 * quartiles in milliseconds of plans in float32, in bfloat16, and of the plain kernels.
 *
 *   maas-bench-onnx MODEL.onnx [RUNS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "graph/graph.h"

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fill(struct tensor *t)
{
    uint32_t state = 1;
    for (size_t i = 0; t->type == T_F32 && i < tensor_count(t); i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)t->data)[i] = (float)(state >> 8) / 16777216.0f - 0.5f;
    }
}

static struct plan *make(const struct graph *g, const struct plan_options *options)
{
    struct tensor in[GRAPH_PORTS_MAX] = { 0 };
    struct plan *p = NULL;
    maas_error error = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < graph_input_count(g); i++) {
        in[i] =
            (struct tensor){ .type = graph_input(g, i)->type, .shape = graph_input(g, i)->shape };
        for (uint32_t d = 0; d < in[i].shape.rank; d++)
            in[i].shape.dim[d] = in[i].shape.dim[d] < 0 ? 1 : in[i].shape.dim[d];
    }
    if (plan_new(g, in, options, &p, &error)) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    for (uint32_t i = 0; i < graph_input_count(g); i++)
        fill(plan_input(p, i));
    return p;
}

static void measure(const struct graph *g, const char *name, const struct plan_options *options,
                    int runs)
{
    struct plan *p = make(g, options);
    double *took = calloc((size_t)runs, sizeof(*took));
    maas_error error = MAAS_ERROR_INIT;
    for (int i = -3; took && i < runs; i++) { /* three to warm up */
        const double start = now_ms();
        if (plan_run(p, &error)) {
            fprintf(stderr, "%s\n", error.text);
            exit(1);
        }
        if (i >= 0)
            took[i] = now_ms() - start;
    }
    if (took)
        qsort(took, (size_t)runs, sizeof(*took), by_value);
    if (took)
        printf("%s %.3f %.3f %.3f\n", name, took[runs / 2], took[runs / 4], took[runs * 3 / 4]);
    free(took);
    plan_free(p);
}

int main(int argc, char **argv)
{
    static const struct plan_options bf16 = { .bf16 = true }, plain = { .plain = true };
    struct graph *g = NULL;
    maas_error error = MAAS_ERROR_INIT;
    const int runs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 30;
    if (argc < 2 || runs < 1 || graph_read(argv[1], &g, &error)) {
        fprintf(stderr, "usage: maas-bench-onnx MODEL.onnx [RUNS] %s\n", error.text);
        return 2;
    }
    measure(g, "f32", NULL, runs);
    measure(g, "bf16", &bf16, runs);
    measure(g, "plain", &plain, runs);
    graph_free(g);
    return 0;
}
