/*
 * loss.c: what a network is trained on, as files that were exported with their loss have it:
 * NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss. Scores are [n, classes, …], targets [n, …].
 */
#include "families.h"

#include <math.h>

#include "element.h"

enum reduction { NONE, SUM, MEAN };

static enum reduction reduction_of(const struct call *c)
{
    if (call_text_is(c, "reduction", "none", false))
        return NONE;
    return call_text_is(c, "reduction", "sum", false) ? SUM : MEAN;
}

static maas_status shape_loss(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_NONE, error);
    if (!status && (!call_has(c, 1) || (c->in[1]->type != T_I32 && c->in[1]->type != T_I64)))
        status = maas_fail(error, MAAS_E_INVALID, "input 1 must be integers");
    if (!status && call_has(c, 2))
        status = call_type(c, 2, c->in[0]->type, error);
    if (status)
        return status;
    const struct shape *x = &c->in[0]->shape, *t = &c->in[1]->shape;
    const struct shape one = { .rank = 0 };
    bool fits = x->rank >= 2 && t->rank == x->rank - 1 && t->dim[0] == x->dim[0] && x->dim[1] > 0;
    for (uint32_t d = 1; fits && d < t->rank; d++)
        fits = t->dim[d] == x->dim[d + 1];
    if (!fits ||
        (call_has(c, 2) && (c->in[2]->shape.rank != 1 || c->in[2]->shape.dim[0] != x->dim[1])))
        return maas_fail(error, MAAS_E_INVALID, "scores, targets and weights do not fit together");
    status = call_out(c, 0, c->in[0]->type, reduction_of(c) == NONE ? t : &one, error);
    return status ? status : call_out(c, 1, c->in[0]->type, x, error);
}

/* log p of a class at a place; softmax: the scores are not yet logarithms. */
static double log_p(const struct call *c, bool soft, size_t base, size_t step, size_t classes,
                    size_t k)
{
    double most = -HUGE_VAL, sum = 0;
    if (!soft)
        return tensor_real(c->in[0], base + k * step);
    for (size_t i = 0; i < classes; i++)
        most = fmax(most, tensor_real(c->in[0], base + i * step));
    for (size_t i = 0; i < classes; i++)
        sum += exp(tensor_real(c->in[0], base + i * step) - most);
    return tensor_real(c->in[0], base + k * step) - most - log(sum);
}

static void tell_logs(const struct call *c, size_t base, size_t step, size_t classes)
{
    for (size_t k = 0; c->output_count > 1 && c->out[1] && k < classes; k++)
        element_put_real(c->out[1], base + k * step, log_p(c, true, base, step, classes, k));
}

static maas_status run_loss(const struct call *c, bool soft, maas_error *error)
{
    const struct shape *x = &c->in[0]->shape;
    const size_t classes = (size_t)x->dim[1], places = shape_span(x, 2, x->rank),
                 all = tensor_count(c->in[1]);
    const struct attribute *ignore = call_attribute(c, "ignore_index");
    const enum reduction how = reduction_of(c);
    double sum = 0, weights = 0;
    for (size_t i = 0; i < all; i++) {
        const int64_t target = tensor_integer(c->in[1], i);
        const size_t base = i / places * classes * places + i % places;
        const bool ignored = ignore && target == ignore->integer;
        if (!ignored && (target < 0 || (size_t)target >= classes))
            return maas_fail(error, MAAS_E_INVALID, "target %lld is no class", (long long)target);
        const double weight = ignored          ? 0
                              : call_has(c, 2) ? tensor_real(c->in[2], (size_t)target)
                                               : 1;
        const double loss =
            ignored ? 0 : -log_p(c, soft, base, places, classes, (size_t)target) * weight;
        if (how == NONE && c->out[0])
            element_put_real(c->out[0], i, loss);
        tell_logs(c, base, places, classes);
        sum += loss;
        weights += weight;
    }
    if (how != NONE && c->out[0])
        element_put_real(c->out[0], 0, how == SUM ? sum : sum / weights);
    return MAAS_OK;
}

static maas_status run_likelihood(const struct call *c, maas_error *error)
{
    return run_loss(c, false, error);
}

static maas_status run_entropy(const struct call *c, maas_error *error)
{
    return run_loss(c, true, error);
}

const struct operator ops_loss[] = {
    { .name = "NegativeLogLikelihoodLoss",
      .attributes = "ignore_index:i reduction:s",
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_loss,
      .run = run_likelihood },
    { .name = "SoftmaxCrossEntropyLoss",
      .attributes = "ignore_index:i reduction:s",
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 2,
      .shape = shape_loss,
      .run = run_entropy },
    { 0 },
};
