/*
 * datatype.c: one table of datatypes (the ABI's code and bits, v2's name, the cell JSON is read
 * into) and how one element is written.
 */
#include <string.h>

#include "codec/parts.h"

#define HANDLE_BITS 128
#define CHUNK       64 /* cells that are written into one piece of the buffer */

static const struct datatype DATATYPES[] = {
    { "FP64", { MAAS_FLOAT, 64, 1 }, true, JSON_CELL_F64, 8 },
    { "FP32", { MAAS_FLOAT, 32, 1 }, true, JSON_CELL_F32, 4 },
    { "FP16", { MAAS_FLOAT, 16, 1 }, false, JSON_CELL_F32, 2 },
    { "BF16", { MAAS_BFLOAT, 16, 1 }, false, JSON_CELL_F32, 2 },
    { "INT64", { MAAS_INT, 64, 1 }, true, JSON_CELL_I64, 8 },
    { "INT32", { MAAS_INT, 32, 1 }, true, JSON_CELL_I32, 4 },
    { "INT16", { MAAS_INT, 16, 1 }, true, JSON_CELL_I16, 2 },
    { "INT8", { MAAS_INT, 8, 1 }, true, JSON_CELL_I8, 1 },
    { "UINT64", { MAAS_UINT, 64, 1 }, true, JSON_CELL_U64, 8 },
    { "UINT32", { MAAS_UINT, 32, 1 }, true, JSON_CELL_U32, 4 },
    { "UINT16", { MAAS_UINT, 16, 1 }, true, JSON_CELL_U16, 2 },
    { "UINT8", { MAAS_UINT, 8, 1 }, true, JSON_CELL_U8, 1 },
    { "BOOL", { MAAS_BOOL, 8, 1 }, true, JSON_CELL_BOOL, 1 },
    { "BYTES", { MAAS_HANDLE, HANDLE_BITS, 1 }, true, JSON_CELL_STRING, sizeof(maas_str) },
};

/* JSON's strings are written where the ABI's are read. */
_Static_assert(sizeof(struct str) == sizeof(maas_str) &&
                   offsetof(struct str, len) == offsetof(maas_str, len),
               "struct str and maas_str are the same two words");

const struct datatype *datatype_of(maas_dtype dtype)
{
    for (size_t i = 0; i < COUNT_OF(DATATYPES); i++)
        if (DATATYPES[i].dtype.code == dtype.code && DATATYPES[i].dtype.bits == dtype.bits)
            return &DATATYPES[i];
    return NULL;
}

const struct datatype *datatype_named(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(DATATYPES); i++)
        if (str_eq(name, str_of(DATATYPES[i].name)))
            return &DATATYPES[i];
    return NULL;
}

/* Integer cells, widened. */
static int64_t signed_at(const struct datatype *type, const void *data, size_t index)
{
    switch (type->cell) {
    case JSON_CELL_I8:
        return ((const int8_t *)data)[index];
    case JSON_CELL_I16:
        return ((const int16_t *)data)[index];
    case JSON_CELL_I32:
        return ((const int32_t *)data)[index];
    default:
        return ((const int64_t *)data)[index];
    }
}

static uint64_t unsigned_at(const struct datatype *type, const void *data, size_t index)
{
    switch (type->cell) {
    case JSON_CELL_U8:
        return ((const uint8_t *)data)[index];
    case JSON_CELL_U16:
        return ((const uint16_t *)data)[index];
    case JSON_CELL_U32:
        return ((const uint32_t *)data)[index];
    default:
        return ((const uint64_t *)data)[index];
    }
}

/* A number or a boolean as JSON; the length, 0 for NaN, infinity and what has no such form. */
static size_t cell_text(const struct datatype *type, const void *data, size_t index,
                        char text[JSON_NUMBER_MAX])
{
    switch (type->cell) {
    case JSON_CELL_F64:
        return json_format_f64(((const double *)data)[index], text);
    case JSON_CELL_F32:
        return json_format_f32(((const float *)data)[index], text);
    case JSON_CELL_BOOL:
        memcpy(text, ((const uint8_t *)data)[index] ? "true" : "false", 5);
        return ((const uint8_t *)data)[index] ? 4 : 5;
    case JSON_CELL_I8:
    case JSON_CELL_I16:
    case JSON_CELL_I32:
    case JSON_CELL_I64:
        return json_format_i64(signed_at(type, data, index), text);
    case JSON_CELL_U8:
    case JSON_CELL_U16:
    case JSON_CELL_U32:
    case JSON_CELL_U64:
        return (size_t)(text_uint(text, unsigned_at(type, data, index)) - text);
    case JSON_CELL_STRING:
        break;
    }
    return 0;
}

bool cell_write(struct buf *out, const struct datatype *type, const void *data, size_t index)
{
    char text[JSON_NUMBER_MAX];
    if (type->cell == JSON_CELL_STRING) {
        buf_json(out, str_from(((const maas_str *)data)[index]));
        return true;
    }
    size_t len = type->json ? cell_text(type, data, index, text) : 0;
    buf_add(out, text, len);
    return len != 0;
}

/* Numbers [*at, end) into one piece of the buffer, each with a comma behind. False: not finite. */
static bool write_chunk(struct buf *out, const struct datatype *type, const void *data, size_t *at,
                        size_t end)
{
    char *from = buf_space(out, (end - *at) * (JSON_NUMBER_MAX + 1)), *to = from;
    for (; from && *at < end; (*at)++) {
        size_t len = cell_text(type, data, *at, to);
        if (len == 0)
            return false;
        to += len;
        *to++ = ',';
    }
    buf_take(out, (size_t)(to - from));
    return true;
}

bool cells_write(struct buf *out, const struct datatype *type, const void *data, size_t count,
                 size_t *out_at)
{
    size_t *at = out_at;
    for (*at = 0; *at < count && !out->failed;) {
        size_t chunk = count - *at < CHUNK ? count - *at : CHUNK, before = *at;
        if (type->json && type->cell != JSON_CELL_STRING &&
            !write_chunk(out, type, data, at, *at + chunk))
            return false;
        if (*at == before) { /* texts, or little room is left */
            if (!cell_write(out, type, data, *at))
                return false;
            buf_add(out, ",", 1);
            ++*at;
        }
    }
    if (count && !out->failed)
        out->len--; /* the last comma */
    return true;
}
