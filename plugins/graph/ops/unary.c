/*
 * unary.c: functions of one number. float32 by its own loop, the other floats through double, the
 * integers through int64.
 */
#include "families.h"

#include <math.h>

#include "element.h"

typedef double real_fn(double x);
typedef int64_t integer_fn(int64_t x);

static void map_reals(const struct call *c, real_fn *f)
{
    const size_t count = tensor_count(c->in[0]);
    for (size_t i = 0; i < count; i++)
        element_put_real(c->out[0], i, f(tensor_real(c->in[0], i)));
}

static void map_integers(const struct call *c, integer_fn *f)
{
    const size_t count = tensor_count(c->in[0]);
    for (size_t i = 0; i < count; i++)
        element_put_integer(c->out[0], i, f(tensor_integer(c->in[0], i)));
}

/* A kernel for floats alone: `single` for float32, `wide` for the others. */
#define REAL(name, single, wide)                                                                   \
    static maas_status run_##name(const struct call *c, maas_error *error)                         \
    {                                                                                              \
        (void)error;                                                                               \
        if (c->in[0]->type == T_F32) {                                                             \
            const float *restrict x = c->in[0]->data;                                              \
            float *y = c->out[0]->data;                                                            \
            const size_t count = tensor_count(c->in[0]);                                           \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = single(x[i]);                                                               \
        } else {                                                                                   \
            map_reals(c, wide);                                                                    \
        }                                                                                          \
        return MAAS_OK;                                                                            \
    }

static float reciprocal_single(float x)
{
    return 1 / x;
}

static double reciprocal_wide(double x)
{
    return 1 / x;
}

REAL(ceil, ceilf, ceil)
REAL(floor, floorf, floor)
REAL(round, rintf, rint) /* to nearest, halves to even */
REAL(sqrt, sqrtf, sqrt)
REAL(exp, expf, exp)
REAL(log, logf, log)
REAL(erf, erff, erf)
REAL(sin, sinf, sin)
REAL(cos, cosf, cos)
REAL(tan, tanf, tan)
REAL(asin, asinf, asin)
REAL(acos, acosf, acos)
REAL(atan, atanf, atan)
REAL(sinh, sinhf, sinh)
REAL(cosh, coshf, cosh)
REAL(asinh, asinhf, asinh)
REAL(acosh, acoshf, acosh)
REAL(atanh, atanhf, atanh)
REAL(reciprocal, reciprocal_single, reciprocal_wide)

/* ---- of all numbers */

static double negative(double x)
{
    return -x;
}

static double sign_of(double x)
{
    return isnan(x) ? x : (double)((x > 0) - (x < 0));
}

static int64_t negative_integer(int64_t x)
{
    return (int64_t)(0 - (uint64_t)x);
}

static int64_t absolute_integer(int64_t x)
{
    return x < 0 ? negative_integer(x) : x;
}

static int64_t sign_integer(int64_t x)
{
    return (x > 0) - (x < 0);
}

/* Of uint64 the upper half is negative as int64. */
static void map_numbers(const struct call *c, real_fn *reals, integer_fn *integers)
{
    if (type_is_float(c->in[0]->type))
        map_reals(c, reals);
    else
        map_integers(c, integers);
}

static int64_t same_integer(int64_t x)
{
    return x;
}

static int64_t any_integer(int64_t x)
{
    return x != 0;
}

static maas_status run_abs(const struct call *c, maas_error *error)
{
    (void)error;
    map_numbers(c, fabs, c->in[0]->type == T_U64 ? same_integer : absolute_integer);
    return MAAS_OK;
}

static maas_status run_neg(const struct call *c, maas_error *error)
{
    (void)error;
    map_numbers(c, negative, negative_integer);
    return MAAS_OK;
}

static maas_status run_sign(const struct call *c, maas_error *error)
{
    (void)error;
    map_numbers(c, sign_of, c->in[0]->type == T_U64 ? any_integer : sign_integer);
    return MAAS_OK;
}

/* ---- of and to bool */

static maas_status shape_not(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_BOOL, error);
    return status ? status : shape_same(c, error);
}

static maas_status run_not(const struct call *c, maas_error *error)
{
    const size_t count = tensor_count(c->in[0]);
    (void)error;
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)c->out[0]->data)[i] = ((const uint8_t *)c->in[0]->data)[i] == 0;
    return MAAS_OK;
}

static maas_status shape_test(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    return status ? status : call_out(c, 0, T_BOOL, &c->in[0]->shape, error);
}

static maas_status run_is_nan(const struct call *c, maas_error *error)
{
    const size_t count = tensor_count(c->in[0]);
    (void)error;
    for (size_t i = 0; i < count; i++) {
        const double x = tensor_real(c->in[0], i);
        ((uint8_t *)c->out[0]->data)[i] = x != x;
    }
    return MAAS_OK;
}

static maas_status run_is_inf(const struct call *c, maas_error *error)
{
    const size_t count = tensor_count(c->in[0]);
    const bool above = call_int(c, "detect_positive", 1) != 0,
               below = call_int(c, "detect_negative", 1) != 0;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        const double x = tensor_real(c->in[0], i);
        ((uint8_t *)c->out[0]->data)[i] = isinf(x) && (x > 0 ? above : below);
    }
    return MAAS_OK;
}

#define UNARY(n, rule, kernel, list, how)                                                          \
    {                                                                                              \
        .name = n, .attributes = list, .least_in = 1, .most_in = 1, .least_out = 1, .most_out = 1, \
        .flags = how, .shape = rule, .run = kernel                                                 \
    }
#define OF_FLOATS(n, kernel) UNARY(n, shape_same_float, kernel, "", OP_FLAT | OP_IN_PLACE)
const struct operator ops_unary[] = {
    UNARY("Abs", shape_same, run_abs, "", OP_FLAT | OP_IN_PLACE),
    UNARY("Neg", shape_same, run_neg, "", OP_FLAT | OP_IN_PLACE),
    UNARY("Sign", shape_same, run_sign, "", OP_FLAT | OP_IN_PLACE),
    OF_FLOATS("Ceil", run_ceil),
    OF_FLOATS("Floor", run_floor),
    OF_FLOATS("Round", run_round),
    OF_FLOATS("Sqrt", run_sqrt),
    OF_FLOATS("Exp", run_exp),
    OF_FLOATS("Log", run_log),
    OF_FLOATS("Erf", run_erf),
    OF_FLOATS("Sin", run_sin),
    OF_FLOATS("Cos", run_cos),
    OF_FLOATS("Tan", run_tan),
    OF_FLOATS("Asin", run_asin),
    OF_FLOATS("Acos", run_acos),
    OF_FLOATS("Atan", run_atan),
    OF_FLOATS("Sinh", run_sinh),
    OF_FLOATS("Cosh", run_cosh),
    OF_FLOATS("Asinh", run_asinh),
    OF_FLOATS("Acosh", run_acosh),
    OF_FLOATS("Atanh", run_atanh),
    OF_FLOATS("Reciprocal", run_reciprocal),
    UNARY("Not", shape_not, run_not, "", 0),
    UNARY("IsNaN", shape_test, run_is_nan, "", 0),
    UNARY("IsInf", shape_test, run_is_inf, "detect_positive:i detect_negative:i", 0),
    { 0 },
};
