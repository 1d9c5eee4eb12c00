/*
 * factors.c: biases as shrunk means; factors by alternating least squares: each half of a sweep
 * solves, for every item (or user) alone, the equations of its ratings exactly, so the objective
 * never rises. Users come last: each user's factors are what folding its ratings in gives, to the
 * bit, however few sweeps there were.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"

static struct rec_row row_of(const struct rec_rows *rows, uint32_t r, const float *biases)
{
    return (struct rec_row){ .columns = rows->column + rows->from[r],
                             .values = rows->value + rows->from[r],
                             .count = rows->from[r + 1] - rows->from[r],
                             .bias = biases ? biases[r] : 0 };
}

static maas_status cancelled(maas_error *error)
{
    return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
}

/* ---- biases */

static float bias_of(const struct rec_model *m, const struct rec_row *row, const float *others)
{
    double sum = 0;
    for (uint64_t i = 0; i < row->count; i++)
        sum += (double)row->values[i] - (double)m->mean - (double)others[row->columns[i]];
    const double ratings = (double)row->count + (double)m->bias_ridge;
    return ratings > 0 ? (float)(sum / ratings) : 0; /* without ratings and ridge: as the mean */
}

static void bias_side(const struct rec_model *m, bool items, struct rec_work *work)
{
    const struct rec_rows *rows = items ? &m->by_item : &m->by_user;
    float *own = items ? m->item_bias : m->user_bias;
    for (uint32_t r = 0; r < rows->count; r++) {
        const struct rec_row row = row_of(rows, r, NULL);
        own[r] = bias_of(m, &row, items ? m->user_bias : m->item_bias);
        if (rec_cancelled(work, 4 * row.count + 1))
            return;
    }
}

maas_status rec_learn_biases(struct rec_model *m, struct rec_work *work, maas_error *error)
{
    m->user_bias = calloc((size_t)m->users.count + 1, sizeof(float));
    m->item_bias = calloc((size_t)m->items.count + 1, sizeof(float));
    if (!m->user_bias || !m->item_bias)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the biases");
    for (int pass = 0; pass < 20 && !rec_cancelled(work, 0); pass++) {
        bias_side(m, true, work);
        bias_side(m, false, work);
    }
    return rec_cancelled(work, 0) ? cancelled(error) : MAAS_OK;
}

float rec_fold_bias(const struct rec_model *m, const struct rec_row *row)
{
    return m->item_bias ? bias_of(m, row, m->item_bias) : 0;
}

/* ---- sweeps */

/* ials: what all the others together say of nobody in particular. */
static bool stand(struct rec_model *m, const float *factors, uint32_t count, struct rec_work *work)
{
    const uint32_t n = m->rank;
    if (!rec_gram(m->gram, factors, count, n, work))
        return false;
    memcpy(m->root, m->gram, (size_t)n * n * sizeof(*m->root));
    for (uint32_t i = 0; i < n; i++)
        m->root[(size_t)i * n + i] += (double)m->ridge;
    return rec_root(m->root, n);
}

static struct rec_side side_of(const struct rec_model *m, bool items, double *space,
                               struct rec_work *work)
{
    return (struct rec_side){ .m = m,
                              .factors = items ? m->item_factors : m->user_factors,
                              .biases = items ? m->item_bias : m->user_bias,
                              .gram = m->gram,
                              .root = m->root,
                              .space = space,
                              .work = work };
}

/* Solves the items against the users, or the users against the items. */
static bool half(struct rec_model *m, bool items, double *space, struct rec_work *work)
{
    const struct rec_rows *rows = items ? &m->by_item : &m->by_user;
    const struct rec_side side = side_of(m, !items, space, work);
    float *ours = items ? m->item_factors : m->user_factors;
    if (m->gram && !stand(m, side.factors, items ? m->users.count : m->items.count, work))
        return false;
    for (uint32_t r = 0; r < rows->count; r++) {
        const struct rec_row row = row_of(rows, r, items ? m->item_bias : m->user_bias);
        if (!rec_solve_row(&side, &row, ours + (size_t)r * m->rank))
            return false;
    }
    return true;
}

static double squares_of(const struct rec_side *s, const struct rec_row *row, const float *own)
{
    double sum = 0;
    for (uint64_t i = 0; i < row->count; i++) {
        const float *q = s->factors + (size_t)row->columns[i] * s->m->rank;
        double left = s->gram ? 1 : rec_target(s, row, i);
        for (uint32_t k = 0; k < s->m->rank; k++)
            left -= (double)own[k] * (double)q[k];
        sum += left * left;
    }
    return sum;
}

/* Root of the mean square of what als leaves; of ials, of 1 less what it says where something was
 * seen. */
static double fit(const struct rec_model *m, struct rec_work *work)
{
    double sum = 0;
    const struct rec_side side = side_of(m, true, NULL, work);
    for (uint32_t u = 0; u < m->users.count; u++) {
        const struct rec_row row = row_of(&m->by_user, u, m->user_bias);
        sum += squares_of(&side, &row, m->user_factors + (size_t)u * m->rank);
        if (rec_cancelled(work, row.count * m->rank + 1))
            break;
    }
    return sqrt(sum / (double)m->by_user.from[m->users.count]);
}

static bool take_gram(struct rec_model *m)
{
    const size_t cells = (size_t)m->rank * m->rank;
    m->gram = calloc(cells, sizeof(double));
    m->root = calloc(cells, sizeof(double));
    return m->gram && m->root;
}

bool rec_prepare_fold(struct rec_model *m, struct rec_work *work)
{
    return take_gram(m) && stand(m, m->item_factors, m->items.count, work);
}

static bool take(struct rec_model *m)
{
    const size_t n = m->rank;
    m->user_factors = calloc(m->users.count * n + 1, sizeof(float));
    m->item_factors = calloc(m->items.count * n + 1, sizeof(float));
    return m->user_factors && m->item_factors && (m->method == REC_ALS || take_gram(m));
}

static maas_status sweep(struct rec_model *m, double *space, struct rec_work *work,
                         maas_error *error)
{
    if (half(m, true, space, work) && half(m, false, space, work))
        return MAAS_OK;
    return rec_cancelled(work, 0)
               ? cancelled(error)
               : maas_fail(error, MAAS_E_INVALID,
                           "the equations of a row cannot be solved; choose a larger 'ridge'");
}

static void tell(const struct rec_model *m, uint32_t done, uint32_t sweeps, struct rec_work *work)
{
    maas_emit_scalar(work->host, work->request, "progress", (double)done / sweeps);
    maas_emit_scalar(work->host, work->request, "sweep", done);
    maas_emit_scalar(work->host, work->request, "train_fit", fit(m, work));
}

maas_status rec_learn_factors(struct rec_model *m, const struct rec_learning *how,
                              struct rec_work *work, maas_error *error)
{
    uint64_t random = how->random;
    double *space = calloc(REC_SOLVE_DOUBLES(m->rank), sizeof(*space));
    maas_status status = MAAS_OK;
    if (!space || !take(m))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u factors", m->rank);
    for (size_t i = 0; !status && i < (size_t)m->users.count * m->rank; i++) {
        m->user_factors[i] = (float)(random_normal(&random) * 0.1);
        status = rec_cancelled(work, 50) ? cancelled(error) : MAAS_OK;
    }
    for (uint32_t s = 1; !status && s <= how->sweeps; s++) {
        status = sweep(m, space, work, error);
        if (!status)
            tell(m, s, how->sweeps, work);
    }
    free(space);
    return status;
}

bool rec_fold(const struct rec_model *m, const struct rec_row *row, double *space,
              struct rec_work *work, float *vector)
{
    const struct rec_side side = side_of(m, true, space, work);
    return rec_solve_row(&side, row, vector);
}
