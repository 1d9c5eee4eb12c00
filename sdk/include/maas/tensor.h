/*
 * maas/tensor.h: the frozen values of the ABI. Their layout never changes; each has a static
 * assertion on its size (LP64).
 */
#ifndef MAAS_TENSOR_H
#define MAAS_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define MAAS_STATIC_ASSERT(x, why) static_assert(x, why)
#else
#define MAAS_STATIC_ASSERT(x, why) _Static_assert(x, why)
#endif

/* UTF-8 bytes, not NUL-terminated. */
typedef struct maas_str {
    const char *data;
    uint64_t len;
} maas_str;

/* DLPack's type codes. A string tensor is {MAAS_HANDLE, 128, 1}: its elements are maas_str. */
enum {
    MAAS_INT = 0,
    MAAS_UINT = 1,
    MAAS_FLOAT = 2,
    MAAS_HANDLE = 3,
    MAAS_BFLOAT = 4,
    MAAS_BOOL = 6
};

typedef struct maas_dtype {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes; /* 1 */
} maas_dtype;

/*
 * Bit for bit DLPack's DLTensor, so it may be handed to any DLPack consumer. Stronger here: CPU
 * (device_type 1), compact row-major (strides NULL), byte_offset 0. What a plugin is given is
 * aligned to 64 bytes; what it emits needs its elements' own alignment only. A free extent may be
 * 0: then there is no element, and data may be NULL.
 */
typedef struct maas_tensor {
    void *data;
    int32_t device_type; /* 1: CPU */
    int32_t device_id;   /* 0 */
    int32_t ndim;
    maas_dtype dtype;
    int64_t *shape;   /* ndim extents */
    int64_t *strides; /* NULL */
    uint64_t byte_offset;
} maas_tensor;

typedef struct maas_named {
    maas_str name;
    maas_tensor tensor;
} maas_named;

/* An option's value, after the host checked it against its declaration. */
enum { MAAS_OPTION_INT = 1, MAAS_OPTION_FLOAT = 2, MAAS_OPTION_BOOL = 3, MAAS_OPTION_TEXT = 4 };

typedef struct maas_option {
    maas_str name;
    int32_t kind;    /* MAAS_OPTION_… : says which member holds it */
    int32_t given;   /* 1: by the caller, 0: the declared default */
    int64_t integer; /* INT; BOOL as 0 or 1 */
    double real;     /* FLOAT */
    maas_str text;   /* TEXT; NUL-terminated behind len as a courtesy */
} maas_option;

/*
 * Flags of a port. An optional input may be left out of a request; the plugin is given it all the
 * same: with its free extents besides the rows 0, so without an element, or, where only the rows
 * are free, filled with empty strings or zeros.
 */
enum { MAAS_PORT_OPTIONAL = 1 };

/* One input or output of a model. Extents of -1 are free; the first extent is the rows. */
typedef struct maas_port {
    maas_str name;
    maas_dtype dtype;
    int32_t ndim;
    const int64_t *shape;
    const maas_str
        *labels; /* names of the last extent's elements (feature names, class labels), or NULL */
    uint64_t label_count;
    uint64_t flags; /* MAAS_PORT_… of an input, or 0 */
} maas_port;

MAAS_STATIC_ASSERT(sizeof(void *) != 8 || sizeof(maas_str) == 16, "maas_str is frozen");
MAAS_STATIC_ASSERT(sizeof(maas_dtype) == 4, "maas_dtype is frozen");
MAAS_STATIC_ASSERT(sizeof(void *) != 8 || sizeof(maas_tensor) == 48, "maas_tensor is frozen");
MAAS_STATIC_ASSERT(sizeof(void *) != 8 || sizeof(maas_named) == 64, "maas_named is frozen");
MAAS_STATIC_ASSERT(sizeof(void *) != 8 || sizeof(maas_option) == 56, "maas_option is frozen");
MAAS_STATIC_ASSERT(sizeof(void *) != 8 || sizeof(maas_port) == 56, "maas_port is frozen");

#ifdef __cplusplus
}
#endif

#endif
