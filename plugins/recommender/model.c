/*
 * model.c: what follows from a model's ratings and factors, and is made when it was learnt or read:
 * rows by item, lengths, popularity, and of implicit factors what folding in needs.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

static void measure(const struct rec_rows *r, float *norms)
{
    for (uint32_t i = 0; i < r->count; i++) {
        double sum = 0;
        for (uint64_t k = r->from[i]; k < r->from[i + 1]; k++)
            sum += (double)r->value[k] * (double)r->value[k];
        norms[i] = (float)sqrt(sum);
    }
}

/* How many rated an item, of the most. */
static void measure_popularity(struct rec_model *m)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < m->items.count; i++)
        most = m->by_item.from[i + 1] - m->by_item.from[i] > most
                   ? m->by_item.from[i + 1] - m->by_item.from[i]
                   : most;
    for (uint32_t i = 0; i < m->items.count; i++)
        m->popularity[i] = (float)(m->by_item.from[i + 1] - m->by_item.from[i]) / (float)most;
}

/* Rows by item out of rows by user. */
static bool turn(struct rec_model *m, struct rec_work *work)
{
    const uint64_t count = m->by_user.from[m->users.count];
    struct rec_ratings r = { .count = count,
                             .user = calloc(count + 1, sizeof(uint32_t)),
                             .item = m->by_user.column,
                             .value = m->by_user.value };
    for (uint32_t u = 0; r.user && u < m->users.count; u++)
        for (uint64_t k = m->by_user.from[u]; k < m->by_user.from[u + 1]; k++)
            r.user[k] = u;
    const bool good = r.user && rec_rows_make(&m->by_item, &r, m->items.count, true, work);
    free(r.user);
    return good;
}

static bool take(struct rec_model *m)
{
    m->user_norm = calloc((size_t)m->users.count + 1, sizeof(float));
    m->item_norm = calloc((size_t)m->items.count + 1, sizeof(float));
    m->popularity = calloc((size_t)m->items.count + 1, sizeof(float));
    return m->user_norm && m->item_norm && m->popularity;
}

maas_status rec_complete(struct rec_model *m, struct rec_work *work, maas_error *error)
{
    if ((!m->by_item.from && !turn(m, work)) || !take(m))
        return rec_cancelled(work, 0)
                   ? maas_fail(error, MAAS_E_CANCELLED, "cancelled")
                   : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    measure(&m->by_user, m->user_norm);
    measure(&m->by_item, m->item_norm);
    measure_popularity(m);
    return MAAS_OK;
}

void rec_release(struct rec_model *m)
{
    rec_names_release(&m->users);
    rec_names_release(&m->items);
    rec_rows_release(&m->by_user);
    rec_rows_release(&m->by_item);
    rec_rows_release(&m->near);
    free(m->user_bias);
    free(m->item_bias);
    free(m->user_factors);
    free(m->item_factors);
    free(m->gram);
    free(m->root);
    free(m->popularity);
    free(m->item_norm);
    free(m->user_norm);
    memset(m, 0, sizeof(*m));
}
