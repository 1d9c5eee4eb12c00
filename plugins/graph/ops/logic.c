/*
 * logic.c: what gives or takes bool: And, Or, Xor, comparisons, Where.
 */
#include "families.h"

#include "broadcast.h"
#include "element.h"

enum relation { EQUAL, GREATER, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, AND, OR, XOR };

#define RELATE(a, b)                                                                               \
    (r == EQUAL              ? (a) == (b)                                                          \
     : r == GREATER          ? (a) > (b)                                                           \
     : r == GREATER_OR_EQUAL ? (a) >= (b)                                                          \
     : r == LESS             ? (a) < (b)                                                           \
     : r == LESS_OR_EQUAL    ? (a) <= (b)                                                          \
     : r == AND              ? (a) != 0 && (b) != 0                                                \
     : r == OR               ? (a) != 0 || (b) != 0                                                \
                             : ((a) != 0) != ((b) != 0))

static bool relate(enum relation r, const struct tensor *x, size_t x_at, const struct tensor *y,
                   size_t y_at)
{
    if (type_is_float(x->type)) {
        const double a = tensor_real(x, x_at), b = tensor_real(y, y_at);
        return RELATE(a, b);
    }
    if (x->type == T_U64) {
        const uint64_t a = (uint64_t)tensor_integer(x, x_at), b = (uint64_t)tensor_integer(y, y_at);
        return RELATE(a, b);
    }
    const int64_t a = tensor_integer(x, x_at), b = tensor_integer(y, y_at);
    return RELATE(a, b);
}

static maas_status run_relation(const struct call *c, enum relation r)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor *in[] = { c->in[0], c->in[1] };
    broadcast_init(&b, &c->out[0]->shape, in, 2);
    const size_t sa = b.step[0][b.shape.rank - 1], sb = b.step[1][b.shape.rank - 1];
    for (size_t k = 0; k < b.runs; k++) {
        broadcast_run(&b, k, at);
        for (size_t i = 0; i < b.run; i++)
            ((uint8_t *)c->out[0]->data)[k * b.run + i] =
                relate(r, in[0], at[0] + i * sa, in[1], at[1] + i * sb);
    }
    return MAAS_OK;
}

static maas_status shape_relation(struct call *c, maas_error *error)
{
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    maas_status status = call_type(c, 1, c->in[0]->type, error);
    return status ? status : broadcast_shape(c, 0, 2, T_BOOL, error);
}

static maas_status shape_bools(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_BOOL, error);
    return status ? status : shape_relation(c, error);
}

#define RELATION(name, which)                                                                      \
    static maas_status run_##name(const struct call *c, maas_error *error)                         \
    {                                                                                              \
        (void)error;                                                                               \
        return run_relation(c, which);                                                             \
    }
RELATION(equal, EQUAL)
RELATION(greater, GREATER)
RELATION(greater_or_equal, GREATER_OR_EQUAL)
RELATION(less, LESS)
RELATION(less_or_equal, LESS_OR_EQUAL)
RELATION(and, AND)
RELATION(or, OR)
RELATION(xor, XOR)

/* ---- Where: condition, then, else */

static maas_status shape_where(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_BOOL, error);
    if (!status && !call_has(c, 1))
        status = maas_fail(error, MAAS_E_INVALID, "input 1 is missing");
    if (!status)
        status = call_type(c, 2, c->in[1]->type, error);
    return status ? status : broadcast_shape(c, 0, 3, c->in[1]->type, error);
}

static maas_status run_where(const struct call *c, maas_error *error)
{
    struct broadcast b;
    size_t at[BROADCAST_MAX];
    const struct tensor *in[] = { c->in[0], c->in[1], c->in[2] };
    const size_t size = type_size(c->out[0]->type);
    (void)error;
    broadcast_init(&b, &c->out[0]->shape, in, 3);
    for (size_t k = 0; k < b.runs; k++) {
        broadcast_run(&b, k, at);
        for (size_t i = 0; i < b.run; i++) {
            const uint32_t last = b.shape.rank - 1;
            const bool first = ((const uint8_t *)in[0]->data)[at[0] + i * b.step[0][last]] != 0;
            const uint32_t from = first ? 1 : 2;
            memcpy((char *)c->out[0]->data + (k * b.run + i) * size,
                   (const char *)in[from]->data + (at[from] + i * b.step[from][last]) * size, size);
        }
    }
    return MAAS_OK;
}

#define RELATES(n, rule, kernel)                                                                   \
    {                                                                                              \
        .name = n, .attributes = "", .least_in = 2, .most_in = 2, .least_out = 1, .most_out = 1,   \
        .shape = rule, .run = kernel                                                               \
    }
const struct operator ops_logic[] = {
    RELATES("Equal", shape_relation, run_equal),
    RELATES("Greater", shape_relation, run_greater),
    RELATES("GreaterOrEqual", shape_relation, run_greater_or_equal),
    RELATES("Less", shape_relation, run_less),
    RELATES("LessOrEqual", shape_relation, run_less_or_equal),
    RELATES("And", shape_bools, run_and),
    RELATES("Or", shape_bools, run_or),
    RELATES("Xor", shape_bools, run_xor),
    { .name = "Where",
      .attributes = "",
      .least_in = 3,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_where,
      .run = run_where },
    { 0 },
};
