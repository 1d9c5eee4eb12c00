/*
 * scores.c: how much each item is for a person, how near items are, what a pair would be rated, and
 * why.
 *
 *   als, ials    p q[i], als with the mean and both biases
 *   item-cosine  the sum of r[j] near(j, i) over what the person rated; near: of j's kept
 * neighbours user-cosine  the sum of near(u, v) r[v][i] over the person's kept neighbours
 *
 * A rating is predicted by the biases and, of neighbours, the mean of what they leave over,
 * weighted by similarity (Koren 2008, 2.2).
 */
#include "recommender.h"

#include <math.h>

#define DOUBT 0.3 /* similarity that speaks for the biases alone; few neighbours say little */

static float dot(const float *a, const float *b, uint32_t n)
{
    float sum = 0;
    for (uint32_t k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

static const float *factors_of(const struct rec_model *m, uint32_t item)
{
    return m->item_factors + (size_t)item * m->rank;
}

struct rec_person rec_person_of(const struct rec_model *m, uint32_t user)
{
    const uint64_t from = m->by_user.from[user];
    struct rec_person who = { .row = { m->by_user.column + from, m->by_user.value + from,
                                       m->by_user.from[user + 1] - from,
                                       m->user_bias ? m->user_bias[user] : 0 } };
    if (m->user_factors)
        who.vector = m->user_factors + (size_t)user * m->rank;
    if (m->method == REC_USER_COSINE) {
        who.near = m->near.column + m->near.from[user];
        who.nearness = m->near.value + m->near.from[user];
        who.near_count = (uint32_t)(m->near.from[user + 1] - m->near.from[user]);
    }
    return who;
}

/* ---- scores */

/* scores += weight times a row. */
static bool add_row(const struct rec_rows *rows, uint32_t row, float weight, float *scores,
                    struct rec_work *work)
{
    for (uint64_t k = rows->from[row]; k < rows->from[row + 1]; k++)
        scores[rows->column[k]] += weight * rows->value[k];
    return !rec_cancelled(work, 2 * (rows->from[row + 1] - rows->from[row]));
}

static bool by_factors(const struct rec_model *m, const struct rec_person *who, float *scores,
                       struct rec_work *work)
{
    for (uint32_t i = 0; i < m->items.count; i++) {
        scores[i] = dot(who->vector, factors_of(m, i), m->rank) +
                    (m->item_bias ? m->mean + who->row.bias + m->item_bias[i] : 0);
        if (rec_cancelled(work, m->rank))
            return false;
    }
    return true;
}

static bool by_neighbours(const struct rec_model *m, const struct rec_person *who, float *scores,
                          struct rec_work *work)
{
    memset(scores, 0, m->items.count * sizeof(*scores));
    if (m->method == REC_ITEM_COSINE) {
        for (uint64_t j = 0; j < who->row.count; j++)
            if (!add_row(&m->near, who->row.columns[j], who->row.values[j], scores, work))
                return false;
    } else {
        for (uint32_t v = 0; v < who->near_count; v++)
            if (!add_row(&m->by_user, who->near[v], who->nearness[v], scores, work))
                return false;
    }
    return true;
}

bool rec_scores(const struct rec_model *m, const struct rec_person *who, float *scores,
                struct rec_work *work)
{
    if (!who->row.count || m->method == REC_POPULARITY)
        memcpy(scores, m->popularity, m->items.count * sizeof(*scores));
    else if (m->item_factors)
        return by_factors(m, who, scores, work);
    else
        return by_neighbours(m, who, scores, work);
    return true;
}

/* ---- similar items */

/* The mean of the unit vectors of some items. */
static void direction(const struct rec_model *m, const uint32_t *items, uint32_t count, float *out)
{
    memset(out, 0, m->rank * sizeof(*out));
    for (uint32_t i = 0; i < count; i++) {
        const float *q = factors_of(m, items[i]), length = sqrtf(dot(q, q, m->rank));
        for (uint32_t k = 0; length > 0 && k < m->rank; k++)
            out[k] += q[k] / length / (float)count;
    }
}

static bool similar_factors(const struct rec_model *m, const uint32_t *items, uint32_t count,
                            float *scores, struct rec_work *work)
{
    float mean[REC_RANK_MAX];
    direction(m, items, count, mean);
    for (uint32_t i = 0; i < m->items.count; i++) {
        const float *q = factors_of(m, i), length = sqrtf(dot(q, q, m->rank));
        scores[i] = length > 0 ? dot(mean, q, m->rank) / length : 0;
        if (rec_cancelled(work, (uint64_t)2 * m->rank))
            return false;
    }
    return true;
}

bool rec_similar(const struct rec_model *m, const uint32_t *items, uint32_t count, float *scores,
                 struct rec_meeting *meeting, struct rec_work *work)
{
    if (m->item_factors)
        return similar_factors(m, items, count, scores, work);
    memset(scores, 0, m->items.count * sizeof(*scores));
    for (uint32_t i = 0; i < count; i++)
        if (!(m->method == REC_ITEM_COSINE ? add_row(&m->near, items[i], 1, scores, work)
                                           : rec_add_similar(m, items[i], meeting, scores, work)))
            return false;
    for (uint32_t i = 0; i < m->items.count; i++)
        scores[i] /= (float)count;
    return !rec_cancelled(work, m->items.count);
}

/* ---- ratings */

/* What is left of a rating beyond the biases. */
static double residual(const struct rec_model *m, uint32_t user, uint32_t item, float rating)
{
    return (double)rating - (double)m->mean - (double)m->user_bias[user] -
           (double)m->item_bias[item];
}

/* The weighted mean of what is left of the neighbours' ratings, with DOUBT of nothing left. */
static double neighbours_say(const struct rec_model *m, uint32_t user, uint32_t item)
{
    const bool items = m->method == REC_ITEM_COSINE;
    const struct rec_rows *over = items ? &m->by_user : &m->near; /* j rated, or v near */
    double sum = 0, weights = 0;
    for (uint64_t k = over->from[user]; k < over->from[user + 1]; k++) {
        const uint32_t other = over->column[k];
        const float *found = rec_rows_find(items ? &m->near : &m->by_user, other, item);
        if (!found)
            continue;
        sum += items ? (double)*found * residual(m, user, other, over->value[k])
                     : (double)over->value[k] * residual(m, other, item, *found);
        weights += (double)(items ? *found : over->value[k]);
    }
    return sum / (weights + DOUBT);
}

float rec_predict(const struct rec_model *m, uint32_t user, uint32_t item)
{
    double rating = (double)m->mean;
    if (m->user_bias && user != REC_NOBODY)
        rating += (double)m->user_bias[user];
    if (m->item_bias && item != REC_NOBODY)
        rating += (double)m->item_bias[item];
    if (user == REC_NOBODY || item == REC_NOBODY)
        return (float)rating;
    if (m->item_factors)
        rating +=
            (double)dot(m->user_factors + (size_t)user * m->rank, factors_of(m, item), m->rank);
    else if (m->near.from)
        rating += neighbours_say(m, user, item);
    return (float)rating;
}

/* ---- reasons */

/* As folding in sees it. */
static struct rec_side side_of(const struct rec_model *m, double *space, struct rec_work *work)
{
    return (struct rec_side){ .m = m,
                              .factors = m->item_factors,
                              .biases = m->item_bias,
                              .gram = m->gram,
                              .root = m->root,
                              .space = space,
                              .work = work };
}

bool rec_because_start(const struct rec_model *m, const struct rec_person *who, double *space,
                       struct rec_work *work)
{
    const struct rec_side side = side_of(m, space, work);
    const uint64_t n = m->rank;
    return !m->item_factors || (rec_left_side(&side, &who->row, space) &&
                                !rec_cancelled(work, n * n * n / 6) && rec_root(space, m->rank));
}

/* q[item]' W q[j] t[j]: W is the inverse of the left side (Hu, Koren, Volinsky 2008, 5). */
static bool because_factors(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                            double *space, float *out, struct rec_work *work)
{
    const uint32_t n = m->rank;
    const struct rec_side side = side_of(m, space, work);
    double through[REC_RANK_MAX];
    for (uint32_t k = 0; k < n; k++)
        through[k] = (double)factors_of(m, item)[k];
    rec_root_forward(space, through, n);
    rec_root_backward(space, through, n);
    for (uint64_t i = 0; i < who->row.count && !rec_cancelled(work, n); i++) {
        double near = 0;
        for (uint32_t k = 0; k < n; k++)
            near += through[k] * (double)factors_of(m, who->row.columns[i])[k];
        out[i] = (float)(near * rec_target(&side, &who->row, i));
    }
    return !rec_cancelled(work, (uint64_t)n * n);
}

/* What each of a person's ratings is of the product with a neighbour's. */
static double share(const struct rec_model *m, const struct rec_person *who, uint32_t v, uint64_t i)
{
    const float *theirs = rec_rows_find(&m->by_user, who->near[v], who->row.columns[i]);
    return theirs ? (double)who->row.values[i] * (double)*theirs : 0;
}

static void because_neighbour(const struct rec_model *m, const struct rec_person *who, uint32_t v,
                              double weight, float *out)
{
    double all = 0;
    for (uint64_t i = 0; i < who->row.count; i++)
        all += share(m, who, v, i);
    for (uint64_t i = 0; all > 0 && i < who->row.count; i++)
        out[i] += (float)(weight / all * share(m, who, v, i));
}

static bool because_users(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                          float *out, struct rec_work *work)
{
    for (uint32_t v = 0; v < who->near_count; v++) {
        const float *rating = rec_rows_find(&m->by_user, who->near[v], item);
        if (rating)
            because_neighbour(m, who, v, (double)who->nearness[v] * (double)*rating, out);
        if (rec_cancelled(work, 16 + (rating ? who->row.count * 32 : 0)))
            return false;
    }
    return true;
}

bool rec_because(const struct rec_model *m, const struct rec_person *who, uint32_t item,
                 double *space, float *out, struct rec_work *work)
{
    if (m->item_factors)
        return because_factors(m, who, item, space, out, work);
    memset(out, 0, who->row.count * sizeof(*out));
    if (m->method == REC_USER_COSINE)
        return because_users(m, who, item, out, work);
    for (uint64_t j = 0; m->method == REC_ITEM_COSINE && j < who->row.count; j++) {
        const float *near = rec_rows_find(&m->near, who->row.columns[j], item);
        out[j] = near ? who->row.values[j] * *near : 0;
    }
    return !rec_cancelled(work, who->row.count * 8);
}
