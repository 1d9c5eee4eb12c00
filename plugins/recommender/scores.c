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

float rec_overlap(const struct rec_model *m, uint32_t a, uint32_t b)
{
    uint64_t i = m->by_item.from[a], j = m->by_item.from[b];
    const bool items = m->method != REC_USER_COSINE;
    double sum = 0;
    while (i < m->by_item.from[a + 1] && j < m->by_item.from[b + 1]) {
        const uint32_t x = m->by_item.column[i], y = m->by_item.column[j];
        if (x == y)
            sum += (double)m->by_item.value[i] * (double)m->by_item.value[j] *
                   (double)(items ? 1 : inverse(m->user_norm[x]));
        i += x <= y;
        j += y <= x;
    }
    if (m->method == REC_POPULARITY)
        return 0;
    return (float)(sum * (double)(items ? inverse(m->item_norm[a]) * inverse(m->item_norm[b]) : 1));
}

void rec_near(const struct rec_model *m, uint32_t item, float *scores)
{
    const float *q = m->item_factors ? m->item_factors + (size_t)item * m->rank : NULL;
    const float length = q ? sqrtf(dot(q, q, m->rank)) : 0;
    for (uint32_t i = 0; i < m->items.count; i++) {
        const float *o = q ? m->item_factors + (size_t)i * m->rank : NULL;
        scores[i] = q ? dot(q, o, m->rank) * inverse(length) * inverse(sqrtf(dot(o, o, m->rank)))
                      : rec_overlap(m, item, i);
    }
}

/* Neighbours: the mean of the person's ratings, weighted by how near each item is; without any, the
 * item's own mean. */
static float neighbours_mean(const struct rec_model *m, uint32_t user, uint32_t item)
{
    double sum = 0, weights = 0;
    for (uint64_t k = m->by_user.from[user]; k < m->by_user.from[user + 1]; k++) {
        const double near = fabs((double)rec_overlap(m, item, m->by_user.column[k]));
        sum += near * (double)m->by_user.value[k];
        weights += near;
    }
    return weights > 0 ? (float)(sum / weights) : m->mean;
}

float rec_predict(const struct rec_model *m, uint32_t user, uint32_t item)
{
    if (m->method == REC_POPULARITY)
        return m->mean;
    if (!m->item_factors)
        return neighbours_mean(m, user, item);
    return dot(m->user_factors + (size_t)user * m->rank, m->item_factors + (size_t)item * m->rank,
               m->rank) +
           (m->item_bias ? m->mean + m->user_bias[user] + m->item_bias[item] : 0);
}
