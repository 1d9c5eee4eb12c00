/*
 * product.c: MatMul and Gemm by OpenBLAS in float32, by plain loops in other types.
 */
#include "families.h"

#include "kernels/matmul.h"

/* ---- MatMul: [… m, k] [… k, n], the dimensions in front broadcast */

struct product {
    struct shape batch; /* of the output, without the last two */
    int64_t m, n, k;
};

static maas_status read_product(const struct call *c, struct product *p, struct shape *out,
                                maas_error *error)
{
    struct shape a = c->in[0]->shape, b = c->in[1]->shape;
    const bool row = a.rank == 1, column = b.rank == 1;
    if (!a.rank || !b.rank)
        return maas_fail(error, MAAS_E_INVALID, "a single number is no matrix");
    if (row)
        a = (struct shape){ .rank = 2, .dim = { 1, a.dim[0] } };
    if (column)
        b = (struct shape){ .rank = 2, .dim = { b.dim[0], 1 } };
    p->m = a.dim[a.rank - 2];
    p->k = a.dim[a.rank - 1];
    p->n = b.dim[b.rank - 1];
    if (b.dim[b.rank - 2] != p->k)
        return maas_fail(error, MAAS_E_INVALID, "%lld columns and %lld rows do not fit together",
                         (long long)p->k, (long long)b.dim[b.rank - 2]);
    a.rank -= 2;
    b.rank -= 2;
    maas_status status = shape_broadcast(&p->batch, &a, &b, error);
    if (status)
        return status;
    *out = p->batch;
    if (!row)
        out->dim[out->rank++] = p->m;
    if (!column)
        out->dim[out->rank++] = p->n;
    return MAAS_OK;
}

static maas_status shape_matmul(struct call *c, maas_error *error)
{
    struct product p;
    struct shape out;
    if (!call_has(c, 0) || !call_has(c, 1))
        return maas_fail(error, MAAS_E_INVALID, "an input is missing");
    if (c->in[0]->type == T_BOOL)
        return maas_fail(error, MAAS_E_INVALID, "input 0 is of type bool");
    maas_status status = call_type(c, 1, c->in[0]->type, error);
    if (!status)
        status = read_product(c, &p, &out, error);
    return status ? status : call_out(c, 0, c->in[0]->type, &out, error);
}

/* Which matrix of an input of shape s (its last two left out) batch `at` of the output takes. */
static size_t matrix_of(const struct product *p, const struct shape *s, size_t at)
{
    size_t index = 0, step = 1;
    const uint32_t rank = s->rank > 2 ? s->rank - 2 : 0;
    for (uint32_t i = 0; i < p->batch.rank; i++) {
        const size_t extent = (size_t)p->batch.dim[p->batch.rank - 1 - i], place = at % extent;
        at /= extent;
        if (i >= rank)
            continue;
        const size_t own = (size_t)s->dim[rank - 1 - i];
        index += (own == 1 ? 0 : place) * step;
        step *= own;
    }
    return index;
}

#define PLAIN_PRODUCT(name, type)                                                                  \
    static void name(type *y, const type *a, const type *b, size_t m, size_t n, size_t k)          \
    {                                                                                              \
        for (size_t i = 0; i < m * n; i++)                                                         \
            y[i] = 0;                                                                              \
        for (size_t i = 0; i < m; i++)                                                             \
            for (size_t l = 0; l < k; l++)                                                         \
                for (size_t j = 0; j < n; j++)                                                     \
                    y[i * n + j] = (type)(y[i * n + j] + a[i * k + l] * b[l * n + j]);             \
    }
PLAIN_PRODUCT(product_f64, double)
PLAIN_PRODUCT(product_u32, uint32_t) /* int32, too: the same bits */
PLAIN_PRODUCT(product_u64, uint64_t)

static void multiply(const struct call *c, void *y, const void *a, const void *b, size_t m,
                     size_t n, size_t k)
{
    if (c->in[0]->type == T_F32)
        matmul(y, a, false, b, false, m, n, k, 0);
    else if (c->in[0]->type == T_F64)
        product_f64(y, a, b, m, n, k);
    else if (type_size(c->in[0]->type) == 4)
        product_u32(y, a, b, m, n, k);
    else
        product_u64(y, a, b, m, n, k);
}

static maas_status run_matmul(const struct call *c, maas_error *error)
{
    struct product p;
    struct shape out;
    maas_status status = read_product(c, &p, &out, error);
    const size_t size = type_size(c->in[0]->type);
    if (!status && size < 4)
        status = maas_fail(error, MAAS_E_UNIMPLEMENTED, "products of %s are not supported",
                           type_name(c->in[0]->type));
    if (status || !tensor_count(c->out[0]))
        return status;
    if (!p.k) {
        memset(c->out[0]->data, 0, tensor_bytes(c->out[0]));
        return MAAS_OK;
    }
    const size_t a = (size_t)(p.m * p.k) * size, b = (size_t)(p.k * p.n) * size,
                 y = (size_t)(p.m * p.n) * size;
    const size_t count = shape_count(&p.batch);
    for (size_t i = 0; i < count; i++)
        multiply(c, (char *)c->out[0]->data + i * y,
                 (const char *)c->in[0]->data + matrix_of(&p, &c->in[0]->shape, i) * a,
                 (const char *)c->in[1]->data + matrix_of(&p, &c->in[1]->shape, i) * b, (size_t)p.m,
                 (size_t)p.n, (size_t)p.k);
    return MAAS_OK;
}

/* ---- Gemm: alpha a' b' + beta c */

struct gemm {
    bool ta, tb;
    int64_t m, n, k;
    float alpha, beta;
};

static struct gemm read_gemm(const struct call *c)
{
    const struct shape *a = &c->in[0]->shape, *b = &c->in[1]->shape;
    struct gemm g = { .ta = call_int(c, "transA", 0) != 0,
                      .tb = call_int(c, "transB", 0) != 0,
                      .alpha = call_float(c, "alpha", 1),
                      .beta = call_float(c, "beta", 1) };
    g.m = a->dim[g.ta];
    g.k = a->dim[!g.ta];
    g.n = b->dim[!g.tb];
    return g;
}

static maas_status shape_gemm(struct call *c, maas_error *error)
{
    maas_status status = call_type(c, 0, T_F32, error);
    if (!status)
        status = call_type(c, 1, T_F32, error);
    if (!status && call_has(c, 2))
        status = call_type(c, 2, T_F32, error);
    if (status)
        return status;
    if (c->in[0]->shape.rank != 2 || c->in[1]->shape.rank != 2)
        return maas_fail(error, MAAS_E_INVALID, "inputs must be matrices");
    const struct gemm g = read_gemm(c);
    struct shape out = { .rank = 2, .dim = { g.m, g.n } }, fits = out;
    if (c->in[1]->shape.dim[g.tb] != g.k)
        return maas_fail(error, MAAS_E_INVALID, "%lld columns and %lld rows do not fit together",
                         (long long)g.k, (long long)c->in[1]->shape.dim[g.tb]);
    if (call_has(c, 2))
        status = shape_broadcast(&fits, &out, &c->in[2]->shape, error);
    if (!status && !shape_equal(&fits, &out))
        status = maas_fail(error, MAAS_E_INVALID, "input 2 is larger than the product");
    return status ? status : call_out(c, 0, T_F32, &out, error);
}

/* y = beta c, c broadcast. */
static void spread_bias(float *y, const struct tensor *c, float beta, size_t m, size_t n)
{
    const struct shape *s = &c->shape;
    const float *b = c->data;
    const size_t across = s->rank && s->dim[s->rank - 1] > 1;
    const size_t down = s->rank > 1 && s->dim[0] > 1 ? (across ? n : 1) : 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            y[i * n + j] = b[i * down + j * across] * beta;
}

static void scale(float *y, float by, size_t count)
{
    for (size_t i = 0; by != 1 && i < count; i++)
        y[i] *= by;
}

static maas_status run_gemm(const struct call *c, maas_error *error)
{
    const struct gemm g = read_gemm(c);
    const size_t m = (size_t)g.m, n = (size_t)g.n, k = (size_t)g.k;
    const bool product = k && g.alpha != 0, bias = call_has(c, 2) && g.beta != 0;
    float *y = c->out[0]->data;
    (void)error;
    if (!m || !n)
        return MAAS_OK;
    if (bias)
        spread_bias(y, c->in[2], product ? g.beta / g.alpha : g.beta, m, n);
    else if (!product)
        memset(y, 0, m * n * sizeof(*y));
    if (product)
        matmul(y, c->in[0]->data, g.ta, c->in[1]->data, g.tb, m, n, k, bias ? 1 : 0);
    if (product)
        scale(y, g.alpha, m * n);
    return MAAS_OK;
}

const struct operator ops_product[] = {
    { .name = "MatMul",
      .attributes = "",
      .least_in = 2,
      .most_in = 2,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_matmul,
      .run = run_matmul },
    { .name = "Gemm",
      .attributes = "alpha:f beta:f transA:i transB:i",
      .least_in = 2,
      .most_in = 3,
      .least_out = 1,
      .most_out = 1,
      .shape = shape_gemm,
      .run = run_gemm },
    { 0 },
};
