/*
 * test_conformance.c: ONNX' own sets of models with inputs and expected outputs, as Debian's
 * libonnx-testdata has them: every set whose operators are all known is run, twice: with its inputs
 * as inputs where its shapes allow it (fused, by the engine), and as constants, folded by the plain
 * kernels. Prints N of M, and the names of what fails.
 *
 *   test_conformance [FILTER]      FILTER: part of a set's name
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "graph/graph.h"
#include "onnx.pb-c.h"

#define ROOT "/usr/share/libonnx-testdata/data"
enum { IO_MAX = 32, PASSED_LEAST = 368 };

/* Sets that are left out, each with its reason. */
static const struct {
    const char *part, *why;
} excused[] = {
    { "test_training_dropout", "training: what is dropped hangs on numpy's random numbers" },
    { "test_castlike_BFLOAT16",
      "the set's input 'like' is not of the shape that its model declares" },
    { "test_castlike_FLOAT_to_BFLOAT16",
      "the set's input 'like' is not of the shape that its model declares" },
};

static const char *excuse(const char *name)
{
    for (size_t i = 0; i < sizeof(excused) / sizeof(excused[0]); i++)
        if (strstr(name, excused[i].part))
            return excused[i].why;
    return NULL;
}

struct set {
    char folder[512];
    struct graph *graph;
    struct tensor in[IO_MAX], out[IO_MAX];
    uint32_t ins, outs;
};

static void *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    void *bytes = aligned_alloc(64, (*len + 64) / 64 * 64);
    if (bytes && fread(bytes, 1, *len, f) != *len) {
        free(bytes);
        bytes = NULL;
    }
    fclose(f);
    return bytes;
}

/* A TensorProto, by way of a model that holds nothing else: the reader under test reads it. */
static bool read_tensor(const char *path, struct tensor *out)
{
    size_t len = 0;
    uint8_t *bytes = read_file(path, &len);
    Onnx__Tensor *t = bytes ? onnx__tensor__unpack(NULL, len, bytes) : NULL;
    bool good = false;
    free(bytes);
    if (!t)
        return false;
    char name[] = "t", value[] = "value", constant[] = "Constant";
    Onnx__Attribute a = ONNX__ATTRIBUTE__INIT, *attributes[] = { &a };
    Onnx__Node n = ONNX__NODE__INIT, *nodes[] = { &n };
    Onnx__TensorType tt = ONNX__TENSOR_TYPE__INIT;
    Onnx__Type type = ONNX__TYPE__INIT;
    Onnx__ValueInfo v = ONNX__VALUE_INFO__INIT, *outputs[] = { &v };
    Onnx__Graph g = ONNX__GRAPH__INIT;
    Onnx__OperatorSet o = ONNX__OPERATOR_SET__INIT, *sets[] = { &o };
    Onnx__Model m = ONNX__MODEL__INIT;
    char *outs[] = { name };
    a.name = value;
    a.has_type = 1;
    a.type = 4;
    a.t = t;
    n.op_type = constant;
    n.attribute = attributes;
    n.n_attribute = 1;
    n.output = outs;
    n.n_output = 1;
    tt.has_elem_type = 1;
    tt.elem_type = t->data_type;
    type.tensor_type = &tt;
    v.name = name;
    v.type = &type;
    g.node = nodes;
    g.n_node = 1;
    g.output = outputs;
    g.n_output = 1;
    o.has_version = 1;
    o.version = 13;
    m.graph = &g;
    m.opset_import = sets;
    m.n_opset_import = 1;
    const size_t size = onnx__model__get_packed_size(&m);
    uint8_t *packed = malloc(size);
    struct graph *graph = NULL;
    struct plan *plan = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (packed && onnx__model__pack(&m, packed) == size &&
        !graph_parse(packed, size, &graph, &error) && !plan_new(graph, NULL, NULL, &plan, &error)) {
        *out = *plan_output(plan, 0);
        out->data = aligned_alloc(64, (tensor_bytes(out) + 64) / 64 * 64);
        memcpy(out->data, plan_output(plan, 0)->data, tensor_bytes(out));
        good = true;
    } else {
        fprintf(stderr, "%s: %s\n", path, error.text);
    }
    plan_free(plan);
    graph_free(graph);
    free(packed);
    onnx__tensor__free_unpacked(t, NULL);
    return good;
}

/* The sets hold bfloat16 as uint16 of the same bits. */
static void retype(struct tensor *t, const struct graph_port *port)
{
    if (t->type == T_U16 && port->type == T_BF16)
        t->type = T_BF16;
}

static bool read_all(const char *folder, const char *kind, struct tensor *out, uint32_t *count)
{
    char path[700];
    for (*count = 0; *count < IO_MAX; ++*count) {
        snprintf(path, sizeof(path), "%s/test_data_set_0/%s_%u.pb", folder, kind, *count);
        if (access(path, R_OK))
            return true;
        if (!read_tensor(path, &out[*count]))
            return false;
    }
    return true;
}

static bool near(double got, double want, int32_t type)
{
    const double relative = type == T_F16 || type == T_BF16 ? 1e-2 : 1e-3;
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return type_is_float(type) ? fabs(got - want) <= 1e-6 + 1e-5 + relative * fabs(want)
                               : got == want;
}

static bool compare(const struct tensor *got, const struct tensor *want, char *why, size_t room)
{
    char left[100], right[100];
    if (got->type != want->type || !shape_equal(&got->shape, &want->shape)) {
        snprintf(why, room, "%s %s instead of %s %s", type_name(got->type),
                 shape_text(&got->shape, left, sizeof(left)), type_name(want->type),
                 shape_text(&want->shape, right, sizeof(right)));
        return false;
    }
    for (size_t i = 0; i < tensor_count(want); i++) {
        const bool whole = !type_is_float(want->type);
        if (whole ? tensor_integer(got, i) != tensor_integer(want, i)
                  : !near(tensor_real(got, i), tensor_real(want, i), want->type)) {
            snprintf(why, room, "element %zu is %.9g instead of %.9g", i, tensor_real(got, i),
                     tensor_real(want, i));
            return false;
        }
    }
    return true;
}

static bool check_outputs(const struct set *s, const struct plan *p, char *why, size_t room)
{
    for (uint32_t i = 0; i < s->outs; i++)
        if (!compare(plan_output(p, i), &s->out[i], why, room))
            return false;
    return true;
}

/* constant: everything is folded; else only integers are constant, and they too only where need be.
 */
static maas_status run(const struct set *s, int constant, bool plain, bool *good, char *why,
                       size_t room)
{
    struct tensor in[IO_MAX];
    struct plan *p = NULL;
    maas_error error = MAAS_ERROR_INIT;
    const struct plan_options options = { .plain = plain };
    memcpy(in, s->in, sizeof(in));
    for (uint32_t i = 0; i < s->ins; i++)
        if (constant == 0 || (constant == 1 && type_is_float(in[i].type)))
            in[i].data = NULL;
    maas_status status = plan_new(s->graph, in, &options, &p, &error);
    for (uint32_t i = 0; !status && i < s->ins; i++)
        if (!in[i].data && tensor_count(&in[i]))
            memcpy(plan_input(p, i)->data, s->in[i].data, tensor_bytes(&in[i]));
    for (int twice = 0; !status && twice < 2; twice++) /* the second run must not see the first */
        status = plan_run(p, &error);
    *good = !status && check_outputs(s, p, why, room);
    if (status)
        snprintf(why, room, "%s", error.text);
    plan_free(p);
    return status;
}

static bool run_set(struct set *s, char *why, size_t room)
{
    bool good = false;
    if (graph_input_count(s->graph) != s->ins || graph_output_count(s->graph) != s->outs) {
        snprintf(why, room, "%u inputs and %u outputs in the set, %u and %u in the model", s->ins,
                 s->outs, graph_input_count(s->graph), graph_output_count(s->graph));
        return false;
    }
    for (uint32_t i = 0; i < s->ins; i++)
        retype(&s->in[i], graph_input(s->graph, i));
    for (uint32_t i = 0; i < s->outs; i++)
        retype(&s->out[i], graph_output(s->graph, i));
    maas_status status = run(s, 0, false, &good, why, room);
    if (status == MAAS_E_PRECONDITION)
        status = run(s, 1, false, &good, why, room);
    if (status == MAAS_E_PRECONDITION)
        return run(s, 2, true, &good, why, room) == MAAS_OK && good;
    bool folded = false;
    return !status && good && run(s, 2, true, &folded, why, room) == MAAS_OK && folded;
}

static void set_release(struct set *s)
{
    for (uint32_t i = 0; i < s->ins; i++)
        free(s->in[i].data);
    for (uint32_t i = 0; i < s->outs; i++)
        free(s->out[i].data);
    graph_free(s->graph);
}

struct counts {
    uint32_t all, known, passed;
};

static void try_set(const char *folder, const char *name, struct counts *n)
{
    struct set s = { .graph = NULL };
    char path[600], why[400] = "its data cannot be read";
    maas_error error = MAAS_ERROR_INIT;
    snprintf(s.folder, sizeof(s.folder), "%s/%s", folder, name);
    snprintf(path, sizeof(path), "%s/model.onnx", s.folder);
    if (access(path, R_OK))
        return;
    n->all++;
    if (graph_read(path, &s.graph, &error) || graph_covered(s.graph, &error)) {
        if (getenv("VERBOSE"))
            printf("not known: %s: %s\n", name, error.text);
        graph_free(s.graph);
        return;
    }
    if (excuse(name)) {
        printf("left out %s: %s\n", name, excuse(name));
        graph_free(s.graph);
        return;
    }
    n->known++;
    if (read_all(s.folder, "input", s.in, &s.ins) && read_all(s.folder, "output", s.out, &s.outs) &&
        run_set(&s, why, sizeof(why)))
        n->passed++;
    else
        printf("FAILED %s: %s\n", name, why);
    set_release(&s);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return by_name(a, b);
}

int main(int argc, char **argv)
{
    static const char *const parts[] = { "node", "pytorch-operator", "pytorch-converted",
                                         "simple" };
    const char *filter = argc > 1 ? argv[1] : "";
    struct counts n = { 0 };
    if (access(ROOT, R_OK)) {
        printf("Debian's libonnx-testdata is not installed\n");
        return 77; /* skipped */
    }
    for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
        char folder[200];
        struct dirent **entries = NULL;
        snprintf(folder, sizeof(folder), ROOT "/%s", parts[p]);
        const int count = scandir(folder, &entries, NULL, compare_entries);
        for (int i = 0; i < count; i++) {
            if (strstr(entries[i]->d_name, filter))
                try_set(folder, entries[i]->d_name, &n);
            free(entries[i]);
        }
        free(entries);
    }
    printf("conformance: %u of %u sets whose operators are known (of %u in all)\n", n.passed,
           n.known, n.all);
    return n.passed == n.known && (*filter || n.passed >= PASSED_LEAST) ? 0 : 1;
}
