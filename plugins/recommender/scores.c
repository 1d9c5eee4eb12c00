/*
 * scores.c: how much each item is for a person. Neighbours are not kept: cosines are summed through
 * the ratings themselves, exactly, for all items at once.
 */
#include "recommender.h"

#include <math.h>

static float dot(const float *a, const float *b, uint32_t n)
{
    float sum = 0;
    for (uint32_t k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

struct rec_person rec_person_of(const struct rec_model *m, uint32_t user)
{
    const uint64_t from = m->by_user.from[user];
    return (struct rec_person){ m->by_user.column + from, m->by_user.value + from,
                                (uint32_t)(m->by_user.from[user + 1] - from),
                                m->user_factors ? m->user_factors + (size_t)user * m->rank : NULL,
                                m->user_bias ? m->user_bias[user] : 0 };
}

static float inverse(float length)
{
    return length > 0 ? 1 / length : 0;
}

/* To every user what the person shares with it: the sum of products over common items. */
static void meet_users(const struct rec_model *m, const struct rec_person *who, float *users,
                       bool by_length)
{
    memset(users, 0, m->users.count * sizeof(*users));
    for (uint32_t i = 0; i < who->count; i++) {
        const uint32_t item = who->items[i];
        const float value = who->values[i] * (by_length ? inverse(m->item_norm[item]) : 1);
        for (uint64_t k = m->by_item.from[item]; k < m->by_item.from[item + 1]; k++)
            users[m->by_item.column[k]] += value * m->by_item.value[k];
    }
}

/* item-cosine: the sum of r[j] cos(i, j) over what the person rated; user-cosine: the sum of cos(u,
 * v) r[v][i] over users, short of the person's own length, which changes no order. */
static void through_users(const struct rec_model *m, const struct rec_person *who, float *scores,
                          float *users)
{
    const bool items = m->method == REC_ITEM_COSINE;
    meet_users(m, who, users, items);
    memset(scores, 0, m->items.count * sizeof(*scores));
    for (uint32_t u = 0; u < m->users.count; u++) {
        if (users[u] == 0)
            continue;
        const float value = users[u] * (items ? 1 : inverse(m->user_norm[u]));
        for (uint64_t k = m->by_user.from[u]; k < m->by_user.from[u + 1]; k++)
            scores[m->by_user.column[k]] += value * m->by_user.value[k];
    }
    for (uint32_t i = 0; items && i < m->items.count; i++)
        scores[i] *= inverse(m->item_norm[i]);
}

void rec_scores(const struct rec_model *m, const struct rec_person *who, float *scores,
                float *space)
{
    if (!who->count || m->method == REC_POPULARITY)
        memcpy(scores, m->popularity, m->items.count * sizeof(*scores));
    else if (m->item_factors)
        for (uint32_t i = 0; i < m->items.count; i++)
            scores[i] = dot(who->vector, m->item_factors + (size_t)i * m->rank, m->rank) +
                        (m->item_bias ? m->mean + who->bias + m->item_bias[i] : 0);
    else
        through_users(m, who, scores, space);
}

/* The product of two rows; lengths: each term by the inverse of its column's, or NULL. */
static double product(const struct rec_rows *r, uint32_t a, uint32_t b, const float *lengths)
{
    uint64_t i = r->from[a], j = r->from[b];
    double sum = 0;
    while (i < r->from[a + 1] && j < r->from[b + 1]) {
        const uint32_t x = r->column[i], y = r->column[j];
        if (x == y)
            sum += (double)r->value[i] * (double)r->value[j] *
                   (double)(lengths ? inverse(lengths[x]) : 1);
        i += x <= y;
        j += y <= x;
    }
    return sum;
}

static double cosine(const struct rec_rows *r, const float *norms, uint32_t a, uint32_t b)
{
    return product(r, a, b, NULL) * (double)inverse(norms[a]) * (double)inverse(norms[b]);
}

float rec_overlap(const struct rec_model *m, uint32_t a, uint32_t b)
{
    if (m->method == REC_POPULARITY)
        return 0;
    return (float)(m->method == REC_USER_COSINE ? product(&m->by_item, a, b, m->user_norm)
                                                : cosine(&m->by_item, m->item_norm, a, b));
}

void rec_near(const struct rec_model *m, uint32_t item, float *scores)
{
    const float *q = m->item_factors ? m->item_factors + (size_t)item * m->rank : NULL;
    const float length = q ? sqrtf(dot(q, q, m->rank)) : 0;
    for (uint32_t i = 0; i < m->items.count; i++) {
        const float *o = q ? m->item_factors + (size_t)i * m->rank : NULL;
        scores[i] += q ? dot(q, o, m->rank) * inverse(length) * inverse(sqrtf(dot(o, o, m->rank)))
                       : rec_overlap(m, item, i);
    }
}

static float baseline(const struct rec_model *m, uint32_t user, uint32_t item)
{
    return m->mean + m->user_bias[user] + m->item_bias[item];
}

/* Neighbours: what ratings leave beside their baselines, weighted by how near they are, on the
 * pair's own baseline (Koren 2010, eq. 3); a weight of 1 for the baseline alone shrinks what few
 * say. item-cosine: the user's ratings of other items; user-cosine: other users' of the item. */
static float neighbours_guess(const struct rec_model *m, uint32_t user, uint32_t item)
{
    const bool items = m->method == REC_ITEM_COSINE;
    const struct rec_rows *rows = items ? &m->by_user : &m->by_item;
    const uint32_t row = items ? user : item;
    double sum = 0, weights = 1;
    for (uint64_t k = rows->from[row]; k < rows->from[row + 1]; k++) {
        const uint32_t other = rows->column[k];
        const double near = items ? cosine(&m->by_item, m->item_norm, item, other)
                                  : cosine(&m->by_user, m->user_norm, user, other);
        sum += near * (double)(rows->value[k] -
                               (items ? baseline(m, user, other) : baseline(m, other, item)));
        weights += fabs(near);
    }
    return baseline(m, user, item) + (float)(sum / weights);
}

float rec_predict(const struct rec_model *m, uint32_t user, uint32_t item)
{
    if (m->method == REC_POPULARITY)
        return m->mean;
    if (!m->item_factors)
        return neighbours_guess(m, user, item);
    return dot(m->user_factors + (size_t)user * m->rank, m->item_factors + (size_t)item * m->rank,
               m->rank) +
           (m->item_bias ? m->mean + m->user_bias[user] + m->item_bias[item] : 0);
}
