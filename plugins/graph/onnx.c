/*
 * onnx.c: an ONNX file into a graph. protobuf-c checks the wire format and copies strings, with an
 * allocator that has a bound; then everything is taken over into the graph's arena, checked; here
 * values, nodes, inputs and outputs, in reader.c tensors and attributes. Names are found by
 * sorting, so that no file can make the look-up slow.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx.pb-c.h"
#include "reader.h"

/* ---- values by name */

static int by_name(const void *a, const void *b)
{
    const struct named_value *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->value > y->value) - (x->value < y->value);
}

static maas_status define(struct reader *r, const char *name, uint32_t maker,
                          const struct tensor *constant, const char *what)
{
    struct graph *g = r->graph;
    maas_status status = reader_check_name(r, name, what);
    if (status)
        return status;
    char *copy = arena_text(&g->arena, name, strlen(name));
    if (!copy)
        return reader_no_memory(r);
    g->values[g->value_count] = (struct value){ copy, maker, constant };
    r->sorted[g->value_count] = (struct named_value){ copy, g->value_count };
    g->value_count++;
    return MAAS_OK;
}

static uint32_t find(const struct reader *r, const char *name)
{
    uint32_t low = 0, high = r->defined;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (strcmp(r->sorted[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->defined && strcmp(r->sorted[low].name, name) == 0 ? r->sorted[low].value
                                                                      : NOBODY;
}

/* How many values there are at most; false: too many. */
static bool count_values(const Onnx__Graph *f, size_t *out)
{
    size_t all = f->n_input + f->n_initializer;
    if (f->n_node > GRAPH_NODES_MAX || f->n_input > GRAPH_VALUES_MAX ||
        f->n_initializer > GRAPH_VALUES_MAX)
        return false;
    for (size_t i = 0; i < f->n_node; i++)
        all += f->node[i]->n_output;
    *out = all;
    return all <= GRAPH_VALUES_MAX;
}

static maas_status define_initializers(struct reader *r, const Onnx__Graph *f)
{
    for (size_t i = 0; i < f->n_initializer; i++) {
        struct tensor *t = arena_take(&r->graph->arena, 1, sizeof(*t));
        maas_status status = t ? reader_tensor(r, f->initializer[i], t) : reader_no_memory(r);
        if (!status)
            status = define(r, reader_text(f->initializer[i]->name), NOBODY, t, "an initialiser");
        if (status)
            return status;
    }
    return MAAS_OK;
}

static maas_status define_outputs(struct reader *r, const Onnx__Graph *f)
{
    for (uint32_t n = 0; n < f->n_node; n++) {
        struct node *node = &r->graph->nodes[n];
        for (uint32_t o = 0; o < f->node[n]->n_output; o++) {
            const char *name = reader_text(f->node[n]->output[o]);
            node->outputs[o] = *name ? r->graph->value_count : NOBODY;
            maas_status status = *name ? define(r, name, n, NULL, "a value") : MAAS_OK;
            if (status)
                return status;
        }
    }
    return MAAS_OK;
}

static maas_status sort_values(struct reader *r)
{
    const uint32_t count = r->defined = r->graph->value_count;
    if (count)
        qsort(r->sorted, count, sizeof(*r->sorted), by_name);
    for (uint32_t i = 0; i < count; i++)
        if (!*r->sorted[i].name || (i && strcmp(r->sorted[i - 1].name, r->sorted[i].name) == 0))
            return maas_fail(r->error, MAAS_E_INVALID,
                             "the value '%s' is made twice, or has no name", r->sorted[i].name);
    return MAAS_OK;
}

/* ---- nodes */

static maas_status of_node(const struct reader *r, maas_status status, const struct node *node,
                           const maas_error *why)
{
    return maas_fail(r->error, status, "node '%.80s' (%.60s): %s", node->name, node->op_name,
                     why->text);
}

static maas_status check_counts(const struct node *n, maas_error *error)
{
    if (n->op && (n->input_count < n->op->least_in || n->input_count > n->op->most_in))
        return maas_fail(error, MAAS_E_INVALID, "%u inputs; it takes %u to %u", n->input_count,
                         n->op->least_in, n->op->most_in);
    if (n->op && (n->output_count < n->op->least_out || n->output_count > n->op->most_out))
        return maas_fail(error, MAAS_E_INVALID, "%u outputs; it makes %u to %u", n->output_count,
                         n->op->least_out, n->op->most_out);
    return MAAS_OK;
}

static const char *why_unknown(const struct reader *r, const struct node *n)
{
    if (*n->domain)
        return "its domain is not known";
    if (!n->op)
        return "it is not known";
    return r->graph->opset < n->op->since ? "it is of a later opset than the model" : NULL;
}

static maas_status name_node(const struct reader *r, struct node *node, const Onnx__Node *f)
{
    maas_status status = reader_check_name(r, f->name, "a node");
    if (!status)
        status = reader_check_name(r, f->op_type, "an operator");
    if (!status)
        status = reader_check_name(r, f->domain, "a domain");
    if (status)
        return status;
    const char *domain =
        strcmp(reader_text(f->domain), "ai.onnx") == 0 ? "" : reader_text(f->domain);
    struct arena *a = &r->graph->arena;
    node->name = arena_text(a, reader_text(f->name), strlen(reader_text(f->name)));
    node->op_name = arena_text(a, reader_text(f->op_type), strlen(reader_text(f->op_type)));
    node->domain = arena_text(a, domain, strlen(domain));
    if (!node->name || !node->op_name || !node->domain)
        return reader_no_memory(r);
    node->op = *domain ? NULL : operator_find(node->op_name, strlen(node->op_name));
    node->missing = why_unknown(r, node);
    return MAAS_OK;
}

static maas_status read_node(const struct reader *r, struct node *node, const Onnx__Node *f)
{
    struct arena *a = &r->graph->arena;
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = name_node(r, node, f);
    if (status)
        return status;
    if (f->n_input > CALL_IO_MAX || f->n_output > CALL_IO_MAX ||
        f->n_attribute > GRAPH_ATTRIBUTES_MAX)
        return maas_fail(r->error, MAAS_E_INVALID,
                         "node '%.80s' has too many inputs, outputs or attributes", node->name);
    node->input_count = (uint32_t)f->n_input;
    node->output_count = (uint32_t)f->n_output;
    node->inputs = arena_take(a, f->n_input, sizeof(uint32_t));
    node->outputs = arena_take(a, f->n_output, sizeof(uint32_t));
    node->attributes = arena_take(a, f->n_attribute, sizeof(*node->attributes));
    if (!node->inputs || !node->outputs || !node->attributes)
        return reader_no_memory(r);
    const struct reader inner = { r->graph, r->file, r->sorted, r->defined, &why };
    status = check_counts(node, &why);
    for (size_t i = 0; !status && node->op && i < f->n_attribute; i++)
        status = reader_attribute(&inner, node, f->attribute[i]);
    return status ? of_node(r, status, node, &why) : MAAS_OK;
}

/* Whose values each node takes. */
static maas_status connect_node(const struct reader *r, struct node *node, const Onnx__Node *f)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        const char *name = reader_text(f->input[i]);
        node->inputs[i] = *name ? find(r, name) : NOBODY;
        if (*name && node->inputs[i] == NOBODY)
            return maas_fail(r->error, MAAS_E_INVALID,
                             "node '%.80s' (%.60s) takes '%.80s', which nobody makes", node->name,
                             node->op_name, name);
    }
    return MAAS_OK;
}

/* ---- the graph's own inputs and outputs */

static maas_status read_port(const struct reader *r, const Onnx__ValueInfo *f, struct port *out)
{
    const Onnx__TensorType *t = f->type ? f->type->tensor_type : NULL;
    const char *name = reader_text(f->name);
    if (!t || !type_size(t->elem_type))
        return maas_fail(r->error, MAAS_E_UNIMPLEMENTED,
                         "'%.80s' is no tensor of numbers, which alone is supported", name);
    out->value = find(r, name);
    if (out->value == NOBODY)
        return maas_fail(r->error, MAAS_E_INVALID, "the output '%.80s' is made by nobody", name);
    out->told.name = r->graph->values[out->value].name;
    out->told.type = t->elem_type;
    out->told.any_shape = !t->shape;
    if (!t->shape)
        return MAAS_OK;
    if (t->shape->n_dim > RANK_MAX)
        return maas_fail(r->error, MAAS_E_INVALID, "'%.80s' has more than %d dimensions", name,
                         RANK_MAX);
    out->told.shape.rank = (uint32_t)t->shape->n_dim;
    for (size_t i = 0; i < t->shape->n_dim; i++) {
        const Onnx__Dimension *d = t->shape->dim[i];
        if (d->has_dim_value && (d->dim_value < 0 || d->dim_value > INT32_MAX))
            return maas_fail(r->error, MAAS_E_INVALID, "'%.80s' has an extent of %lld", name,
                             (long long)d->dim_value);
        out->told.shape.dim[i] = d->has_dim_value ? d->dim_value : -1;
    }
    return MAAS_OK;
}

static maas_status read_ports(const struct reader *r, const Onnx__Graph *f)
{
    struct graph *g = r->graph;
    maas_status status = MAAS_OK;
    for (size_t i = 0; !status && i < f->n_input; i++) {
        const uint32_t value = find(r, reader_text(f->input[i]->name));
        if (value == NOBODY ||
            g->values[value].constant) /* an initialiser named as an input, too */
            continue;
        if (g->input_count == GRAPH_PORTS_MAX)
            return maas_fail(r->error, MAAS_E_INVALID, "the model has more than %d inputs",
                             GRAPH_PORTS_MAX);
        status = read_port(r, f->input[i], &g->inputs[g->input_count++]);
    }
    for (size_t i = 0; !status && i < f->n_output; i++)
        status = read_port(r, f->output[i], &g->outputs[g->output_count++]);
    return status;
}

/* An input that an initialiser gives a value is no input; others are values that nobody makes. */
static maas_status define_inputs(struct reader *r, const Onnx__Graph *f)
{
    maas_status status = sort_values(r); /* initialisers alone, so far */
    for (size_t i = 0; !status && i < f->n_input; i++)
        if (find(r, reader_text(f->input[i]->name)) == NOBODY)
            status = define(r, reader_text(f->input[i]->name), NOBODY, NULL, "an input");
    if (status)
        return status;
    /* what was sorted stays in front and is sorted again with the rest: indices stand in the
     * entries */
    return MAAS_OK;
}

static maas_status read_opset(struct reader *r)
{
    for (size_t i = 0; i < r->file->n_opset_import; i++) {
        const Onnx__OperatorSet *set = r->file->opset_import[i];
        const char *domain = reader_text(set->domain);
        if (*domain && strcmp(domain, "ai.onnx") != 0)
            continue;
        if (set->version < OPSET_MIN || set->version > OPSET_MAX)
            return maas_fail(r->error, MAAS_E_UNIMPLEMENTED, "opset %lld; %d to %d are supported",
                             (long long)set->version, OPSET_MIN, OPSET_MAX);
        r->graph->opset = (int32_t)set->version;
    }
    return r->graph->opset ? MAAS_OK
                           : maas_fail(r->error, MAAS_E_INVALID, "the model names no opset");
}

static maas_status take_tables(struct reader *r, const Onnx__Graph *f, size_t values)
{
    struct graph *g = r->graph;
    g->nodes = arena_take(&g->arena, f->n_node, sizeof(*g->nodes));
    g->values = arena_take(&g->arena, values, sizeof(*g->values));
    g->inputs = arena_take(&g->arena, GRAPH_PORTS_MAX, sizeof(*g->inputs));
    g->outputs = arena_take(&g->arena, GRAPH_PORTS_MAX, sizeof(*g->outputs));
    r->sorted = calloc(values + 1, sizeof(*r->sorted));
    g->node_count = (uint32_t)f->n_node;
    return g->nodes && g->values && g->inputs && g->outputs && r->sorted ? MAAS_OK
                                                                         : reader_no_memory(r);
}

static maas_status check_file(const struct reader *r, size_t *values)
{
    const Onnx__Graph *f = r->file->graph;
    if (!f)
        return maas_fail(r->error, MAAS_E_INVALID, "the file holds no graph");
    if (!count_values(f, values))
        return maas_fail(r->error, MAAS_E_INVALID, "the model has more than %d nodes or %d values",
                         GRAPH_NODES_MAX, GRAPH_VALUES_MAX);
    if (f->n_sparse_initializer)
        return maas_fail(r->error, MAAS_E_UNIMPLEMENTED, "sparse initialisers are not supported");
    if (!f->n_output || f->n_output > GRAPH_PORTS_MAX)
        return maas_fail(r->error, MAAS_E_INVALID, "the model has %zu outputs; 1 to %d are allowed",
                         f->n_output, GRAPH_PORTS_MAX);
    return MAAS_OK;
}

static maas_status take_over(struct reader *r)
{
    const Onnx__Graph *f = r->file->graph;
    size_t values = 0;
    maas_status status = check_file(r, &values);
    if (!status)
        status = read_opset(r);
    if (!status)
        status = take_tables(r, f, values);
    if (!status)
        status = define_initializers(r, f);
    if (!status)
        status = define_inputs(r, f);
    for (uint32_t i = 0; !status && i < f->n_node; i++)
        status = read_node(r, &r->graph->nodes[i], f->node[i]);
    if (!status)
        status = define_outputs(r, f);
    if (!status)
        status = sort_values(r);
    for (uint32_t i = 0; !status && i < f->n_node; i++)
        status = connect_node(r, &r->graph->nodes[i], f->node[i]);
    if (!status)
        status = read_ports(r, f);
    return status ? status : graph_order(r->graph, r->error);
}

/* ---- protobuf's memory, with a bound */

struct bounded {
    size_t used, most;
};

static void *bounded_take(void *state, size_t size)
{
    struct bounded *b = state;
    if (size > b->most - b->used)
        return NULL;
    b->used += size; /* not taken back: unpacking frees nothing that matters before its end */
    return malloc(size);
}

static void bounded_free(void *state, void *memory)
{
    (void)state;
    free(memory);
}

maas_status graph_parse(const void *bytes, size_t len, struct graph **out, maas_error *error)
{
    struct bounded bound = { 0, 3 * len + (64u << 20) };
    ProtobufCAllocator allocator = { bounded_take, bounded_free, &bound };
    if (len > GRAPH_FILE_MAX)
        return maas_fail(error, MAAS_E_INVALID, "the file is larger than %llu bytes",
                         (unsigned long long)GRAPH_FILE_MAX);
    struct graph *g = calloc(1, sizeof(*g));
    if (!g)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a graph");
    g->arena.most = 2 * len + (256u << 20);
    Onnx__Model *file = onnx__model__unpack(&allocator, len, bytes);
    struct reader r = { .graph = g, .file = file, .error = error };
    maas_status status =
        file ? take_over(&r)
             : maas_fail(error, MAAS_E_INVALID, "the file is no ONNX model, or is damaged");
    free(r.sorted);
    if (file)
        onnx__model__free_unpacked(file, &allocator);
    if (status)
        graph_free(g);
    else
        *out = g;
    return status;
}

maas_status graph_read(const char *path, struct graph **out, maas_error *error)
{
    struct stat what;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return maas_fail(error, errno == ENOENT ? MAAS_E_NOT_FOUND : MAAS_E_INTERNAL,
                         "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &what) || !S_ISREG(what.st_mode) || !what.st_size) {
        close(fd);
        return maas_fail(error, MAAS_E_INVALID, "'%s' is no file, or is empty", path);
    }
    const size_t len = (size_t)what.st_size;
    void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return maas_fail(error, MAAS_E_EXHAUSTED, "cannot map '%s': %s", path, strerror(errno));
    maas_status status = graph_parse(bytes, len, out, error);
    munmap(bytes, len);
    return status;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    arena_release(&g->arena);
    free(g);
}
