/*
 * tensor.h: what an operator works on: a type, a shape, and compact memory in row-major order.
 * Types are numbered as in ONNX files. Pure. [any]
 */
#ifndef GRAPH_TENSOR_H
#define GRAPH_TENSOR_H

#include <maas/author.h>

#include <stdbool.h>

enum { RANK_MAX = 8 };
#define TENSOR_BYTES_MAX ((uint64_t)1 << 32)

enum tensor_type {
    T_NONE = 0, /* of an input that was left out */
    T_F32 = 1,
    T_U8 = 2,
    T_I8 = 3,
    T_U16 = 4,
    T_I16 = 5,
    T_I32 = 6,
    T_I64 = 7,
    T_BOOL = 9, /* a byte: 0 or 1 */
    T_F16 = 10,
    T_F64 = 11,
    T_U32 = 12,
    T_U64 = 13,
    T_BF16 = 16,
};

struct shape {
    uint32_t rank;
    int64_t dim[RANK_MAX]; /* 0 and up; -1 in a graph's own signature: free */
};

struct tensor {
    int32_t type; /* enum tensor_type */
    struct shape shape;
    void *data; /* aligned to 64 bytes; NULL: not known yet, or without an element */
};

/* Bytes of an element; 0: no type that is held here. */
size_t type_size(int32_t type);
const char *type_name(int32_t type); /* "float32" …; "?" */
bool type_is_float(int32_t type);    /* F32, F64, F16, BF16 */

/* Elements; a shape that was checked cannot overflow. The dimensions [from, to) alone: 1 where
 * there is none. */
size_t shape_count(const struct shape *s);
size_t shape_span(const struct shape *s, uint32_t from, uint32_t to);
bool shape_equal(const struct shape *a, const struct shape *b);
/* "[1, 3, ?, 224]" into text, cut where it is too long; returns text. */
const char *shape_text(const struct shape *s, char *text, size_t room);
/* MAAS_E_INVALID: an extent below 0, or more than TENSOR_BYTES_MAX bytes in all. */
maas_status shape_check(const struct shape *s, int32_t type, maas_error *error);
/* An axis that may count from the end: -rank … rank-1 (rank too, with `end`) into 0 …; false: it is
 * outside. */
bool shape_axis(const struct shape *s, int64_t axis, bool end, uint32_t *out);
/* ONNX' rule for two shapes side by side (numpy's); MAAS_E_INVALID: they do not fit. `out` may be
 * one of both. */
maas_status shape_broadcast(struct shape *out, const struct shape *a, const struct shape *b,
                            maas_error *error);

size_t tensor_count(const struct tensor *t);
size_t tensor_bytes(const struct tensor *t);
/* The element at `at` of any type, as a number; the data must be there. */
double tensor_real(const struct tensor *t, size_t at);
int64_t tensor_integer(const struct tensor *t, size_t at);

/* Half precision and bfloat16; to nearest, ties to even. */
float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value);
float bf16_to_f32(uint16_t half);
uint16_t f32_to_bf16(float value);

#endif
