/*
 * reduce.c: sums, means, norms and extremes over axes, and where extremes stand. The axes that stay
 * and those that go are two walks; values are gathered in double, integers in int64.
 */
#include "families.h"

#include <math.h>

#include "element.h"

/* Where the elements of one output stand: offsets of kept and of reduced places. */
struct axes {
    uint32_t marked;   /* a bit for each axis that goes */
    size_t kept, gone; /* places of each */
};

static maas_status read_axes(const struct call *c, struct axes *a, maas_error *error)
{
    int64_t list[RANK_MAX];
    uint32_t count = 0;
    const int64_t *given = call_ints(c, "axes", &count);
    if (!call_has(c, 0))
        return maas_fail(error, MAAS_E_INVALID, "input 0 is missing");
    const struct shape *x = &c->in[0]->shape;
    maas_status status =
        call_has(c, 1) ? call_integers(c, 1, list, RANK_MAX, &count, error) : MAAS_OK;
    if (status)
        return status;
    if (count > RANK_MAX)
        return maas_fail(error, MAAS_E_INVALID, "attribute 'axes' has %u values", count);
    *a = (struct axes){ .kept = 1, .gone = 1 };
    if (!count && !call_int(c, "noop_with_empty_axes", 0))
        a->marked = (1u << x->rank) - 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t axis;
        if (!shape_axis(x, call_has(c, 1) ? list[i] : given[i], false, &axis))
            return maas_fail(error, MAAS_E_INVALID,
                             "an axis is outside of the input's %u dimensions", x->rank);
        a->marked |= 1u << axis;
    }
    for (uint32_t d = 0; d < x->rank; d++)
        if (a->marked >> d & 1)
            a->gone *= (size_t)x->dim[d];
        else
            a->kept *= (size_t)x->dim[d];
    return MAAS_OK;
}

static struct shape reduced(const struct shape *x, uint32_t marked, bool keep)
{
    struct shape s = { .rank = 0 };
    for (uint32_t d = 0; d < x->rank; d++)
        if (!(marked >> d & 1))
            s.dim[s.rank++] = x->dim[d];
        else if (keep)
            s.dim[s.rank++] = 1;
    return s;
}

/* The offset of place `i` among the dimensions that are marked (or, with `other`, that are not). */
static size_t offset(const struct shape *x, uint32_t marked, bool other, size_t i)
{
    size_t at = 0, step = 1;
    for (uint32_t d = x->rank; d-- > 0;) {
        if (((marked >> d & 1) != 0) != other) {
            at += i % (size_t)x->dim[d] * step;
            i /= (size_t)x->dim[d];
        }
        step *= (size_t)x->dim[d];
    }
    return at;
}

static maas_status shape_reduce(struct call *c, maas_error *error)
{
    struct axes a;
    maas_status status = read_axes(c, &a, error);
    if (status)
        return status;
    const struct shape s = reduced(&c->in[0]->shape, a.marked, call_int(c, "keepdims", 1) != 0);
    return call_out(c, 0, c->in[0]->type, &s, error);
}

enum kind { SUM, MEAN, PRODUCT, MAX, MIN, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE };

static double gather(const struct call *c, const struct axes *a, size_t base, enum kind kind)
{
    const struct tensor *x = c->in[0];
    double sum = kind == PRODUCT ? 1 : 0, most = -HUGE_VAL;
    for (size_t i = 0; kind == LOG_SUM_EXP && i < a->gone; i++)
        most = fmax(most, tensor_real(x, base + offset(&x->shape, a->marked, false, i)));
    if (isinf(most))
        most = 0; /* all of them are, or none is needed */
    for (size_t i = 0; i < a->gone; i++) {
        const double v = tensor_real(x, base + offset(&x->shape, a->marked, false, i));
        switch (kind) {
        case PRODUCT:
            sum *= v;
            break;
        case MAX:
            sum = i && !(v > sum || isnan(v)) ? sum : v;
            break;
        case MIN:
            sum = i && !(v < sum || isnan(v)) ? sum : v;
            break;
        case L1:
            sum += fabs(v);
            break;
        case L2:
        case SUM_SQUARE:
            sum += v * v;
            break;
        case LOG_SUM_EXP:
            sum += exp(v - most);
            break;
        default:
            sum += v;
        }
    }
    return kind == MEAN          ? sum / (double)a->gone
           : kind == L2          ? sqrt(sum)
           : kind == LOG_SUM     ? log(sum)
           : kind == LOG_SUM_EXP ? log(sum) + most
                                 : sum;
}

/* Integers, exactly: sums and products wrap. */
static int64_t gather_integers(const struct call *c, const struct axes *a, size_t base,
                               enum kind kind)
{
    const struct tensor *x = c->in[0];
    uint64_t sum = kind == PRODUCT;
    int64_t best = 0;
    for (size_t i = 0; i < a->gone; i++) {
        const int64_t v = tensor_integer(x, base + offset(&x->shape, a->marked, false, i));
        const uint64_t u = (uint64_t)v;
        best = !i || (kind == MAX ? v > best : v < best) ? v : best;
        sum = kind == PRODUCT       ? sum * u
              : kind == L1 && v < 0 ? sum - u
              : kind == SUM_SQUARE  ? sum + u * u
                                    : sum + u;
    }
    if (kind == MEAN)
        return a->gone ? (int64_t)sum / (int64_t)a->gone : 0;
    return kind == MAX || kind == MIN ? best : (int64_t)sum;
}

static maas_status run_reduce(const struct call *c, enum kind kind, maas_error *error)
{
    struct axes a;
    maas_status status = read_axes(c, &a, error);
    const bool whole = !status && !type_is_float(c->in[0]->type) && kind != L2 && kind != LOG_SUM &&
                       kind != LOG_SUM_EXP;
    for (size_t k = 0; !status && k < a.kept; k++) {
        const size_t base = offset(&c->in[0]->shape, a.marked, true, k);
        if (whole)
            element_put_integer(c->out[0], k, gather_integers(c, &a, base, kind));
        else
            element_put_real(c->out[0], k, gather(c, &a, base, kind));
    }
    return status;
}

#define REDUCES(tag, kind)                                                                         \
    static maas_status run_##tag(const struct call *c, maas_error *error)                          \
    {                                                                                              \
        return run_reduce(c, kind, error);                                                         \
    }
REDUCES(sum, SUM)
REDUCES(mean, MEAN)
REDUCES(product, PRODUCT)
REDUCES(max, MAX)
REDUCES(min, MIN)
REDUCES(l1, L1)
REDUCES(l2, L2)
REDUCES(log_sum, LOG_SUM)
REDUCES(log_sum_exp, LOG_SUM_EXP)
REDUCES(sum_square, SUM_SQUARE)

/* ---- ArgMax and ArgMin */

static maas_status shape_arg(struct call *c, maas_error *error)
{
    uint32_t axis;
    if (!call_has(c, 0) || !shape_axis(&c->in[0]->shape, call_int(c, "axis", 0), false, &axis) ||
        !c->in[0]->shape.dim[axis])
        return maas_fail(error, MAAS_E_INVALID,
                         "attribute 'axis' is outside of the input's dimensions");
    const struct shape s = reduced(&c->in[0]->shape, 1u << axis, call_int(c, "keepdims", 1) != 0);
    return call_out(c, 0, T_I64, &s, error);
}

static maas_status run_arg(const struct call *c, bool most)
{
    const struct shape *x = &c->in[0]->shape;
    const bool last = call_int(c, "select_last_index", 0) != 0;
    uint32_t axis = 0;
    shape_axis(x, call_int(c, "axis", 0), false, &axis);
    const size_t outer = shape_span(x, 0, axis), extent = (size_t)x->dim[axis],
                 inner = shape_span(x, axis + 1, x->rank);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            size_t best = 0;
            for (size_t k = 1; k < extent; k++) {
                const double a = tensor_real(c->in[0], (o * extent + best) * inner + i);
                const double v = tensor_real(c->in[0], (o * extent + k) * inner + i);
                if (most ? v > a || (last && v == a) : v < a || (last && v == a))
                    best = k;
            }
            ((int64_t *)c->out[0]->data)[o * inner + i] = (int64_t)best;
        }
    return MAAS_OK;
}

static maas_status run_arg_max(const struct call *c, maas_error *error)
{
    (void)error;
    return run_arg(c, true);
}

static maas_status run_arg_min(const struct call *c, maas_error *error)
{
    (void)error;
    return run_arg(c, false);
}

#define REDUCER(n, kernel)                                                                         \
    {                                                                                              \
        .name = n, .attributes = "axes:I keepdims:i noop_with_empty_axes:i", .least_in = 1,        \
        .most_in = 2, .least_out = 1, .most_out = 1, .shape = shape_reduce, .run = kernel          \
    }
#define ARG(n, kernel)                                                                             \
    {                                                                                              \
        .name = n, .attributes = "axis:i keepdims:i select_last_index:i", .least_in = 1,           \
        .most_in = 1, .least_out = 1, .most_out = 1, .shape = shape_arg, .run = kernel             \
    }
const struct operator ops_reduce[] = {
    REDUCER("ReduceSum", run_sum),
    REDUCER("ReduceMean", run_mean),
    REDUCER("ReduceProd", run_product),
    REDUCER("ReduceMax", run_max),
    REDUCER("ReduceMin", run_min),
    REDUCER("ReduceL1", run_l1),
    REDUCER("ReduceL2", run_l2),
    REDUCER("ReduceLogSum", run_log_sum),
    REDUCER("ReduceLogSumExp", run_log_sum_exp),
    REDUCER("ReduceSumSquare", run_sum_square),
    ARG("ArgMax", run_arg_max),
    ARG("ArgMin", run_arg_min),
    { 0 },
};
