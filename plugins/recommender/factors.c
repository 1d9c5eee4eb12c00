/*
 * factors.c: each half of a sweep solves, for every user (or item) alone, the normal equations of
 * its ratings by Cholesky, so the objective never rises.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "equations.h"

enum { LOOK_ENTRIES = 20000 /* of ratings, between two looks at cancelled */ };

/* The equations' left side for somebody with these ratings: what others' factors are, by column.
 * weights: space of count floats, of ials. */
static void left_side(const struct rec_model *m, const float *factors, const double *gram,
                      const uint32_t *columns, const float *values, uint64_t count, float *weights,
                      double *a)
{
    const uint32_t n = m->rank;
    if (gram)
        memcpy(a, gram, (size_t)n * n * sizeof(*a));
    else
        memset(a, 0, (size_t)n * n * sizeof(*a));
    for (uint64_t i = 0; gram && i < count; i++)
        weights[i] = m->alpha * fmaxf(values[i], 0);
    equations_add(a, factors, columns, gram ? weights : NULL, count, n);
    for (uint32_t i = 0; i < n; i++)
        a[i * n + i] += (double)m->ridge * (gram ? 1 : (double)(count ? count : 1));
}

/* What an entry says: als: what the biases leave; ials: its confidence. */
static double target(const struct rec_model *m, float value, float own_bias, float other_bias)
{
    if (m->method == REC_IALS)
        return value > 0 ? 1 + (double)m->alpha * (double)value : 0;
    return (double)value - (double)m->mean - (double)own_bias - (double)other_bias;
}

static bool solve_one(const struct rec_model *m, const float *factors, const float *biases,
                      const double *gram, const uint32_t *columns, const float *values,
                      uint64_t count, float own_bias, double *work, float *out)
{
    const uint32_t n = m->rank;
    double *a = work, *b = work + (size_t)n * n;
    left_side(m, factors, gram, columns, values, count, (float *)(void *)(b + n), a);
    memset(b, 0, n * sizeof(*b));
    for (uint64_t i = 0; i < count; i++) {
        const double t = target(m, values[i], own_bias, biases ? biases[columns[i]] : 0);
        for (uint32_t k = 0; k < n; k++)
            b[k] += t * (double)factors[(size_t)columns[i] * n + k];
    }
    if (!equations_solve(a, b, n))
        return false;
    for (uint32_t k = 0; k < n; k++)
        out[k] = (float)b[k];
    return true;
}

void rec_gram(double *gram, const float *factors, uint32_t count, uint32_t n)
{
    memset(gram, 0, (size_t)n * n * sizeof(*gram));
    equations_add(gram, factors, NULL, NULL, count, n);
}

/* ---- biases: shrunk means of what is left, items and users in turn */

static float bias_of(const struct rec_model *m, const uint32_t *columns, const float *values,
                     uint64_t count, const float *other)
{
    const double weight = (double)count + (double)m->bias_ridge;
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)values[i] - (double)m->mean - (double)other[columns[i]];
    return weight > 0 ? (float)(sum / weight) : 0; /* without ratings and ridge: as the mean */
}

static void bias_side(const struct rec_model *m, const struct rec_rows *rows, float *own,
                      const float *other)
{
    for (uint32_t r = 0; r < rows->count; r++) {
        const uint64_t from = rows->from[r];
        own[r] =
            bias_of(m, rows->column + from, rows->value + from, rows->from[r + 1] - from, other);
    }
}

bool rec_learn_biases(struct rec_model *m)
{
    m->user_bias = calloc((size_t)m->users.count + 1, sizeof(float));
    m->item_bias = calloc((size_t)m->items.count + 1, sizeof(float));
    if (!m->user_bias || !m->item_bias)
        return false;
    for (int pass = 0; pass < 20; pass++) {
        bias_side(m, &m->by_item, m->item_bias, m->user_bias);
        bias_side(m, &m->by_user, m->user_bias, m->item_bias);
    }
    return true;
}

/* ---- sweeps */

static maas_status half(struct rec_model *m, bool items, double *gram, double *work,
                        const maas_host *host, const maas_request *job, maas_error *error)
{
    const struct rec_rows *rows = items ? &m->by_item : &m->by_user;
    const float *theirs = items ? m->user_factors : m->item_factors,
                *bias = items ? m->user_bias : m->item_bias;
    float *ours = items ? m->item_factors : m->user_factors,
          *own = items ? m->item_bias : m->user_bias;
    if (gram)
        rec_gram(gram, theirs, items ? m->users.count : m->items.count, m->rank);
    uint64_t entries = 0; /* since the last look at cancelled */
    for (uint32_t r = 0; r < rows->count; r++) {
        const uint64_t from = rows->from[r], count = rows->from[r + 1] - from;
        if (!solve_one(m, theirs, bias, gram, rows->column + from, rows->value + from, count,
                       own ? own[r] : 0, work, ours + (size_t)r * m->rank))
            return maas_fail(error, MAAS_E_INVALID,
                             "the equations of a row cannot be solved; choose a larger 'ridge'");
        if ((entries += count + 8) < LOOK_ENTRIES)
            continue;
        entries = 0;
        if (host->cancelled(host, job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return MAAS_OK;
}

/* Root of the mean square of what als leaves, or ials' loss over what was seen. */
static double fit(const struct rec_model *m)
{
    double sum = 0;
    const uint64_t count = m->by_user.from[m->by_user.count];
    for (uint32_t u = 0; u < m->by_user.count; u++)
        for (uint64_t i = m->by_user.from[u]; i < m->by_user.from[u + 1]; i++) {
            double p = 0;
            for (uint32_t k = 0; k < m->rank; k++)
                p += (double)m->user_factors[(size_t)u * m->rank + k] *
                     (double)m->item_factors[(size_t)m->by_user.column[i] * m->rank + k];
            const double want = m->method == REC_IALS
                                    ? 1
                                    : target(m, m->by_user.value[i], m->user_bias[u],
                                             m->item_bias[m->by_user.column[i]]);
            sum += (want - p) * (want - p);
        }
    return sqrt(sum / (double)count);
}

static bool take(struct rec_model *m)
{
    m->user_factors = calloc((size_t)m->users.count * m->rank + 1, sizeof(float));
    m->item_factors = calloc((size_t)m->items.count * m->rank + 1, sizeof(float));
    if (m->method == REC_IALS)
        m->gram = calloc((size_t)m->rank * m->rank + 1, sizeof(double));
    return m->user_factors && m->item_factors &&
           (m->method == REC_ALS ? rec_learn_biases(m) : m->gram != NULL);
}

static uint64_t longest(const struct rec_rows *r)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < r->count; i++)
        most = r->from[i + 1] - r->from[i] > most ? r->from[i + 1] - r->from[i] : most;
    return most;
}

size_t rec_work(uint32_t rank, uint64_t count)
{
    return (size_t)rank * (rank + 1) + (count + 1) / 2 + 1;
}

static maas_status sweep(struct rec_model *m, const struct rec_learning *how, double *work,
                         const maas_host *host, const maas_request *job, maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t s = 1; !status && s <= how->sweeps; s++) {
        status = half(m, false, m->gram, work, host, job, error);
        if (!status)
            status = half(m, true, m->gram, work, host, job, error);
        if (!status) {
            maas_emit_scalar(host, job, "sweep", s);
            maas_emit_scalar(host, job, "train_fit", fit(m));
        }
    }
    if (!status) /* so that a user's own factors are what folding it in gives */
        status = half(m, false, m->gram, work, host, job, error);
    return status;
}

maas_status rec_learn(struct rec_model *m, const struct rec_learning *how, const maas_host *host,
                      const maas_request *job, maas_error *error)
{
    uint64_t random = how->random;
    const uint64_t users = longest(&m->by_user), items = longest(&m->by_item);
    double *work = calloc(rec_work(m->rank, users > items ? users : items), sizeof(*work));
    if (!work || !take(m)) {
        free(work);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u factors", m->rank);
    }
    for (size_t i = 0; i < (size_t)m->items.count * m->rank; i++)
        m->item_factors[i] = (float)(random_normal(&random) * 0.1);
    maas_status status = sweep(m, how, work, host, job, error);
    free(work);
    return status;
}

bool rec_fold(const struct rec_model *m, const uint32_t *items, const float *values, uint32_t count,
              double *work, float *vector, float *bias)
{
    *bias = m->method == REC_ALS ? bias_of(m, items, values, count, m->item_bias) : 0;
    return solve_one(m, m->item_factors, m->item_bias, m->gram, items, values, count, *bias, work,
                     vector);
}

/* q[item]' W q[j] t[j]: W is the inverse of the left side (Hu, Koren, Volinsky 2008, 5). */
void rec_because(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                 double *work, float *out)
{
    const uint32_t n = m->rank;
    double *a = work, *b = work + (size_t)n * n;
    for (uint32_t i = 0; !m->item_factors && i < who->count; i++)
        out[i] = who->values[i] * rec_overlap(m, item, who->items[i]);
    if (!m->item_factors)
        return;
    left_side(m, m->item_factors, m->gram, who->items, who->values, who->count,
              (float *)(void *)(b + n), a);
    for (uint32_t k = 0; k < n; k++)
        b[k] = (double)m->item_factors[(size_t)item * n + k];
    const bool good = equations_solve(a, b, n);
    for (uint32_t i = 0; i < who->count; i++) {
        double near = 0;
        for (uint32_t k = 0; k < n; k++)
            near += b[k] * (double)m->item_factors[(size_t)who->items[i] * n + k];
        out[i] = good ? (float)(near * target(m, who->values[i], who->bias,
                                              m->item_bias ? m->item_bias[who->items[i]] : 0))
                      : 0;
    }
}
