/*
 * operator.h: what an operator is: its rule for shapes and its kernel. Each family of them is one
 * file in ops/, which ends with its table; operators.c lists the families. Nothing else in this
 * library knows an operator by name but the passes that fuse.
 *
 *   shape  is called once when a plan is made. It checks inputs and attributes, and sets type and
 *          shape of each output, and space_bytes where the kernel needs work space. An input's data
 *          is there only where it is constant; what the shape hangs on must be (call_constant).
 *   run    is called for each inference with all memory there; it takes none of its own. It fails
 *          only for values that the operator forbids (an index outside).
 *
 * Both are pure. [any]
 */
#ifndef GRAPH_OPERATOR_H
#define GRAPH_OPERATOR_H

#include "tensor.h"

enum {
    CALL_IO_MAX = 256, /* inputs, and outputs, of one node */
    OPSET_MIN =
        6, /* 7 is promised; files of 6 differ in a few attributes, which are refused by name */
    OPSET_MAX = 17,
};

enum attribute_type {
    A_FLOAT = 1, /* numbered as in ONNX files */
    A_INT = 2,
    A_TEXT = 3,
    A_TENSOR = 4,
    A_FLOATS = 6,
    A_INTS = 7,
    A_TEXTS = 8,
};

struct attribute {
    const char *name;
    int32_t type; /* enum attribute_type */
    uint32_t count;
    int64_t integer;
    float real;
    maas_str text;
    const int64_t *integers; /* count */
    const float *reals;      /* count */
    const maas_str *texts;   /* count */
    const struct tensor *tensor;
};

struct call {
    const struct attribute *attributes;
    uint32_t attribute_count;
    int32_t opset;
    uint32_t input_count, output_count;
    struct tensor **in;  /* NULL: left out */
    struct tensor **out; /* NULL: nobody wants it */
    size_t space_bytes;  /* set by shape; 0 at first */
    void *space;         /* aligned to 64 bytes; not kept from one run to the next */
};

enum operator_flags {
    OP_VIEW = 1, /* out[0] is in[0]'s bytes under another shape: the kernel copies where they are
                    not the same memory */
    OP_FLAT =
        2, /* each element of out[0] hangs on the element in the same place of inputs of the
              same shape alone, and 0 stays 0 or places may be in any order: any layout will do */
    OP_SHAPE_ALONE = 8, /* its outputs hang on its inputs' shapes alone */
    OP_IN_PLACE = 4,    /* out[0] may stand in the memory of in[0], of the same size */
};

struct operator
{
    const char *name;
    /* Attributes that may be there, "name:type name:type", with types i s f t I F S for INT, TEXT,
     * FLOAT, TENSOR, INTS, FLOATS, TEXTS; the loader refuses others. */
    const char *attributes;
    uint16_t least_in, most_in, least_out, most_out;
    uint16_t since; /* opset from which it is as here; 0: OPSET_MIN */
    uint16_t flags;
    maas_status (*shape)(struct call * c, maas_error * error);
    maas_status (*run)(const struct call *c, maas_error *error);
};

/* NULL: not known. Names are of ONNX' own domain. */
const struct operator* operator_find(const char *name, size_t len);

/* ---- what shape rules and kernels read and say */

const struct attribute *call_attribute(const struct call *c, const char *name); /* NULL: not set */
int64_t call_int(const struct call *c, const char *name, int64_t fallback);
float call_float(const struct call *c, const char *name, float fallback);
bool call_text_is(const struct call *c, const char *name, const char *text, bool fallback);
/* NULL and 0: not set. */
const int64_t *call_ints(const struct call *c, const char *name, uint32_t *count);

bool call_has(const struct call *c, uint32_t input);
/* MAAS_E_INVALID: input is not of that type (T_NONE: of any float type), or is left out. */
maas_status call_type(const struct call *c, uint32_t input, int32_t type, maas_error *error);
/* MAAS_E_PRECONDITION: the input's value must be known when the model is planned, and is not. */
maas_status call_constant(const struct call *c, uint32_t input, maas_error *error);
/* The constant integers of a vector or scalar (INT32 or INT64): at most `room`. */
maas_status call_integers(const struct call *c, uint32_t input, int64_t *out, uint32_t room,
                          uint32_t *count, maas_error *error);
/* Sets an output that somebody wants, and checks its size. */
maas_status call_out(struct call *c, uint32_t output, int32_t type, const struct shape *shape,
                     maas_error *error);
/* The commonest rule: output 0 is as input 0. */
maas_status shape_same(struct call *c, maas_error *error);
/* … and input 0 is FP32, FP64, FP16 or BF16. */
maas_status shape_same_float(struct call *c, maas_error *error);

#endif
