/*
 * ask.c: the rows of one request, one after the other. A row is: who asks, what each item is worth
 * to them, what is left out or alone allowed, the k best of it; and, where reasons are asked for,
 * which of the person's ratings speak for each.
 *
 * Whose ratings count: a known user's, else those that "items" name, each as the best rating there
 * is, else nobody's: popularity. A known user's and a list's count together.
 *
 * Lists of a request are made sets by a mark for each item, so a list costs one search a name.
 */
#include "recommender.h"

#include <stdlib.h>

enum mark { MARK_LISTED = 1, MARK_OUT = 2, MARK_OFFERED = 4 };
static const char *const list_names[REC_INPUTS] = { "user", "items", "allow", "deny" };

struct rec_asking {
    const maas_host *host;
    const struct rec_model *m;
    const maas_request *request;
    struct rec_work work;
    uint32_t k;
    bool similar, exclude_seen;
    struct rec_person who;      /* of the row */
    float *scores, *values;     /* [items]; [items]: of the person */
    float *weights;             /* [items] */
    uint32_t *items;            /* [items]: of the person */
    uint8_t *marks;             /* [items] */
    struct rec_meeting meeting; /* cosines, popularity */
    struct rec_top top, near;   /* near: user-cosine */
    float *nearness, *vector;   /* [neighbours]; [rank] */
    uint32_t *near_users;       /* [neighbours] */
    double *space;
};

/* ---- the request */

static int64_t width_of(const maas_request *r, uint32_t input)
{
    const maas_tensor *t = &r->inputs[input].tensor;
    return t->data ? t->shape[1] : 0;
}

maas_status rec_ask_check(const maas_request *r, maas_error *error)
{
    for (uint32_t i = REC_ITEMS; i < REC_INPUTS; i++)
        if (width_of(r, i) > REC_LIST_MAX)
            return maas_fail(error, MAAS_E_INVALID, "'%s' has %lld ids, at most %d are taken",
                             list_names[i], (long long)width_of(r, i), REC_LIST_MAX);
    return MAAS_OK;
}

static maas_str cell(const maas_request *r, uint32_t input, uint32_t row, int64_t i)
{
    const maas_tensor *t = &r->inputs[input].tensor;
    const int64_t width = t->ndim > 1 ? t->shape[1] : 1;
    return ((const maas_str *)t->data)[(int64_t)row * width + i];
}

static bool is_given(const maas_request *r, uint32_t input, uint32_t row)
{
    for (int64_t i = 0; i < width_of(r, input); i++)
        if (cell(r, input, row, i).len)
            return true;
    return false;
}

static maas_status cancelled(maas_error *error)
{
    return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
}

/* ---- memory: one piece, its parts in the order of their alignment */

struct piece {
    uint8_t *memory; /* NULL: only the length is wanted */
    size_t at;
};

static void *part(struct piece *p, size_t count, size_t size)
{
    uint8_t *here = p->memory ? p->memory + p->at : NULL;
    p->at += (count * size + 7) / 8 * 8;
    return here;
}

static uint32_t subjects_of(const struct rec_model *m)
{
    if (m->item_factors)
        return 0;
    return m->users.count > m->items.count ? m->users.count : m->items.count;
}

/* Lays the parts out from `memory`; gives their length. */
static size_t place(struct rec_asking *a, uint8_t *memory)
{
    struct piece p = { .memory = memory };
    const struct rec_model *m = a->m;
    const size_t items = m->items.count, near = m->neighbours;
    a->space = part(&p, REC_SOLVE_DOUBLES(m->rank), sizeof(double));
    void *meeting = part(&p, rec_meeting_bytes(subjects_of(m)), 1);
    a->top.best = part(&p, a->k, sizeof(struct rec_scored));
    a->near.best = part(&p, near, sizeof(struct rec_scored));
    a->scores = part(&p, items, sizeof(float));
    a->values = part(&p, items, sizeof(float));
    a->weights = part(&p, items, sizeof(float));
    a->items = part(&p, items, sizeof(uint32_t));
    a->nearness = part(&p, near, sizeof(float));
    a->near_users = part(&p, near, sizeof(uint32_t));
    a->vector = part(&p, m->rank, sizeof(float));
    a->marks = part(&p, items, 1);
    if (memory)
        rec_meeting_place(&a->meeting, meeting, subjects_of(m));
    return p.at;
}

maas_status rec_ask_start(const maas_host *host, const struct rec_model *m, const maas_request *r,
                          struct rec_asking **out, maas_error *error)
{
    maas_status status = rec_ask_check(r, error);
    if (status)
        return status;
    const uint32_t k = r->param_count ? (uint32_t)r->params[0].integer : 10;
    struct rec_asking a = { .host = host,
                            .m = m,
                            .request = r,
                            .work = { .host = host, .request = r },
                            .k = k < m->items.count ? k : m->items.count,
                            .similar = r->param_count && r->params[1].integer,
                            .exclude_seen = !r->param_count || r->params[2].integer };
    const size_t head = (sizeof(a) + 63) / 64 * 64, bytes = place(&a, NULL);
    uint8_t *memory = host->alloc(host, head + bytes, 64);
    if (!memory)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    memset(memory + head, 0, bytes);
    place(&a, memory + head);
    a.top.popularity = m->popularity;
    memcpy(memory, &a, sizeof(a));
    *out = (struct rec_asking *)(void *)memory;
    return MAAS_OK;
}

void rec_ask_end(struct rec_asking *a)
{
    if (a)
        a->host->free(a->host, a);
}

uint32_t rec_ask_k(const struct rec_asking *a)
{
    return a->k;
}

/* ---- who asks */

/* Adds the items of the row's list that are known, each once, behind the `count` that are there. */
static uint32_t add_listed(struct rec_asking *a, uint32_t row, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        a->marks[a->items[i]] |= MARK_LISTED;
    for (int64_t i = 0; i < width_of(a->request, REC_ITEMS); i++) {
        const uint32_t item = rec_find(&a->m->items, cell(a->request, REC_ITEMS, row, i));
        if (rec_cancelled(&a->work, 100))
            break;
        if (item == REC_NOBODY || a->marks[item] & MARK_LISTED)
            continue;
        a->marks[item] |= MARK_LISTED;
        a->values[count] = a->m->most;
        a->items[count++] = item;
    }
    return count;
}

/* A known user's own ratings, copied so that a list's can stand behind them. */
static uint32_t copy_ratings(struct rec_asking *a, uint32_t user)
{
    const struct rec_person own = rec_person_of(a->m, user);
    memcpy(a->items, own.row.columns, own.row.count * sizeof(*a->items));
    memcpy(a->values, own.row.values, own.row.count * sizeof(*a->values));
    return (uint32_t)own.row.count;
}

static bool meet_neighbours(struct rec_asking *a, uint32_t self)
{
    a->near.count = 0;
    a->near.most = a->m->neighbours;
    if (!rec_find_neighbours(a->m, &a->who.row, self, &a->meeting, &a->near, &a->work))
        return false;
    for (uint32_t i = 0; i < a->near.count; i++) {
        a->near_users[i] = a->near.best[i].index;
        a->nearness[i] = a->near.best[i].score;
    }
    a->who.near = a->near_users;
    a->who.nearness = a->nearness;
    a->who.near_count = a->near.count;
    return true;
}

/* What the model makes of the person's ratings. */
static void fold_in(struct rec_asking *a, uint32_t self)
{
    const struct rec_model *m = a->m;
    bool good = true;
    a->who.row.bias = rec_fold_bias(m, &a->who.row);
    a->who.vector = a->vector;
    if (m->rank)
        good = rec_fold(m, &a->who.row, a->space, &a->work, a->vector);
    else if (m->method == REC_USER_COSINE)
        good = meet_neighbours(a, self);
    if (!good)
        a->who.row.count = 0; /* nobody in particular */
}

static void find_person(struct rec_asking *a, uint32_t row)
{
    const maas_request *r = a->request;
    const bool named = r->inputs[REC_USER].tensor.data && cell(r, REC_USER, row, 0).len;
    const uint32_t user = named ? rec_find(&a->m->users, cell(r, REC_USER, row, 0)) : REC_NOBODY;
    if (user != REC_NOBODY && !a->similar && !is_given(r, REC_ITEMS, row)) {
        a->who = rec_person_of(a->m, user);
        return;
    }
    const uint32_t own = user == REC_NOBODY || a->similar ? 0 : copy_ratings(a, user);
    const uint32_t count = add_listed(a, row, own);
    a->who = (struct rec_person){ .row = { a->items, a->values, count, 0 } };
    if (count && !a->similar)
        fold_in(a, user);
}

/* ---- what is best */

static void leave_out(struct rec_asking *a, uint32_t row)
{
    const struct rec_row *own = &a->who.row;
    for (uint64_t i = 0; (a->exclude_seen || a->similar) && i < own->count; i++)
        a->marks[own->columns[i]] |= MARK_OUT;
    for (int64_t i = 0; i < width_of(a->request, REC_DENY); i++) {
        const uint32_t item = rec_find(&a->m->items, cell(a->request, REC_DENY, row, i));
        if (item != REC_NOBODY)
            a->marks[item] |= MARK_OUT;
        if (rec_cancelled(&a->work, 100))
            return;
    }
}

static void offer(struct rec_asking *a, uint32_t item)
{
    if (!(a->marks[item] & (MARK_OUT | MARK_OFFERED)))
        rec_top_offer(&a->top, item, a->scores[item]);
    a->marks[item] |= MARK_OFFERED;
}

static void offer_all(struct rec_asking *a)
{
    for (uint32_t i = 0; i < a->m->items.count && !rec_cancelled(&a->work, 4); i++)
        offer(a, i);
}

static void offer_allowed(struct rec_asking *a, uint32_t row)
{
    for (int64_t i = 0; i < width_of(a->request, REC_ALLOW); i++) {
        const uint32_t item = rec_find(&a->m->items, cell(a->request, REC_ALLOW, row, i));
        if (item != REC_NOBODY)
            offer(a, item);
        if (rec_cancelled(&a->work, 100))
            return;
    }
}

static maas_status score(struct rec_asking *a, uint32_t row, maas_error *error)
{
    memset(a->marks, 0, a->m->items.count);
    find_person(a, row);
    if (rec_cancelled(&a->work, a->m->items.count / 8))
        return cancelled(error);
    if (a->similar && !a->who.row.count)
        return maas_fail(error, MAAS_E_INVALID,
                         "row %u: 'similar' needs 'items' with one item that is known", row);
    const bool good = a->similar ? rec_similar(a->m, a->items, (uint32_t)a->who.row.count,
                                               a->scores, &a->meeting, &a->work)
                                 : rec_scores(a->m, &a->who, a->scores, &a->work);
    return good ? MAAS_OK : cancelled(error);
}

maas_status rec_ask_row(struct rec_asking *a, uint32_t row, maas_str *names, float *scores,
                        maas_error *error)
{
    maas_status status = score(a, row, error);
    if (status)
        return status;
    a->top.count = 0;
    a->top.most = a->k;
    leave_out(a, row);
    if (is_given(a->request, REC_ALLOW, row))
        offer_allowed(a, row);
    else
        offer_all(a);
    rec_top_sort(&a->top);
    for (uint32_t i = 0; i < a->k; i++) {
        const bool found = i < a->top.count;
        names[i] = found ? rec_name(&a->m->items, a->top.best[i].index) : (maas_str){ "", 0 };
        scores[i] = found ? a->top.best[i].score : 0;
    }
    return a->host->cancelled(a->host, a->request) || a->work.cancelled ? cancelled(error)
                                                                        : MAAS_OK;
}

/* ---- why */

/* The ratings that gave an item most of its score, into names and weights [REC_BECAUSE_MAX]. */
static void tell_reasons(struct rec_asking *a, maas_str *names, float *weights)
{
    struct rec_scored best[REC_BECAUSE_MAX];
    struct rec_top top = { .best = best, .most = REC_BECAUSE_MAX };
    for (uint32_t i = 0; i < a->who.row.count; i++)
        if (a->weights[i] > 0 && a->weights[i] <= REC_VALUE_MAX)
            rec_top_offer(&top, i, a->weights[i]);
    rec_top_sort(&top);
    for (uint32_t i = 0; i < top.count; i++) {
        names[i] = rec_name(&a->m->items, a->who.row.columns[best[i].index]);
        weights[i] = best[i].score;
    }
}

maas_status rec_ask_why(struct rec_asking *a, maas_str *names, float *weights, maas_error *error)
{
    const bool told =
        !a->similar && a->who.row.count && rec_because_start(a->m, &a->who, a->space, &a->work);
    for (uint32_t i = 0; i < a->k * REC_BECAUSE_MAX; i++) {
        names[i] = (maas_str){ "", 0 };
        weights[i] = 0;
    }
    for (uint32_t i = 0; told && i < a->top.count; i++) {
        if (!rec_because(a->m, &a->who, a->top.best[i].index, a->space, a->weights, &a->work))
            break;
        tell_reasons(a, names + (size_t)i * REC_BECAUSE_MAX, weights + (size_t)i * REC_BECAUSE_MAX);
    }
    return a->work.cancelled ? cancelled(error) : MAAS_OK;
}
