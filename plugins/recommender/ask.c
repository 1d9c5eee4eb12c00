/*
 * ask.c: ids are looked up by name, and each item counts once: marks by item, cleared again by the
 * list that set them, so a row costs its own lists and one pass over the items.
 */
#include "ask.h"

#include <math.h>

/* ---- lists */

static maas_str cell(const maas_request *r, uint32_t input, uint32_t row, int64_t i)
{
    const maas_tensor *t = &r->inputs[input].tensor;
    const int64_t width = t->ndim > 1 ? t->shape[1] : 1;
    return ((const maas_str *)t->data)[(int64_t)row * width + i];
}

static int64_t width_of(const maas_request *r, uint32_t input)
{
    const maas_tensor *t = &r->inputs[input].tensor;
    return t->data ? t->shape[1] : 0;
}

maas_status ask_check(const maas_request *r, maas_error *error)
{
    static const char *const names[ASK_INPUTS] = { "user", "items", "allow", "deny" };
    for (uint32_t i = ASK_ITEMS; i < ASK_INPUTS; i++)
        if (width_of(r, i) > REC_IDS_MAX)
            return maas_fail(error, MAAS_E_INVALID, "'%s' has %lld ids; %d is the most", names[i],
                             (long long)width_of(r, i), REC_IDS_MAX);
    return MAAS_OK;
}

/* Adds the items of a list that are known, each once, behind the `count` that are there. */
static uint32_t known_items(const struct rec_model *m, const maas_request *r, uint32_t input,
                            uint32_t row, const struct space *s, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        s->marks[s->items[i]] = 1;
    for (int64_t i = 0; i < width_of(r, input); i++) {
        const uint32_t item = rec_find(&m->items, cell(r, input, row, i));
        if (item == REC_NOBODY || s->marks[item])
            continue;
        s->marks[item] = 1;
        s->items[count++] = item;
    }
    for (uint32_t i = 0; i < count; i++)
        s->marks[s->items[i]] = 0;
    return count;
}

static bool is_given(const maas_request *r, uint32_t input, uint32_t row)
{
    for (int64_t i = 0; i < width_of(r, input); i++)
        if (cell(r, input, row, i).len)
            return true;
    return false;
}

/* ---- space */

bool ask_space_take(const struct rec_model *m, const maas_host *host, struct space *s)
{
    const size_t items = m->items.count, users = m->users.count, rank = m->rank;
    const size_t work = rec_work(m->rank, items);
    const size_t bytes = work * sizeof(double) + (3 * items + users + rank) * sizeof(float) +
                         items * (sizeof(uint32_t) + 1);
    uint8_t *memory = host->alloc(host, bytes, 64);
    if (!memory)
        return false;
    s->work = (double *)(void *)memory;
    s->scores = (float *)(void *)(s->work + work);
    s->users = s->scores + items;
    s->values = s->users + users;
    s->weights = s->values + items;
    s->vector = s->weights + items;
    s->items = (uint32_t *)(void *)(s->vector + rank);
    s->marks = (uint8_t *)(s->items + items);
    memset(s->marks, 0, items);
    return true;
}

/* ---- who */

/* A user's own ratings as they are; together with a list, its items are added to a copy. */
static uint32_t copy_ratings(const struct rec_model *m, uint32_t user, const struct space *s)
{
    const uint64_t from = m->by_user.from[user];
    const uint32_t count = (uint32_t)(m->by_user.from[user + 1] - from);
    memcpy(s->items, m->by_user.column + from, count * sizeof(*s->items));
    memcpy(s->values, m->by_user.value + from, count * sizeof(*s->values));
    return count;
}

static void find_person(const struct rec_model *m, const maas_request *r, uint32_t row,
                        const struct space *s, struct rec_person *who)
{
    const bool named = r->inputs[ASK_USER].tensor.data && cell(r, ASK_USER, row, 0).len;
    const uint32_t user = named ? rec_find(&m->users, cell(r, ASK_USER, row, 0)) : REC_NOBODY;
    if (user != REC_NOBODY && !is_given(r, ASK_ITEMS, row)) {
        *who = rec_person_of(m, user);
        return;
    }
    const uint32_t own = user == REC_NOBODY ? 0 : copy_ratings(m, user, s);
    const uint32_t count = known_items(m, r, ASK_ITEMS, row, s, own);
    for (uint32_t i = own; i < count; i++)
        s->values[i] = m->most;
    *who = (struct rec_person){
        .items = s->items, .values = s->values, .count = count, .vector = s->vector
    };
    if (count && m->rank &&
        !rec_fold(m, s->items, s->values, count, s->work, s->vector, &who->bias))
        who->count = 0;
}

struct row ask_row(const struct rec_model *m, const maas_request *r)
{
    const uint32_t k = r->param_count ? (uint32_t)r->params[0].integer : 10;
    return (struct row){ .k = k < m->items.count ? k : m->items.count,
                         .similar = r->param_count && r->params[1].integer,
                         .exclude_seen = !r->param_count || r->params[2].integer };
}

/* ---- what */

static void leave_out(const struct rec_model *m, const maas_request *r, uint32_t row,
                      const struct row *w, float *scores)
{
    for (uint32_t i = 0; (w->exclude_seen || w->similar) && i < w->who.count; i++)
        scores[w->who.items[i]] = -HUGE_VALF;
    for (int64_t i = 0; i < width_of(r, ASK_DENY); i++) {
        const uint32_t item = rec_find(&m->items, cell(r, ASK_DENY, row, i));
        if (item != REC_NOBODY)
            scores[item] = -HUGE_VALF;
    }
}

/* Only what the list names keeps its score. */
static void keep_allowed(const struct rec_model *m, const maas_request *r, uint32_t row,
                         const struct space *s)
{
    if (!is_given(r, ASK_ALLOW, row))
        return;
    for (int64_t i = 0; i < width_of(r, ASK_ALLOW); i++) {
        const uint32_t item = rec_find(&m->items, cell(r, ASK_ALLOW, row, i));
        if (item != REC_NOBODY)
            s->marks[item] = 1;
    }
    for (uint32_t i = 0; i < m->items.count; i++) {
        if (!s->marks[i])
            s->scores[i] = -HUGE_VALF;
        s->marks[i] = 0;
    }
}

/* The mean of how near an item is to each of the list's. */
static maas_status score_similar(const struct rec_model *m, const maas_request *r, uint32_t row,
                                 const struct space *s, struct row *w, maas_error *error)
{
    const uint32_t count = known_items(m, r, ASK_ITEMS, row, s, 0);
    if (!count)
        return maas_fail(error, MAAS_E_INVALID,
                         "row %u: 'similar' needs 'items' with one item that is known", row);
    w->who = (struct rec_person){ .items = s->items, .count = count };
    memset(s->scores, 0, m->items.count * sizeof(*s->scores));
    for (uint32_t i = 0; i < count; i++)
        rec_near(m, s->items[i], s->scores);
    for (uint32_t i = 0; i < m->items.count; i++)
        s->scores[i] /= (float)count;
    return MAAS_OK;
}

maas_status ask_score(const struct rec_model *m, const maas_request *r, uint32_t row,
                      const struct space *s, struct row *w, maas_error *error)
{
    maas_status status = MAAS_OK;
    if (w->similar) {
        status = score_similar(m, r, row, s, w, error);
    } else {
        find_person(m, r, row, s, &w->who);
        rec_scores(m, &w->who, s->scores, s->users);
    }
    if (status)
        return status;
    leave_out(m, r, row, w, s->scores);
    keep_allowed(m, r, row, s);
    return MAAS_OK;
}

/* ---- why */

void ask_because(const struct rec_model *m, const struct row *w, uint32_t item,
                 const struct space *s, uint32_t count, maas_str *names, float *weights)
{
    const uint32_t rated = w->similar || item == REC_NOBODY ? 0 : w->who.count;
    if (rated)
        rec_because(m, &w->who, item, s->work, s->weights);
    for (uint32_t n = 0; n < count; n++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < rated; i++)
            best = s->weights[i] > s->weights[best] ? i : best;
        const bool good = rated && s->weights[best] > 0;
        names[n] = good ? rec_name(&m->items, w->who.items[best]) : (maas_str){ "", 0 };
        weights[n] = good ? s->weights[best] : 0;
        if (good)
            s->weights[best] = 0;
    }
}
