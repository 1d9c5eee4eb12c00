/*
 * reader.h: between the files that take an ONNX file over into a graph. [one thread]
 */
#ifndef GRAPH_READER_H
#define GRAPH_READER_H

#include "model.h"

struct Onnx__Model; /* onnx.pb-c.h, which protoc-c makes */
struct Onnx__Tensor;
struct Onnx__Attribute;

struct named_value {
    const char *name;
    uint32_t value;
};

struct reader {
    struct graph *graph;
    const struct Onnx__Model *file;
    struct named_value *sorted; /* of all values, by name */
    uint32_t defined;
    maas_error *error;
};

maas_status reader_no_memory(const struct reader *r);
const char *reader_text(const char *text); /* "" for NULL */
/* MAAS_E_INVALID: the name of `what` is too long, or has a control character. */
maas_status reader_check_name(const struct reader *r, const char *name, const char *what);
/* The tensor in the graph's arena, its data within the file and as many bytes as its shape says. */
maas_status reader_tensor(const struct reader *r, const struct Onnx__Tensor *t, struct tensor *out);
/* Adds an attribute to the node, which has room for it; one that is not supported is noted as what
 * the node is missing. */
maas_status reader_attribute(const struct reader *r, struct node *node,
                             const struct Onnx__Attribute *a);

#endif
