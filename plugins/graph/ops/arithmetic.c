/*
 * arithmetic.c: operations of two numbers, broadcast, and sums, means and extremes of many. A loop
 * for each type is made by macros; float16 and bfloat16 go through float.
 */
#include "families.h"

#include <math.h>

#include "broadcast.h"
#include "element.h"

/* ---- the loops: a run of `count` elements, inputs at steps of 0 or 1 */

typedef bool loop_fn(void *y, const void *a, const void *b, size_t count, size_t sa, size_t sb);

#define LOOP(name, type, body)                                                                     \
    static bool name(void *out, const void *left, const void *right, size_t count, size_t sa,      \
                     size_t sb)                                                                    \
    {                                                                                              \
        type *y = out;                                                                             \
        const type *p = left, *q = right;                                                          \
        if (sa == 1 && sb == 1)                                                                    \
            for (size_t i = 0; i < count; i++) {                                                   \
                const type a = p[i], b = q[i];                                                     \
                y[i] = (type)(body);                                                               \
            }                                                                                      \
        else                                                                                       \
            for (size_t i = 0; i < count; i++) {                                                   \
                const type a = p[i * sa], b = q[i * sb];                                           \
                y[i] = (type)(body);                                                               \
            }                                                                                      \
        return true;                                                                               \
    }

/* Integers wrap: they are added as unsigned ones of the same width, at least of int's. */
#define WRAPS(name, op)                                                                            \
    LOOP(name##_u8, uint8_t, (unsigned)a op(unsigned) b)                                           \
    LOOP(name##_u16, uint16_t, (unsigned)a op(unsigned) b)                                         \
    LOOP(name##_u32, uint32_t, a op b)                                                             \
    LOOP(name##_u64, uint64_t, a op b)                                                             \
    LOOP(name##_f32, float, a op b)                                                                \
    LOOP(name##_f64, double, a op b)
WRAPS(add, +)
WRAPS(sub, -)
WRAPS(mul, *)
LOOP(div_f32, float, a / b)
LOOP(div_f64, double, a / b)
LOOP(max_f32, float, a > b || a != a ? a : b)
LOOP(max_f64, double, a > b || isnan(a) ? a : b)
LOOP(min_f32, float, a < b || a != a ? a : b)
LOOP(min_f64, double, a < b || isnan(a) ? a : b)
LOOP(pow_f32, float, powf(a, b))
LOOP(pow_f64, double, pow(a, b))
LOOP(fmod_f32, float, fmodf(a, b))
LOOP(fmod_f64, double, fmod(a, b))

/* What can fail: division by zero. Signed ones are divided as int64, the least of which by -1 is
 * itself, as wrapping says: `negated`, or no rest. */
#define DIVIDES(name, type, wide, special, body)                                                   \
    static bool name(void *out, const void *left, const void *right, size_t count, size_t sa,      \
                     size_t sb)                                                                    \
    {                                                                                              \
        type *y = out;                                                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            const wide a = ((const type *)left)[i * sa], b = ((const type *)right)[i * sb];        \
            if (!b)                                                                                \
                return false;                                                                      \
            y[i] = (type)(special body);                                                           \
        }                                                                                          \
        return true;                                                                               \
    }
#define EXTREMES(type, tag)                                                                        \
    LOOP(max_##tag, type, a > b ? a : b)                                                           \
    LOOP(min_##tag, type, a < b ? a : b)
#define DIVIDE_SIGNED(type, tag)                                                                   \
    DIVIDES(div_##tag, type, int64_t, b == -1 ? (int64_t)(0 - (uint64_t)a) :, a / b)               \
    DIVIDES(rem_##tag, type, int64_t, b == -1 ? 0 :, a % b)                                        \
    DIVIDES(mod_##tag, type, int64_t, b == -1 ? 0 :,                                               \
            a % b != 0 && ((a % b < 0) != (b < 0)) ? a % b + b : a % b)                            \
    EXTREMES(type, tag)
#define DIVIDE_UNSIGNED(type, tag)                                                                 \
    DIVIDES(div_##tag, type, uint64_t, , a / b)                                                    \
    DIVIDES(mod_##tag, type, uint64_t, , a % b)                                                    \
    EXTREMES(type, tag)
DIVIDE_SIGNED(int8_t, i8)
DIVIDE_SIGNED(int16_t, i16)
DIVIDE_SIGNED(int32_t, i32)
DIVIDE_SIGNED(int64_t, i64)
DIVIDE_UNSIGNED(uint8_t, u8)
DIVIDE_UNSIGNED(uint16_t, u16)
DIVIDE_UNSIGNED(uint32_t, u32)
DIVIDE_UNSIGNED(uint64_t, u64)

struct loops {
    loop_fn *of[T_U64 + 1]; /* by type */
};
#define INTEGERS(name)                                                                             \
    [T_U8] = name##_u8, [T_I8] = name##_i8, [T_U16] = name##_u16, [T_I16] = name##_i16,            \
    [T_U32] = name##_u32, [T_I32] = name##_i32, [T_U64] = name##_u64, [T_I64] = name##_i64
#define WRAPPING(name)                                                                             \
    [T_U8] = name##_u8, [T_I8] = name##_u8, [T_U16] = name##_u16, [T_I16] = name##_u16,            \
    [T_U32] = name##_u32, [T_I32] = name##_u32, [T_U64] = name##_u64, [T_I64] = name##_u64
#define FLOATS(name) [T_F32] = name##_f32, [T_F64] = name##_f64
static const struct loops adds = { { WRAPPING(add), FLOATS(add) } };
static const struct loops subs = { { WRAPPING(sub), FLOATS(sub) } };
static const struct loops muls = { { WRAPPING(mul), FLOATS(mul) } };
static const struct loops divs = { { INTEGERS(div), FLOATS(div) } };
static const struct loops maxes = { { INTEGERS(max), FLOATS(max) } };
static const struct loops mins = { { INTEGERS(min), FLOATS(min) } };
static const struct loops mods = { { INTEGERS(mod), FLOATS(fmod) } };
static const struct loops rems = { { [T_U8] = mod_u8,
                                     [T_I8] = rem_i8,
                                     [T_U16] = mod_u16,
                                     [T_I16] = rem_i16,
                                     [T_U32] = mod_u32,
                                     [T_I32] = rem_i32,
                                     [T_U64] = mod_u64,
                                     [T_I64] = rem_i64,
                                     FLOATS(fmod) } };
static const struct loops pows = { { FLOATS(pow) } };

/* ---- running them */

static bool is_half(int32_t type)
{
    return type == T_F16 || type == T_BF16;
}

/* One element by the float loop. */
static bool half_run(const struct loops *l, const struct tensor *y, size_t y_at,
                     const struct tensor *a, size_t a_at, const struct tensor *b, size_t b_at)
{
    const float left = (float)tensor_real(a, a_at), right = (float)tensor_real(b, b_at);
    float made;
    if (!l->of[T_F32](&made, &left, &right, 1, 1, 1))
        return false;
    element_put_real(y, y_at, (double)made);
    return true;
}

static maas_status combine(const struct loops *l, const struct tensor *y, const struct tensor *left,
                           const struct tensor *right, maas_error *error)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor *in[] = { left, right };
    const size_t size = type_size(y->type);
    bool good = true;
    broadcast_init(&b, &y->shape, in, 2);
    const size_t sa = b.step[0][b.shape.rank - 1], sb = b.step[1][b.shape.rank - 1];
    for (size_t r = 0; good && r < b.runs; r++) {
        broadcast_run(&b, r, at);
        if (!is_half(y->type))
            good = l->of[y->type]((char *)y->data + r * b.run * size,
                                  (const char *)left->data + at[0] * size,
                                  (const char *)right->data + at[1] * size, b.run, sa, sb);
        else
            for (size_t i = 0; good && i < b.run; i++)
                good = half_run(l, y, r * b.run + i, left, at[0] + i * sa, right, at[1] + i * sb);
    }
    return good ? MAAS_OK : maas_fail(error, MAAS_E_INVALID, "an integer is divided by zero");
}

static maas_status supported(const struct loops *l, int32_t type, maas_error *error)
{
    if (is_half(type) || (type > 0 && type <= T_U64 && l->of[type]))
        return MAAS_OK;
    return maas_fail(error, MAAS_E_INVALID, "inputs are of type %s", type_name(type));
}

static maas_status shape_two(struct call *c, const struct loops *l, maas_error *error)
{
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = call_type(c, 1, c->in[0]->type, error);
    if (!status)
        status = supported(l, c->in[0]->type, error);
    return status ? status : broadcast_shape(c, 0, 2, c->in[0]->type, error);
}

#define BINARY(name, loops)                                                                        \
    static maas_status shape_##name(struct call *c, maas_error *error)                             \
    {                                                                                              \
        return shape_two(c, &loops, error);                                                        \
    }                                                                                              \
    static maas_status run_##name(const struct call *c, maas_error *error)                         \
    {                                                                                              \
        return combine(&loops, c->out[0], c->in[0], c->in[1], error);                              \
    }
BINARY(add, adds)
BINARY(sub, subs)
BINARY(mul, muls)
BINARY(div, divs)

/* ---- Mod: fmod 1 keeps the sign of the dividend, 0 that of the divisor */

static maas_status shape_mod(struct call *c, maas_error *error)
{
    maas_status status = shape_two(c, &mods, error);
    if (!status && type_is_float(c->in[0]->type) && !call_int(c, "fmod", 0))
        status = maas_fail(error, MAAS_E_INVALID, "attribute 'fmod' must be 1 for floats");
    return status;
}

static maas_status run_mod(const struct call *c, maas_error *error)
{
    return combine(call_int(c, "fmod", 0) ? &rems : &mods, c->out[0], c->in[0], c->in[1], error);
}

/* ---- Pow: base and exponent may be of different types; the result is of the base's */

static maas_status shape_pow(struct call *c, maas_error *error)
{
    if (!call_has(c, 0) || !call_has(c, 1) || c->in[0]->type == T_BOOL || c->in[1]->type == T_BOOL)
        return maas_fail(error, MAAS_E_INVALID, "an input is missing, or of type bool");
    return broadcast_shape(c, 0, 2, c->in[0]->type, error);
}

static int64_t integer_power(int64_t base, int64_t exponent)
{
    uint64_t power = 1, square = (uint64_t)base;
    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    for (; exponent; exponent >>= 1, square *= square)
        power *= exponent & 1 ? square : 1;
    return (int64_t)power;
}

static maas_status run_pow(const struct call *c, maas_error *error)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor *in[] = { c->in[0], c->in[1] };
    if (in[0]->type == in[1]->type && (in[0]->type == T_F32 || in[0]->type == T_F64))
        return combine(&pows, c->out[0], in[0], in[1], error);
    broadcast_init(&b, &c->out[0]->shape, in, 2);
    const size_t sa = b.step[0][b.shape.rank - 1], sb = b.step[1][b.shape.rank - 1];
    const bool whole = !type_is_float(in[0]->type) && !type_is_float(in[1]->type);
    for (size_t r = 0; r < b.runs; r++) {
        broadcast_run(&b, r, at);
        for (size_t i = 0; i < b.run; i++)
            if (whole)
                element_put_integer(c->out[0], r * b.run + i,
                                    integer_power(tensor_integer(in[0], at[0] + i * sa),
                                                  tensor_integer(in[1], at[1] + i * sb)));
            else
                element_put_real(
                    c->out[0], r * b.run + i,
                    pow(tensor_real(in[0], at[0] + i * sa), tensor_real(in[1], at[1] + i * sb)));
    }
    return MAAS_OK;
}

/* ---- BitShift */

static maas_status shape_shift(struct call *c, maas_error *error)
{
    if (!call_has(c, 0) || (c->in[0]->type != T_U8 && c->in[0]->type != T_U16 &&
                            c->in[0]->type != T_U32 && c->in[0]->type != T_U64))
        return maas_fail(error, MAAS_E_INVALID, "input 0 must be of an unsigned type");
    if (!call_text_is(c, "direction", "LEFT", false) &&
        !call_text_is(c, "direction", "RIGHT", false))
        return maas_fail(error, MAAS_E_INVALID, "attribute 'direction' must be LEFT or RIGHT");
    maas_status status = call_type(c, 1, c->in[0]->type, error);
    return status ? status : broadcast_shape(c, 0, 2, c->in[0]->type, error);
}

static maas_status run_shift(const struct call *c, maas_error *error)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor *in[] = { c->in[0], c->in[1] };
    const bool left = call_text_is(c, "direction", "LEFT", false);
    (void)error;
    broadcast_init(&b, &c->out[0]->shape, in, 2);
    for (size_t r = 0; r < b.runs; r++) {
        broadcast_run(&b, r, at);
        for (size_t i = 0; i < b.run; i++) {
            const uint64_t x =
                (uint64_t)tensor_integer(in[0], at[0] + i * b.step[0][b.shape.rank - 1]);
            const uint64_t by =
                (uint64_t)tensor_integer(in[1], at[1] + i * b.step[1][b.shape.rank - 1]);
            element_put_integer(c->out[0], r * b.run + i,
                                (int64_t)(by > 63 ? 0
                                          : left  ? x << by
                                                  : x >> by));
        }
    }
    return MAAS_OK;
}

/* ---- of many: the first two, then the result with each other one */

static maas_status shape_many(struct call *c, const struct loops *l, maas_error *error)
{
    for (uint32_t i = 0; i < c->input_count; i++) {
        maas_status status = call_has(c, 0)
                                 ? call_type(c, i, c->in[0]->type, error)
                                 : maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
        if (status)
            return status;
    }
    maas_status status = supported(l, c->in[0]->type, error);
    return status ? status : broadcast_shape(c, 0, c->input_count, c->in[0]->type, error);
}

static maas_status run_many(const struct call *c, const struct loops *l, const struct loops *first,
                            maas_error *error)
{
    struct tensor none = *c->out[0]; /* y op 0 copies input 0 in the output's shape */
    static const uint64_t zero = 0;
    union {
        const void *given;
        void *taken;
    } nothing = { &zero };
    none.shape = (struct shape){ .rank = 0 };
    none.data = nothing.taken;
    if (c->input_count == 1)
        return combine(first, c->out[0], c->in[0], &none, error);
    maas_status status = combine(l, c->out[0], c->in[0], c->in[1], error);
    for (uint32_t i = 2; !status && i < c->input_count; i++)
        status = combine(l, c->out[0], c->out[0], c->in[i], error);
    return status;
}

#define MANY(name, loops)                                                                          \
    static maas_status shape_##name(struct call *c, maas_error *error)                             \
    {                                                                                              \
        return shape_many(c, &loops, error);                                                       \
    }                                                                                              \
    static maas_status run_##name(const struct call *c, maas_error *error)                         \
    {                                                                                              \
        return run_many(c, &loops, &adds, error);                                                  \
    }
MANY(max, maxes)
MANY(min, mins)
MANY(sum, adds)

static maas_status run_mean(const struct call *c, maas_error *error)
{
    maas_status status = run_many(c, &adds, &adds, error);
    const size_t count = tensor_count(c->out[0]);
    for (size_t i = 0; !status && i < count; i++)
        element_put_real(c->out[0], i, tensor_real(c->out[0], i) / c->input_count);
    return status;
}

static maas_status shape_mean(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    return status ? status : shape_many(c, &adds, error);
}

#define COMBINES(n, tag, list, how)                                                                \
    {                                                                                              \
        .name = n, .attributes = list, .least_in = 2, .most_in = 2, .least_out = 1, .most_out = 1, \
        .flags = how, .shape = shape_##tag, .run = run_##tag                                       \
    }
#define GATHERS(n, tag)                                                                            \
    {                                                                                              \
        .name = n, .attributes = "", .least_in = 1, .most_in = CALL_IO_MAX, .least_out = 1,        \
        .most_out = 1, .flags = OP_FLAT, .shape = shape_##tag, .run = run_##tag                    \
    }
const struct operator ops_arithmetic[] = {
    COMBINES("Add", add, "", OP_FLAT),
    COMBINES("Sub", sub, "", OP_FLAT),
    COMBINES("Mul", mul, "", OP_FLAT),
    COMBINES("Div", div, "", OP_FLAT),
    COMBINES("Mod", mod, "fmod:i", 0),
    COMBINES("Pow", pow, "", 0),
    COMBINES("BitShift", shift, "direction:s", 0),
    GATHERS("Max", max),
    GATHERS("Min", min),
    GATHERS("Sum", sum),
    GATHERS("Mean", mean),
    { 0 },
};
