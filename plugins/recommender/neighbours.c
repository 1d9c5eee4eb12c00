/*
 * neighbours.c: who is nearest to whom. Similarities of one to all others are summed through the
 * ratings, exactly, in time of the ratings of all who share something with it; the best are kept
 * when the model is learnt, so a request costs no more than what is kept. Only somebody who is new
 * has to be met when asked.
 *
 * A cosine over few common ratings says little, so it is shrunk: cos common / (common + shrink)
 * (Koren 2008, 2.2).
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

size_t rec_meeting_bytes(uint32_t subjects)
{
    return (size_t)subjects * (sizeof(double) + 2 * sizeof(uint32_t));
}

void rec_meeting_place(struct rec_meeting *meeting, void *zeroed, uint32_t subjects)
{
    meeting->sum = zeroed;
    meeting->common = (uint32_t *)(void *)(meeting->sum + subjects);
    meeting->touched = meeting->common + subjects;
    meeting->count = 0;
}

static void forget(struct rec_meeting *meeting)
{
    for (uint32_t i = 0; i < meeting->count; i++) {
        meeting->sum[meeting->touched[i]] = 0;
        meeting->common[meeting->touched[i]] = 0;
    }
    meeting->count = 0;
}

static void touch(struct rec_meeting *meeting, uint32_t who, double product)
{
    if (!meeting->common[who]++)
        meeting->touched[meeting->count++] = who;
    meeting->sum[who] += product;
}

/* Everybody who shares a column with the row; others: by column who has it. */
static bool meet(const struct rec_row *row, const struct rec_rows *others,
                 struct rec_meeting *meeting, struct rec_work *work)
{
    for (uint64_t i = 0; i < row->count; i++) {
        const uint64_t from = others->from[row->columns[i]], to = others->from[row->columns[i] + 1];
        for (uint64_t k = from; k < to; k++)
            touch(meeting, others->column[k], (double)row->values[i] * (double)others->value[k]);
        if (rec_cancelled(work, 4 * (to - from) + 1))
            return false;
    }
    return true;
}

static double length_of(const struct rec_row *row)
{
    double sum = 0;
    for (uint64_t i = 0; i < row->count; i++)
        sum += (double)row->values[i] * (double)row->values[i];
    return sqrt(sum);
}

/* lengths: of the others. 0: they are not alike. */
static float similarity(const struct rec_model *m, const struct rec_meeting *meeting, uint32_t who,
                        double length, const float *lengths)
{
    const double both = length * (double)lengths[who], common = meeting->common[who];
    const double cosine = both > 0 ? meeting->sum[who] / both : 0;
    return (float)(fmax(fmin(cosine, 1), -1) * common / (common + (double)m->shrink));
}

static void offer_met(const struct rec_model *m, const struct rec_meeting *meeting, uint32_t self,
                      double length, const float *lengths, struct rec_top *top)
{
    for (uint32_t i = 0; i < meeting->count; i++) {
        const uint32_t who = meeting->touched[i];
        const float near = similarity(m, meeting, who, length, lengths);
        if (who != self && near > 0)
            rec_top_offer(top, who, near);
    }
    rec_top_by_index(top);
}

/* The nearest of one row, of those that `others` name; top is empty before. */
static bool nearest(const struct rec_model *m, const struct rec_row *row, uint32_t self,
                    const struct rec_rows *others, const float *lengths,
                    struct rec_meeting *meeting, struct rec_top *top, struct rec_work *work)
{
    const bool good =
        meet(row, others, meeting, work) && !rec_cancelled(work, (uint64_t)meeting->count * 8);
    if (good)
        offer_met(m, meeting, self, length_of(row), lengths, top);
    forget(meeting);
    return good;
}

bool rec_find_neighbours(const struct rec_model *m, const struct rec_row *row, uint32_t self,
                         struct rec_meeting *meeting, struct rec_top *top, struct rec_work *work)
{
    return nearest(m, row, self, &m->by_item, m->user_norm, meeting, top, work);
}

bool rec_add_similar(const struct rec_model *m, uint32_t item, struct rec_meeting *meeting,
                     float *scores, struct rec_work *work)
{
    const uint64_t from = m->by_item.from[item];
    const struct rec_row row = { m->by_item.column + from, m->by_item.value + from,
                                 m->by_item.from[item + 1] - from, 0 };
    const bool good = meet(&row, &m->by_user, meeting, work);
    for (uint32_t i = 0; good && i < meeting->count; i++)
        scores[meeting->touched[i]] +=
            similarity(m, meeting, meeting->touched[i], (double)m->item_norm[item], m->item_norm);
    forget(meeting);
    return good;
}

/* ---- what is kept of a model */

struct keeping {
    struct rec_meeting meeting;
    void *space;
    struct rec_top top;
    uint64_t room; /* entries of near */
};

static bool grow(struct rec_rows *near, uint64_t *room, uint64_t wanted)
{
    if (wanted <= *room)
        return true;
    const uint64_t next = wanted > *room * 2 ? wanted + 4096 : *room * 2;
    uint32_t *column = realloc(near->column, next * sizeof(*column));
    near->column = column ? column : near->column;
    float *value = realloc(near->value, next * sizeof(*value));
    near->value = value ? value : near->value;
    *room = column && value ? next : *room;
    return column && value;
}

static maas_status keep(struct rec_rows *near, uint32_t row, struct keeping *k, maas_error *error)
{
    const uint64_t from = near->from[row];
    if (from + k->top.count > REC_NEAR_MAX)
        return maas_fail(error, MAAS_E_EXHAUSTED,
                         "more than %d neighbours in all; set fewer 'neighbours'", REC_NEAR_MAX);
    if (!grow(near, &k->room, from + k->top.count))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu neighbours",
                         (unsigned long long)from);
    for (uint32_t i = 0; i < k->top.count; i++) {
        near->column[from + i] = k->top.best[i].index;
        near->value[from + i] = k->top.best[i].score;
    }
    near->from[row + 1] = from + k->top.count;
    return MAAS_OK;
}

static maas_status keep_all(struct rec_model *m, struct keeping *k, struct rec_work *work,
                            maas_error *error)
{
    const bool items = m->method == REC_ITEM_COSINE;
    const struct rec_rows *rows = items ? &m->by_item : &m->by_user,
                          *others = items ? &m->by_user : &m->by_item;
    maas_status status = MAAS_OK;
    for (uint32_t r = 0; !status && r < rows->count; r++) {
        const uint64_t from = rows->from[r];
        const struct rec_row row = { rows->column + from, rows->value + from,
                                     rows->from[r + 1] - from, 0 };
        k->top.count = 0;
        status = nearest(m, &row, r, others, items ? m->item_norm : m->user_norm, &k->meeting,
                         &k->top, work)
                     ? keep(&m->near, r, k, error)
                     : maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return status;
}

maas_status rec_learn_neighbours(struct rec_model *m, struct rec_work *work, maas_error *error)
{
    const uint32_t subjects = m->method == REC_ITEM_COSINE ? m->items.count : m->users.count;
    struct keeping k = { .space = calloc(1, rec_meeting_bytes(subjects) + 1),
                         .top = { .best = calloc((size_t)m->neighbours + 1, sizeof(*k.top.best)),
                                  .most = m->neighbours } };
    m->near = (struct rec_rows){ .count = subjects,
                                 .from = calloc((size_t)subjects + 1, sizeof(uint64_t)) };
    maas_status status = MAAS_OK;
    if (k.space && k.top.best && m->near.from && grow(&m->near, &k.room, 1)) {
        rec_meeting_place(&k.meeting, k.space, subjects);
        status = keep_all(m, &k, work, error);
    } else {
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the neighbours");
    }
    free(k.space);
    free(k.top.best);
    return status;
}
