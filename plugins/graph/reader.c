/*
 * reader.c: what a node or an initialiser holds: names, tensors in any of their spellings, and
 * attributes, which must be of the types that the operator's list gives them.
 */
#include "reader.h"

#include "onnx.pb-c.h"

#include <stdio.h>

enum { DATA_EXTERNAL = 1, ATTRIBUTE_GRAPH = 5, ATTRIBUTE_GRAPHS = 10 };

maas_status reader_no_memory(const struct reader *r)
{
    return maas_fail(r->error, MAAS_E_EXHAUSTED, "the model needs more memory than it may have");
}

const char *reader_text(const char *text)
{
    return text ? text : "";
}

maas_status reader_check_name(const struct reader *r, const char *name, const char *what)
{
    const size_t len = strnlen(reader_text(name), GRAPH_NAME_MAX + 1);
    if (len > GRAPH_NAME_MAX)
        return maas_fail(r->error, MAAS_E_INVALID, "the name of %s is longer than %d bytes", what,
                         GRAPH_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return maas_fail(r->error, MAAS_E_INVALID, "the name of %s has a control character",
                             what);
    return MAAS_OK;
}

/* ---- tensors */

/* Where the elements stand that are not raw, how many, and how wide each is there. */
struct spelled {
    const void *data;
    size_t count, width;
};

static struct spelled spelled_of(const Onnx__Tensor *t)
{
    switch (t->data_type) {
    case T_F32:
        return (struct spelled){ t->float_data, t->n_float_data, 4 };
    case T_F64:
        return (struct spelled){ t->double_data, t->n_double_data, 8 };
    case T_I64:
        return (struct spelled){ t->int64_data, t->n_int64_data, 8 };
    case T_U32:
    case T_U64:
        return (struct spelled){ t->uint64_data, t->n_uint64_data, 8 };
    default:
        return (struct spelled){ t->int32_data, t->n_int32_data, 4 };
    }
}

/* Little-endian: the low bytes of a wider number are the narrow one. */
static void narrow(uint8_t *out, const struct spelled *s, size_t width)
{
    for (size_t i = 0; i < s->count; i++)
        memcpy(out + i * width, (const uint8_t *)s->data + i * s->width, width);
}

static maas_status fill(const struct reader *r, struct tensor *out, const Onnx__Tensor *t,
                        const char *name)
{
    const size_t bytes = tensor_bytes(out), width = type_size(out->type);
    const struct spelled s = spelled_of(t);
    const size_t got = t->has_raw_data ? t->raw_data.len : s.count * width;
    if (got != bytes)
        return maas_fail(r->error, MAAS_E_INVALID,
                         "tensor '%s' has %zu bytes of data instead of %zu", name, got, bytes);
    out->data = arena_take(&r->graph->arena, bytes, 1);
    if (!out->data)
        return reader_no_memory(r);
    if (t->has_raw_data && bytes)
        memcpy(out->data, t->raw_data.data, bytes);
    else if (!t->has_raw_data)
        narrow(out->data, &s, width);
    if (out->type == T_BOOL)
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)out->data)[i] = ((uint8_t *)out->data)[i] != 0;
    r->graph->weights_bytes += bytes;
    return MAAS_OK;
}

static maas_status of_tensor(const struct reader *r, maas_status status, const char *name,
                             const maas_error *why)
{
    return maas_fail(r->error, status, "tensor '%s': %s", name, why->text);
}

maas_status reader_tensor(const struct reader *r, const Onnx__Tensor *t, struct tensor *out)
{
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = reader_check_name(r, t->name, "a tensor");
    const char *name = reader_text(t->name);
    if (status)
        return status;
    if (t->n_external_data || t->data_location == DATA_EXTERNAL)
        return maas_fail(r->error, MAAS_E_INVALID, "tensor '%s' has its data outside of the file",
                         name);
    if (t->n_dims > RANK_MAX)
        return maas_fail(r->error, MAAS_E_INVALID,
                         "tensor '%s' has %zu dimensions; at most %d are allowed", name, t->n_dims,
                         RANK_MAX);
    *out = (struct tensor){ .type = t->data_type, .shape.rank = (uint32_t)t->n_dims };
    for (size_t i = 0; i < t->n_dims; i++)
        out->shape.dim[i] = t->dims[i];
    status = shape_check(&out->shape, out->type, &why);
    return status ? of_tensor(r, status, name, &why) : fill(r, out, t, name);
}

/* ---- attributes */

/* The type that the operator's list gives a name; 0: it is not there. */
static int32_t listed(const char *list, const char *name)
{
    const size_t len = strlen(name);
    for (const char *at = list; at && *at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, name, len) == 0 && at[len] == ':') {
            static const char letters[] = "?fist?FIS";
            return (int32_t)(strchr(letters, at[len + 1]) - letters);
        }
    }
    return 0;
}

static maas_status read_texts(const struct reader *r, struct attribute *out,
                              const Onnx__Attribute *a)
{
    maas_str *texts = arena_take(&r->graph->arena, a->n_strings, sizeof(*texts));
    for (size_t i = 0; texts && i < a->n_strings; i++) {
        texts[i].data =
            arena_text(&r->graph->arena, (const char *)a->strings[i].data, a->strings[i].len);
        texts[i].len = a->strings[i].len;
        if (!texts[i].data)
            return reader_no_memory(r);
    }
    out->texts = texts;
    return texts ? MAAS_OK : reader_no_memory(r);
}

static const void *copied(const struct reader *r, const void *from, size_t count, size_t size)
{
    void *to = arena_take(&r->graph->arena, count, size);
    return to && count ? memcpy(to, from, count * size) : to;
}

static maas_status read_value(const struct reader *r, struct attribute *out,
                              const Onnx__Attribute *a)
{
    struct tensor *tensor;
    switch (out->type) {
    case A_FLOAT:
        out->real = a->f;
        return MAAS_OK;
    case A_INT:
        out->integer = a->i;
        return MAAS_OK;
    case A_TEXT:
        out->text.len = a->s.len;
        out->text.data = arena_text(&r->graph->arena, (const char *)a->s.data, a->s.len);
        return out->text.data ? MAAS_OK : reader_no_memory(r);
    case A_FLOATS:
        out->count = (uint32_t)a->n_floats;
        out->reals = copied(r, a->floats, a->n_floats, sizeof(float));
        return out->reals ? MAAS_OK : reader_no_memory(r);
    case A_INTS:
        out->count = (uint32_t)a->n_ints;
        out->integers = copied(r, a->ints, a->n_ints, sizeof(int64_t));
        return out->integers ? MAAS_OK : reader_no_memory(r);
    case A_TEXTS:
        out->count = (uint32_t)a->n_strings;
        return read_texts(r, out, a);
    default:
        tensor = arena_take(&r->graph->arena, 1, sizeof(*tensor));
        out->tensor = tensor;
        return !tensor ? reader_no_memory(r)
               : a->t  ? reader_tensor(r, a->t, tensor)
                       : maas_fail(r->error, MAAS_E_INVALID, "attribute '%s' holds no tensor",
                                   out->name);
    }
}

static const char *unsupported(const struct reader *r, const char *name, const char *why)
{
    char text[GRAPH_NAME_MAX + 80];
    const int len = snprintf(text, sizeof(text), "attribute '%s' %s", name, why);
    return arena_text(&r->graph->arena, text, (size_t)len);
}

maas_status reader_attribute(const struct reader *r, struct node *node, const Onnx__Attribute *a)
{
    maas_status status = reader_check_name(r, a->name, "an attribute");
    if (status)
        return status;
    struct attribute *out = &node->attributes[node->attribute_count];
    const int32_t type = listed(node->op->attributes, reader_text(a->name));
    if (a->type == ATTRIBUTE_GRAPH || a->type == ATTRIBUTE_GRAPHS || !type) {
        node->missing =
            unsupported(r, reader_text(a->name), type ? "holds a graph" : "is not supported");
        return node->missing ? MAAS_OK : reader_no_memory(r);
    }
    if (a->type != type)
        return maas_fail(r->error, MAAS_E_INVALID, "attribute '%s' is of type %d instead of %d",
                         a->name, a->type, type);
    for (uint32_t i = 0; i < node->attribute_count; i++)
        if (strcmp(node->attributes[i].name, a->name) == 0)
            return maas_fail(r->error, MAAS_E_INVALID, "attribute '%s' stands there twice",
                             a->name);
    out->name = arena_text(&r->graph->arena, a->name, strlen(a->name));
    out->type = type;
    node->attribute_count++;
    return out->name ? read_value(r, out, a) : reader_no_memory(r);
}
