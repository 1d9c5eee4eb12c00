/*
 * activation.c: the functions between the layers of networks. Each is a function of one number and
 * two parameters; float32 runs a loop around it that the compiler turns into vectors where it can.
 */
#include "families.h"

#include <math.h>

#include "broadcast.h"
#include "element.h"

struct params {
    float a, b;
};

/* `body` is an expression of x, p.a and p.b; alpha and beta name the attributes and their defaults.
 */
#define ACTIVATION(name, first, first_default, second, second_default, body)                       \
    static inline float name##_of(float x, struct params p)                                        \
    {                                                                                              \
        (void)p;                                                                                   \
        return body;                                                                               \
    }                                                                                              \
    static maas_status run_##name(const struct call *c, maas_error *error)                         \
    {                                                                                              \
        const struct params p = { call_float(c, first, first_default),                             \
                                  call_float(c, second, second_default) };                         \
        const size_t count = tensor_count(c->in[0]);                                               \
        (void)error;                                                                               \
        if (c->in[0]->type == T_F32) {                                                             \
            const float *x = c->in[0]->data;                                                       \
            float *y = c->out[0]->data;                                                            \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = name##_of(x[i], p);                                                         \
        } else {                                                                                   \
            for (size_t i = 0; i < count; i++)                                                     \
                element_put_real(c->out[0], i,                                                     \
                                 (double)name##_of((float)tensor_real(c->in[0], i), p));           \
        }                                                                                          \
        return MAAS_OK;                                                                            \
    }

ACTIVATION(leaky, "alpha", 0.01f, "", 0, x < 0 ? x * p.a : x)
ACTIVATION(elu, "alpha", 1, "", 0, x < 0 ? p.a * expm1f(x) : x)
ACTIVATION(selu, "alpha", 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f,
           p.b *(x > 0 ? x : p.a * expm1f(x)))
ACTIVATION(celu, "alpha", 1, "", 0, fmaxf(x, 0) + fminf(0, p.a *expm1f(x / p.a)))
ACTIVATION(sigmoid, "", 0, "", 0, 1 / (1 + expf(-x)))
ACTIVATION(hard_sigmoid, "alpha", 0.2f, "beta", 0.5f, fminf(fmaxf(p.a *x + p.b, 0), 1))
ACTIVATION(hard_swish, "", 0, "", 0, x *fminf(fmaxf(x *(1.0f / 6) + 0.5f, 0), 1))
ACTIVATION(tanh, "", 0, "", 0, tanhf(x))
ACTIVATION(softplus, "", 0, "", 0, x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)))
ACTIVATION(softsign, "", 0, "", 0, x / (1 + fabsf(x)))
ACTIVATION(thresholded, "alpha", 1, "", 0, x > p.a ? x : 0)
ACTIVATION(shrink, "lambd", 0.5f, "bias", 0, x<-p.a ? x + p.b : x> p.a ? x - p.b : 0)

/* ---- Relu and Clip: of all numbers */

static maas_status run_relu(const struct call *c, maas_error *error)
{
    const size_t count = tensor_count(c->in[0]);
    (void)error;
    if (c->in[0]->type == T_F32) {
        const float *x = c->in[0]->data;
        float *y = c->out[0]->data;
        for (size_t i = 0; i < count; i++)
            y[i] = x[i] < 0 ? 0 : x[i];
    } else if (type_is_float(c->in[0]->type)) {
        for (size_t i = 0; i < count; i++) {
            const double x = tensor_real(c->in[0], i);
            element_put_real(c->out[0], i, x < 0 ? 0 : x);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            const int64_t x = tensor_integer(c->in[0], i);
            element_put_integer(c->out[0], i, x < 0 ? 0 : x);
        }
    }
    return MAAS_OK;
}

static maas_status shape_clip(struct call *c, maas_error *error)
{
    for (uint32_t i = 1; i < 3; i++)
        if (call_has(c, i) && (c->in[i]->type != c->in[0]->type || tensor_count(c->in[i]) != 1))
            return maas_fail(error, MAAS_E_INVALID,
                             "input %u must be one number of the type of input 0", i);
    return shape_same(c, error);
}

static void clip_reals(const struct call *c)
{
    const size_t count = tensor_count(c->in[0]);
    const double least =
        call_has(c, 1) ? tensor_real(c->in[1], 0) : (double)call_float(c, "min", -HUGE_VALF);
    const double most =
        call_has(c, 2) ? tensor_real(c->in[2], 0) : (double)call_float(c, "max", HUGE_VALF);
    for (size_t i = 0; i < count; i++) {
        const double x = tensor_real(c->in[0], i), raised = x < least ? least : x;
        element_put_real(c->out[0], i, raised > most ? most : raised);
    }
}

static void clip_integers(const struct call *c)
{
    const size_t count = tensor_count(c->in[0]);
    const int64_t least = call_has(c, 1) ? tensor_integer(c->in[1], 0) : INT64_MIN;
    const int64_t most = call_has(c, 2) ? tensor_integer(c->in[2], 0) : INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const int64_t x = tensor_integer(c->in[0], i), raised = x < least ? least : x;
        element_put_integer(c->out[0], i, raised > most ? most : raised);
    }
}

static maas_status run_clip(const struct call *c, maas_error *error)
{
    (void)error;
    if (type_is_float(c->in[0]->type))
        clip_reals(c);
    else
        clip_integers(c);
    return MAAS_OK;
}

/* ---- PRelu: a slope for each channel */

/* Until opset 6 a row of slopes was one for each channel. */
static struct tensor slopes_of(const struct call *c)
{
    struct tensor slopes = *c->in[1];
    const struct shape *x = &c->in[0]->shape;
    if (c->opset < 7 && slopes.shape.rank == 1 && x->rank > 1 && slopes.shape.dim[0] == x->dim[1]) {
        slopes.shape.rank = x->rank - 1;
        for (uint32_t d = 1; d < slopes.shape.rank; d++)
            slopes.shape.dim[d] = 1;
    }
    return slopes;
}

static maas_status shape_prelu(struct call *c, maas_error *error)
{
    struct shape fits;
    if (!call_has(c, 0) || !call_has(c, 1))
        return maas_fail(error, MAAS_E_INVALID, "an input is missing");
    maas_status status = call_type(c, 1, c->in[0]->type, error);
    const struct tensor slopes = slopes_of(c);
    if (!status)
        status = shape_broadcast(&fits, &c->in[0]->shape, &slopes.shape, error);
    if (!status && !shape_equal(&fits, &c->in[0]->shape))
        status = maas_fail(error, MAAS_E_INVALID, "the slopes are more than the input");
    return status ? status : shape_same(c, error);
}

static maas_status run_prelu(const struct call *c, maas_error *error)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor slopes = slopes_of(c), *in[] = { c->in[0], &slopes };
    (void)error;
    broadcast_init(&b, &c->out[0]->shape, in, 2);
    for (size_t r = 0; r < b.runs; r++) {
        broadcast_run(&b, r, at);
        for (size_t i = 0; i < b.run; i++) {
            const double x = tensor_real(c->in[0], at[0] + i * b.step[0][b.shape.rank - 1]);
            const double slope = tensor_real(c->in[1], at[1] + i * b.step[1][b.shape.rank - 1]);
            element_put_real(c->out[0], r * b.run + i, x < 0 ? x * slope : x);
        }
    }
    return MAAS_OK;
}

#define ACTIVATES(n, kernel, list)                                                                 \
    {                                                                                              \
        .name = n, .attributes = list, .least_in = 1, .most_in = 1, .least_out = 1, .most_out = 1, \
        .flags = OP_FLAT | OP_IN_PLACE, .shape = shape_same_float, .run = kernel                   \
    }
const struct operator ops_activation[] = {
    { .name = "Relu",
      .attributes = "",
      .least_in = 1,
      .most_in = 1,
      .least_out = 1,
      .most_out = 1,
      .flags = OP_FLAT | OP_IN_PLACE,
      .shape = shape_same,
      .run = run_relu },
    ACTIVATES("LeakyRelu", run_leaky, "alpha:f"),
    ACTIVATES("Elu", run_elu, "alpha:f"),
    ACTIVATES("Selu", run_selu, "alpha:f gamma:f"),
    ACTIVATES("Celu", run_celu, "alpha:f"),
    ACTIVATES("Sigmoid", run_sigmoid, ""),
    ACTIVATES("HardSigmoid", run_hard_sigmoid, "alpha:f beta:f"),
    ACTIVATES("HardSwish", run_hard_swish, ""),
    ACTIVATES("Tanh", run_tanh, ""),
    ACTIVATES("Softplus", run_softplus, ""),
    ACTIVATES("Softsign", run_softsign, ""),
    ACTIVATES("ThresholdedRelu", run_thresholded, "alpha:f"),
    ACTIVATES("Shrink", run_shrink, "lambd:f bias:f"),
    { .name = "Clip",
      .attributes = "min:f max:f",
      .least_in = 1,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_clip,
      .run = run_clip },
    { .name = "PRelu",
      .attributes = "",
      .least_in = 2,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_prelu,
      .run = run_prelu },
    { 0 },
};
