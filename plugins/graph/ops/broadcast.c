/*
 * broadcast.c: dimensions are joined first, so that the commonest cases, the same shape, one
 * number, one number a channel, are a few long runs.
 */
#include "broadcast.h"

static size_t extent_of(const struct tensor *t, const struct shape *out, uint32_t d)
{
    const uint32_t skip = out->rank - t->shape.rank;
    return d < skip ? 1 : (size_t)t->shape.dim[d - skip];
}

/* Steps of every input through the output's dimensions as they are. */
static void full_steps(struct broadcast *b, const struct shape *out, const struct tensor *const *in)
{
    for (uint32_t k = 0; k < b->count; k++) {
        size_t step = 1;
        for (uint32_t d = out->rank; d-- > 0;) {
            const size_t extent = extent_of(in[k], out, d);
            b->step[k][d] = extent == 1 ? 0 : step;
            step *= extent;
        }
    }
}

/* May dimension d be one with the one behind it? */
static bool joins(const struct broadcast *b, uint32_t d)
{
    for (uint32_t k = 0; k < b->count; k++)
        if (b->step[k][d] != b->step[k][d + 1] * (size_t)b->shape.dim[d + 1])
            return false;
    return true;
}

static void remove_dimension(struct broadcast *b, uint32_t d)
{
    for (uint32_t i = d; i + 1 < b->shape.rank; i++) {
        b->shape.dim[i] = b->shape.dim[i + 1];
        for (uint32_t k = 0; k < b->count; k++)
            b->step[k][i] = b->step[k][i + 1];
    }
    b->shape.rank--;
}

void broadcast_init(struct broadcast *b, const struct shape *out, const struct tensor *const *in,
                    uint32_t count)
{
    *b = (struct broadcast){ .shape = *out, .count = count };
    full_steps(b, out, in);
    for (uint32_t d = 0; d < b->shape.rank && b->shape.rank > 1;)
        if (b->shape.dim[d] == 1)
            remove_dimension(b, d);
        else
            d++;
    for (uint32_t d = b->shape.rank; d-- > 1;)
        if (joins(b, d - 1)) {
            b->shape.dim[d] *= b->shape.dim[d - 1];
            remove_dimension(b, d - 1);
        }
    if (!b->shape.rank) {
        b->shape = (struct shape){ .rank = 1, .dim = { 1 } };
        for (uint32_t k = 0; k < count; k++)
            b->step[k][0] = 0;
    }
    b->run = (size_t)b->shape.dim[b->shape.rank - 1];
    b->runs = b->run ? shape_span(&b->shape, 0, b->shape.rank - 1) : 0;
}

void broadcast_run(const struct broadcast *b, size_t i, size_t at[BROADCAST_MAX])
{
    for (uint32_t k = 0; k < b->count; k++)
        at[k] = 0;
    for (uint32_t d = b->shape.rank - 1; d-- > 0;) {
        const size_t extent = (size_t)b->shape.dim[d], place = i % extent;
        i /= extent;
        for (uint32_t k = 0; k < b->count; k++)
            at[k] += place * b->step[k][d];
    }
}

maas_status broadcast_shape(struct call *c, uint32_t from, uint32_t to, int32_t type,
                            maas_error *error)
{
    struct shape out = { .rank = 0 };
    for (uint32_t i = from; i < to; i++) {
        if (!call_has(c, i))
            return maas_fail(error, MAAS_E_INVALID, "input %u is missing", i);
        maas_status status = shape_broadcast(&out, &out, &c->in[i]->shape, error);
        if (status)
            return status;
    }
    return call_out(c, 0, type, &out, error);
}
