/*
 * tensor.c: data types, and tensors against the ports of a signature. The same check serves inputs
 * (the caller is wrong) and outputs (the plugin is).
 */
#include <string.h>

#include "engine/internal.h"

#define DIMENSIONS_MAX 8

static const struct {
    maas_dtype dtype;
    uint8_t bytes;
    const char *name; /* as the Open Inference Protocol spells it */
} dtypes[] = {
    { { MAAS_BOOL, 8, 1 }, 1, "BOOL" },    { { MAAS_UINT, 8, 1 }, 1, "UINT8" },
    { { MAAS_UINT, 16, 1 }, 2, "UINT16" }, { { MAAS_UINT, 32, 1 }, 4, "UINT32" },
    { { MAAS_UINT, 64, 1 }, 8, "UINT64" }, { { MAAS_INT, 8, 1 }, 1, "INT8" },
    { { MAAS_INT, 16, 1 }, 2, "INT16" },   { { MAAS_INT, 32, 1 }, 4, "INT32" },
    { { MAAS_INT, 64, 1 }, 8, "INT64" },   { { MAAS_FLOAT, 16, 1 }, 2, "FP16" },
    { { MAAS_FLOAT, 32, 1 }, 4, "FP32" },  { { MAAS_FLOAT, 64, 1 }, 8, "FP64" },
    { { MAAS_BFLOAT, 16, 1 }, 2, "BF16" }, { { MAAS_HANDLE, 128, 1 }, 16, "BYTES" },
};

static bool dtype_eq(maas_dtype a, maas_dtype b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

size_t dtype_bytes(maas_dtype dtype)
{
    for (size_t i = 0; i < COUNT_OF(dtypes); i++)
        if (dtype_eq(dtypes[i].dtype, dtype))
            return dtypes[i].bytes;
    return 0;
}

const char *dtype_name(maas_dtype dtype)
{
    for (size_t i = 0; i < COUNT_OF(dtypes); i++)
        if (dtype_eq(dtypes[i].dtype, dtype))
            return dtypes[i].name;
    return "?";
}

bool name_eq(maas_str a, maas_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Elements and bytes of a tensor whose dtype is known; false when the product overflows. */
static bool tensor_size(const maas_tensor *t, size_t *out_count, size_t *out_bytes)
{
    size_t count = 1;
    for (int32_t i = 0; i < t->ndim; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(count, (size_t)t->shape[i], &count))
            return false;
    *out_count = count;
    return !__builtin_mul_overflow(count, dtype_bytes(t->dtype), out_bytes);
}

static maas_status layout_fits(const maas_port *port, const maas_tensor *t, maas_error *error)
{
    size_t count, bytes;
    if (!tensor_size(t, &count, &bytes) || bytes > SIZE_MAX / 2)
        return fail(error, MAAS_E_INVALID, "'%s' has an impossible size", port->name.data);
    if (t->device_type != 1 || t->strides || t->byte_offset || (count && !t->data))
        return fail(error, MAAS_E_INVALID, "'%s' is not compact memory of the CPU",
                    port->name.data);
    return MAAS_OK;
}

maas_status tensor_fits(const maas_port *port, const maas_tensor *t, uint32_t rows,
                        maas_error *error)
{
    const char *name = port->name.data; /* the signature's copy ends with a NUL */
    if (!dtype_eq(t->dtype, port->dtype))
        return fail(error, MAAS_E_INVALID, "'%s' must be %s, not %s", name, dtype_name(port->dtype),
                    dtype_name(t->dtype));
    if (t->ndim != port->ndim || !t->shape)
        return fail(error, MAAS_E_INVALID, "'%s' must have %d dimensions, not %d", name, port->ndim,
                    t->ndim);
    if (t->shape[0] != rows)
        return fail(error, MAAS_E_INVALID, "'%s' must have %u rows, not %lld", name, rows,
                    (long long)t->shape[0]);
    for (int32_t i = 1; i < t->ndim; i++)
        if (port->shape[i] >= 0 && t->shape[i] != port->shape[i])
            return fail(error, MAAS_E_INVALID,
                        "'%s' must have extent %lld in dimension %d, not %lld", name,
                        (long long)port->shape[i], i, (long long)t->shape[i]);
    return layout_fits(port, t, error);
}

size_t tensor_row_bytes(const maas_tensor *t)
{
    size_t bytes = dtype_bytes(t->dtype);
    for (int32_t i = 1; i < t->ndim; i++)
        CHECK(!__builtin_mul_overflow(bytes, (size_t)t->shape[i], &bytes));
    return bytes;
}

maas_status tensor_copy(struct arena *arena, const maas_named *from, maas_named *to)
{
    const maas_tensor *t = &from->tensor;
    size_t count, bytes, shape_bytes = (size_t)t->ndim * sizeof(int64_t);
    CHECK(t->ndim <= DIMENSIONS_MAX && tensor_size(t, &count, &bytes));
    *to = *from;
    to->tensor.data = arena_alloc(arena, bytes, 64);
    to->tensor.shape = arena_alloc(arena, shape_bytes, 8);
    if (!to->tensor.data || !to->tensor.shape)
        return MAAS_E_EXHAUSTED;
    if (bytes)
        memcpy(to->tensor.data, t->data, bytes);
    memcpy(to->tensor.shape, t->shape, shape_bytes);
    maas_str *strings = to->tensor.data;
    for (size_t i = 0; t->dtype.code == MAAS_HANDLE && i < count; i++)
        if (!arena_text(arena, &strings[i]))
            return MAAS_E_EXHAUSTED;
    return MAAS_OK;
}
