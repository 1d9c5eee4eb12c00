/*
 * measure.c: what a model is worth on ratings that were kept apart: errors of predicted ratings,
 * and how much of what a user chose stands in its list.
 */
#include "recommender.h"

#include <stdlib.h>

#include "evaluation/evaluation.h"

enum { RANKED_USERS_MAX = 5000, KNOWN = 1, RELEVANT = 2 };

struct measure {
    const struct rec_model *m;
    const struct rec_measuring *how;
    struct rec_work *work;
    float *scores;
    unsigned char *marks; /* by item */
    struct rec_scored best[REC_K_MAX];
    struct ranking ranking;
};

static void mark(struct measure *e, const struct rec_rows *rows, uint32_t user, int as)
{
    for (uint64_t i = rows->from[user]; i < rows->from[user + 1]; i++)
        e->marks[rows->column[i]] = (unsigned char)as;
}

/* Marks what is relevant and was not known; gives how many that are. */
static uint32_t mark_relevant(struct measure *e, const struct rec_rows *rows, uint32_t user)
{
    uint32_t count = 0;
    for (uint64_t i = rows->from[user]; i < rows->from[user + 1]; i++)
        if (rows->value[i] >= e->how->relevant && !e->marks[rows->column[i]]) {
            e->marks[rows->column[i]] = RELEVANT;
            count++;
        }
    return count;
}

/* The user's list; what it knows is left out. */
static bool list(struct measure *e, uint32_t user, struct rec_top *top)
{
    const struct rec_person who = rec_person_of(e->m, user);
    if (!rec_scores(e->m, &who, e->scores, e->work))
        return false;
    for (uint32_t i = 0; i < e->m->items.count; i++)
        if (e->marks[i] != KNOWN)
            rec_top_offer(top, i, e->scores[i]);
    rec_top_sort(top);
    return !rec_cancelled(e->work, (uint64_t)e->m->items.count * 4);
}

/* One user's list against its pairs, a row of `rows`; false: cancelled. */
static bool rank_user(struct measure *e, const struct rec_rows *rows, uint32_t user)
{
    unsigned char hit[REC_K_MAX] = { 0 };
    const uint32_t k = e->how->k < e->m->items.count ? e->how->k : e->m->items.count;
    struct rec_top top = { .best = e->best, .most = k, .popularity = e->m->popularity };
    mark(e, &e->m->by_user, user, KNOWN);
    const uint32_t relevant = mark_relevant(e, rows, user);
    const bool good = !relevant || list(e, user, &top);
    for (uint32_t i = 0; i < top.count; i++)
        hit[i] = e->marks[top.best[i].index] == RELEVANT;
    mark(e, rows, user, 0);
    mark(e, &e->m->by_user, user, 0);
    if (good && relevant)
        ranking_add(&e->ranking, hit, k, relevant);
    return good;
}

/* The pairs whose user and item are known, by user. */
static bool known_rows(const struct measure *e, struct rec_rows *out)
{
    const struct rec_ratings *p = e->how->pairs;
    struct rec_ratings known = { .user = calloc(p->count + 1, sizeof(uint32_t)),
                                 .item = calloc(p->count + 1, sizeof(uint32_t)),
                                 .value = calloc(p->count + 1, sizeof(float)) };
    bool good = known.user && known.item && known.value;
    for (uint64_t i = 0; good && i < p->count; i++)
        if (p->user[i] != REC_NOBODY && p->item[i] != REC_NOBODY) {
            known.user[known.count] = p->user[i];
            known.item[known.count] = p->item[i];
            known.value[known.count++] = p->value[i];
        }
    good = good && rec_rows_make(out, &known, e->m->users.count, false, e->work);
    free(known.user);
    free(known.item);
    free(known.value);
    return good;
}

static void rank_all(struct measure *e, const struct rec_rows *rows)
{
    for (uint32_t u = 0; u < e->m->users.count && e->ranking.users < RANKED_USERS_MAX; u++)
        if (rows->from[u + 1] > rows->from[u] && !rank_user(e, rows, u))
            return;
}

/* Errors of ratings; ials predicts none. */
static void predict_all(struct measure *e, struct regression *out)
{
    const struct rec_ratings *p = e->how->pairs;
    for (uint64_t i = 0; e->m->method != REC_IALS && i < p->count; i++) {
        regression_add(out, (double)rec_predict(e->m, p->user[i], p->item[i]), (double)p->value[i]);
        if (rec_cancelled(e->work, 1000))
            return;
    }
}

static maas_status tell(const struct measure *e, const struct regression *r, maas_error *error)
{
    if (rec_cancelled(e->work, 0))
        return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    ranking_emit(&e->ranking, e->work->host, e->work->request, "test");
    regression_emit(r, e->work->host, e->work->request, "test");
    return MAAS_OK;
}

maas_status rec_measure(const struct rec_model *m, const struct rec_measuring *how,
                        struct rec_work *work, maas_error *error)
{
    struct regression r = { 0 };
    struct rec_rows rows = { .count = 0 };
    struct measure e = { .m = m,
                         .how = how,
                         .work = work,
                         .scores = calloc((size_t)m->items.count + 1, sizeof(float)),
                         .marks = calloc((size_t)m->items.count + 1, 1) };
    const bool good = e.scores && e.marks && known_rows(&e, &rows);
    if (good) {
        predict_all(&e, &r);
        rank_all(&e, &rows);
    }
    maas_status status = good || rec_cancelled(work, 0)
                             ? tell(&e, &r, error)
                             : maas_fail(error, MAAS_E_EXHAUSTED, "no memory to measure");
    rec_rows_release(&rows);
    free(e.scores);
    free(e.marks);
    return status;
}
