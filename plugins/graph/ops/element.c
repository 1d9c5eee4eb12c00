/*
 * element.c: see element.h.
 */
#include "element.h"

#include <math.h>

/* [least, most] hold every value of the type that is an integer. */
static double bounded(double value, double least, double most)
{
    if (isnan(value))
        return 0;
    return value < least ? least : value > most ? most : value;
}

void element_put_real(const struct tensor *t, size_t at, double value)
{
    switch (t->type) {
    case T_F32:
        ((float *)t->data)[at] = (float)value;
        break;
    case T_F64:
        ((double *)t->data)[at] = value;
        break;
    case T_F16:
        ((uint16_t *)t->data)[at] = f32_to_f16((float)value);
        break;
    case T_BF16:
        ((uint16_t *)t->data)[at] = f32_to_bf16((float)value);
        break;
    case T_U8:
        ((uint8_t *)t->data)[at] = (uint8_t)bounded(value, 0, UINT8_MAX);
        break;
    case T_I8:
        ((int8_t *)t->data)[at] = (int8_t)bounded(value, INT8_MIN, INT8_MAX);
        break;
    case T_U16:
        ((uint16_t *)t->data)[at] = (uint16_t)bounded(value, 0, UINT16_MAX);
        break;
    case T_I16:
        ((int16_t *)t->data)[at] = (int16_t)bounded(value, INT16_MIN, INT16_MAX);
        break;
    case T_U32:
        ((uint32_t *)t->data)[at] = (uint32_t)bounded(value, 0, UINT32_MAX);
        break;
    case T_I32:
        ((int32_t *)t->data)[at] = (int32_t)bounded(value, INT32_MIN, INT32_MAX);
        break;
    case T_U64:
        ((uint64_t *)t->data)[at] =
            value >= 0x1p64 ? UINT64_MAX : (uint64_t)bounded(value, 0, 0x1p64);
        break;
    case T_I64:
        ((int64_t *)t->data)[at] =
            value >= 0x1p63 ? INT64_MAX : (int64_t)bounded(value, -0x1p63, 0x1p63);
        break;
    default:
        ((uint8_t *)t->data)[at] = value != 0;
    }
}

void element_put_integer(const struct tensor *t, size_t at, int64_t value)
{
    if (type_is_float(t->type)) {
        element_put_real(t, at, (double)value);
        return;
    }
    if (t->type == T_BOOL)
        value = value != 0;
    switch (type_size(t->type)) {
    case 1:
        ((uint8_t *)t->data)[at] = (uint8_t)value;
        break;
    case 2:
        ((uint16_t *)t->data)[at] = (uint16_t)value;
        break;
    case 4:
        ((uint32_t *)t->data)[at] = (uint32_t)value;
        break;
    default:
        ((uint64_t *)t->data)[at] = (uint64_t)value;
    }
}

#define COPY(type)                                                                                 \
    for (size_t i = 0; i < count; i++)                                                             \
    ((type *)to)[i] = ((const type *)from)[i * step]

void element_copy(void *to, const void *from, size_t count, size_t step, size_t size)
{
    if (step == 1)
        memcpy(to, from, count * size);
    else if (size == 4)
        COPY(uint32_t);
    else if (size == 8)
        COPY(uint64_t);
    else if (size == 2)
        COPY(uint16_t);
    else
        COPY(uint8_t);
}
