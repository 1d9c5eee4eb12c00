/*
 * tensor.c: types, shapes and half-wide floats. Sizes are multiplied in one place, shape_check, and
 * whatever passed it can be multiplied again without a look.
 */
#include "tensor.h"

#include <math.h>
#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [T_F32] = { "float32", 4 },   [T_U8] = { "uint8", 1 },   [T_I8] = { "int8", 1 },
    [T_U16] = { "uint16", 2 },    [T_I16] = { "int16", 2 },  [T_I32] = { "int32", 4 },
    [T_I64] = { "int64", 8 },     [T_BOOL] = { "bool", 1 },  [T_F16] = { "float16", 2 },
    [T_F64] = { "float64", 8 },   [T_U32] = { "uint32", 4 }, [T_U64] = { "uint64", 8 },
    [T_BF16] = { "bfloat16", 2 },
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

size_t type_size(int32_t type)
{
    return type > 0 && type < TYPES ? types[type].size : 0;
}

const char *type_name(int32_t type)
{
    return type_size(type) ? types[type].name : "?";
}

bool type_is_float(int32_t type)
{
    return type == T_F32 || type == T_F64 || type == T_F16 || type == T_BF16;
}

size_t shape_span(const struct shape *s, uint32_t from, uint32_t to)
{
    size_t count = 1;
    for (uint32_t i = from; i < to; i++)
        count *= (size_t)s->dim[i];
    return count;
}

size_t shape_count(const struct shape *s)
{
    return shape_span(s, 0, s->rank);
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof(a->dim[0])) == 0;
}

const char *shape_text(const struct shape *s, char *text, size_t room)
{
    size_t at = (size_t)snprintf(text, room, "[");
    for (uint32_t i = 0; i < s->rank && at < room; i++)
        at += (size_t)(s->dim[i] < 0 ? snprintf(text + at, room - at, i ? ", ?" : "?")
                                     : snprintf(text + at, room - at, "%s%lld", i ? ", " : "",
                                                (long long)s->dim[i]));
    if (at < room)
        snprintf(text + at, room - at, "]");
    return text;
}

maas_status shape_check(const struct shape *s, int32_t type, maas_error *error)
{
    uint64_t bytes = type_size(type), spans = bytes;
    if (!bytes)
        return maas_fail(error, MAAS_E_UNIMPLEMENTED, "elements of type %d are not supported",
                         type);
    if (s->rank > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "%u dimensions; at most %d are allowed", s->rank,
                         RANK_MAX);
    for (uint32_t i = 0; i < s->rank; i++) {
        const int64_t extent = s->dim[i];
        /* spans: of the extents that are not 0, so that parts of a shape cannot overflow, too */
        if (extent < 0 || __builtin_mul_overflow(spans, extent ? (uint64_t)extent : 1, &spans) ||
            spans > TENSOR_BYTES_MAX) {
            char text[120];
            return maas_fail(error, MAAS_E_INVALID, "shape %s is no size a tensor can have",
                             shape_text(s, text, sizeof(text)));
        }
    }
    return MAAS_OK;
}

bool shape_axis(const struct shape *s, int64_t axis, bool end, uint32_t *out)
{
    const int64_t rank = s->rank;
    if (axis < -rank || axis >= rank + end)
        return false;
    *out = (uint32_t)(axis < 0 ? axis + rank : axis);
    return true;
}

maas_status shape_broadcast(struct shape *out, const struct shape *a, const struct shape *b,
                            maas_error *error)
{
    struct shape made = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (uint32_t i = 0; i < made.rank; i++) { /* from the last dimension */
        const int64_t x = i < a->rank ? a->dim[a->rank - 1 - i] : 1;
        const int64_t y = i < b->rank ? b->dim[b->rank - 1 - i] : 1;
        if (x != y && x != 1 && y != 1) {
            char left[80], right[80];
            return maas_fail(error, MAAS_E_INVALID, "shapes %s and %s do not fit together",
                             shape_text(a, left, sizeof(left)),
                             shape_text(b, right, sizeof(right)));
        }
        made.dim[made.rank - 1 - i] = x == 1 ? y : x;
    }
    *out = made;
    return MAAS_OK;
}

size_t tensor_count(const struct tensor *t)
{
    return shape_count(&t->shape);
}

size_t tensor_bytes(const struct tensor *t)
{
    return tensor_count(t) * type_size(t->type);
}

double tensor_real(const struct tensor *t, size_t at)
{
    switch (t->type) {
    case T_F32:
        return ((const float *)t->data)[at];
    case T_F64:
        return ((const double *)t->data)[at];
    case T_F16:
        return f16_to_f32(((const uint16_t *)t->data)[at]);
    case T_BF16:
        return bf16_to_f32(((const uint16_t *)t->data)[at]);
    case T_U64:
        return (double)((const uint64_t *)t->data)[at];
    default:
        return (double)tensor_integer(t, at);
    }
}

static int64_t saturated(double real)
{
    if (!(real > -0x1p63))
        return isnan(real) ? 0 : INT64_MIN;
    return real < 0x1p63 ? (int64_t)real : INT64_MAX;
}

int64_t tensor_integer(const struct tensor *t, size_t at)
{
    switch (t->type) {
    case T_I64:
        return ((const int64_t *)t->data)[at];
    case T_I32:
        return ((const int32_t *)t->data)[at];
    case T_I16:
        return ((const int16_t *)t->data)[at];
    case T_I8:
        return ((const int8_t *)t->data)[at];
    case T_U64:
        return (int64_t)((const uint64_t *)t->data)[at];
    case T_U32:
        return ((const uint32_t *)t->data)[at];
    case T_U16:
        return ((const uint16_t *)t->data)[at];
    case T_U8:
    case T_BOOL:
        return ((const uint8_t *)t->data)[at];
    default:
        return saturated(tensor_real(t, at));
    }
}

/* ---- half-wide floats */

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31;
    const uint32_t fraction = half & 0x3ff;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent)
        return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
}

uint16_t f32_to_f16(float value)
{
    const uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000;
    const uint32_t rest = bits & 0x7fffffff;
    if (rest >= 0x7f800000)
        return (uint16_t)(sign | 0x7c00 | (rest > 0x7f800000 ? 0x200 : 0));
    if (rest >= 0x477ff000) /* 65520 and up */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) /* below the least normal half: whole multiples of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f));
    const uint32_t rounded = rest + 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

float bf16_to_f32(uint16_t half)
{
    return from_bits((uint32_t)half << 16);
}

uint16_t f32_to_bf16(float value)
{
    const uint32_t bits = to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
