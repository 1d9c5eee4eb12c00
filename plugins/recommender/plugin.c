/*
 * plugin.c: "maas.recommender": what a user may like next, what is like an item.
 *
 * Inputs, each optional: "user" STRING [rows], "items", "allow", "deny" STRING [rows, n]. Whose
 * ratings count: a known user's, else those that "items" name, each as the best rating there is,
 * else nobody's: popularity. Explained by "because" and "weight" [rows, k, BECAUSE_MAX].
 *
 * A row is scored alone, so its bits do not hang on its batch.
 */
#include <maas/ext/explain.h>

#include <math.h>
#include <stdlib.h>

#include "recommender.h"

enum { ROWS_MAX = 256, BECAUSE_MAX = 3, USER = 0, ITEMS, ALLOW, DENY, INPUTS };

struct maas_model {
    const maas_host *host;
    struct rec_model rec;
};

static const int64_t rows_only[] = { -1 }, rows_by_any[] = { -1, -1 },
                     rows_by_any_by_any[] = { -1, -1, -1 };
#define STRINGS(n, len, dims, extents)                                                             \
    {                                                                                              \
        .name = { n, len }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = dims, .shape = extents,      \
        .flags = MAAS_PORT_OPTIONAL                                                                \
    }
static const maas_port inputs[INPUTS] = { STRINGS("user", 4, 1, rows_only),
                                          STRINGS("items", 5, 2, rows_by_any),
                                          STRINGS("allow", 5, 2, rows_by_any),
                                          STRINGS("deny", 4, 2, rows_by_any) };
static const maas_port outputs[] = {
    { .name = { "item", 4 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 2, .shape = rows_by_any },
    { .name = { "score", 5 }, .dtype = { MAAS_FLOAT, 32, 1 }, .ndim = 2, .shape = rows_by_any },
};
static const maas_port explained[] = {
    { .name = { "because", 7 },
      .dtype = { MAAS_HANDLE, 128, 1 },
      .ndim = 3,
      .shape = rows_by_any_by_any },
    { .name = { "weight", 6 },
      .dtype = { MAAS_FLOAT, 32, 1 },
      .ndim = 3,
      .shape = rows_by_any_by_any },
};

static const maas_option_decl list_k = { .size = sizeof(maas_option_decl),
                                         .kind = MAAS_OPTION_INT,
                                         .name = "k",
                                         .fallback = "10",
                                         .choices = "1..1024",
                                         .help = "items of a list" };
static const maas_option_decl similar = { .size = sizeof(maas_option_decl),
                                          .kind = MAAS_OPTION_BOOL,
                                          .name = "similar",
                                          .fallback = "false",
                                          .help = "what is like the first of 'items'" };
static const maas_option_decl exclude_seen = { .size = sizeof(maas_option_decl),
                                               .kind = MAAS_OPTION_BOOL,
                                               .name = "exclude_seen",
                                               .fallback = "true",
                                               .help = "leave out what the user has rated" };
static const maas_option_decl *const params[] = { &list_k, &similar, &exclude_seen, NULL };

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    m->host = host;
    maas_status status = rec_read(spec->root, &m->rec, error);
    if (status)
        free(m);
    else
        *out = m;
    return status;
}

static void unload(maas_model *m)
{
    rec_release(&m->rec);
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = inputs;
    s->input_count = INPUTS;
    s->outputs = outputs;
    s->output_count = 2;
    s->max_rows = ROWS_MAX;
    s->rows_independent = 1;
    s->resident_bytes =
        (uint64_t)(m->rec.users.count + m->rec.items.count) * (m->rec.rank * 4 + 48) +
        m->rec.by_user.from[m->rec.users.count] * 16;
    s->task = "recommendation";
    s->params = params;
    return MAAS_OK;
}

/* ---- one row */

struct space {
    float *scores, *users, *values, *vector, *weights;
    double *work;
    uint32_t *items;
};

struct row {
    struct rec_person who;
    bool similar, exclude_seen;
    uint32_t k;
};

static uint32_t longest(const maas_request *r)
{
    const int64_t n = r->inputs[ITEMS].tensor.shape[1];
    return n > 0 ? (uint32_t)n : 0;
}

static bool space_take(const maas_model *m, const maas_request *r, struct space *s)
{
    const size_t items = m->rec.items.count, users = m->rec.users.count, n = longest(r),
                 rank = m->rec.rank;
    const size_t rated = items + n;
    const size_t bytes = rank * (rank + 1) * sizeof(double) +
                         (items + users + 2 * rated + rank) * sizeof(float) +
                         rated * sizeof(uint32_t) + 64;
    uint8_t *memory = m->host->alloc(m->host, bytes, 64);
    if (!memory)
        return false;
    s->work = (double *)(void *)memory;
    s->scores = (float *)(void *)(s->work + rank * (rank + 1));
    s->users = s->scores + items;
    s->values = s->users + users;
    s->weights = s->values + rated;
    s->vector = s->weights + rated;
    s->items = (uint32_t *)(void *)(s->vector + rank);
    return true;
}

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

/* Adds the items of a list that are known, each once, behind the `count` that are there. */
static uint32_t known_items(const maas_model *m, const maas_request *r, uint32_t input,
                            uint32_t row, uint32_t *out, uint32_t count)
{
    for (int64_t i = 0; i < width_of(r, input); i++) {
        const uint32_t item = rec_find(&m->rec.items, cell(r, input, row, i));
        bool again = item == REC_NOBODY;
        for (uint32_t k = 0; !again && k < count; k++)
            again = out[k] == item;
        if (!again)
            out[count++] = item;
    }
    return count;
}

static bool is_given(const maas_request *r, uint32_t input, uint32_t row)
{
    for (int64_t i = 0; i < width_of(r, input); i++)
        if (cell(r, input, row, i).len)
            return true;
    return false;
}

/* A user's own ratings as they are; together with a list, its items are added to a copy. */
static uint32_t copy_ratings(const maas_model *m, uint32_t user, const struct space *s)
{
    const uint64_t from = m->rec.by_user.from[user];
    const uint32_t count = (uint32_t)(m->rec.by_user.from[user + 1] - from);
    memcpy(s->items, m->rec.by_user.column + from, count * sizeof(*s->items));
    memcpy(s->values, m->rec.by_user.value + from, count * sizeof(*s->values));
    return count;
}

static struct rec_person person_of(const maas_model *m, uint32_t user)
{
    const uint64_t from = m->rec.by_user.from[user];
    return (struct rec_person){ .items = m->rec.by_user.column + from,
                                .values = m->rec.by_user.value + from,
                                .count = (uint32_t)(m->rec.by_user.from[user + 1] - from),
                                .vector = m->rec.user_factors
                                              ? m->rec.user_factors + (size_t)user * m->rec.rank
                                              : NULL,
                                .bias = m->rec.user_bias ? m->rec.user_bias[user] : 0 };
}

static void find_person(const maas_model *m, const maas_request *r, uint32_t row,
                        const struct space *s, struct rec_person *who)
{
    const bool named = r->inputs[USER].tensor.data && cell(r, USER, row, 0).len;
    const uint32_t user = named ? rec_find(&m->rec.users, cell(r, USER, row, 0)) : REC_NOBODY;
    const bool listed = is_given(r, ITEMS, row);
    if (user != REC_NOBODY && !listed) {
        *who = person_of(m, user);
        return;
    }
    const uint32_t own = user == REC_NOBODY ? 0 : copy_ratings(m, user, s);
    const uint32_t count = known_items(m, r, ITEMS, row, s->items, own);
    for (uint32_t i = own; i < count; i++)
        s->values[i] = m->rec.most;
    *who = (struct rec_person){
        .items = s->items, .values = s->values, .count = count, .vector = s->vector
    };
    if (count && m->rec.rank &&
        !rec_fold(&m->rec, s->items, s->values, count, s->work, s->vector, &who->bias))
        who->count = 0;
}

static void leave_out(const maas_model *m, const maas_request *r, uint32_t row, const struct row *w,
                      float *scores)
{
    for (uint32_t i = 0; (w->exclude_seen || w->similar) && i < w->who.count; i++)
        scores[w->who.items[i]] = -HUGE_VALF;
    for (int64_t i = 0; i < width_of(r, DENY); i++) {
        const uint32_t item = rec_find(&m->rec.items, cell(r, DENY, row, i));
        if (item != REC_NOBODY)
            scores[item] = -HUGE_VALF;
    }
}

/* Only what the list names keeps its score. kept: space of as many floats as there are items. */
static void keep_allowed(const maas_model *m, const maas_request *r, uint32_t row, float *scores,
                         float *kept)
{
    if (!is_given(r, ALLOW, row))
        return;
    for (uint32_t i = 0; i < m->rec.items.count; i++)
        kept[i] = -HUGE_VALF;
    for (int64_t i = 0; i < width_of(r, ALLOW); i++) {
        const uint32_t item = rec_find(&m->rec.items, cell(r, ALLOW, row, i));
        if (item != REC_NOBODY)
            kept[item] = scores[item];
    }
    memcpy(scores, kept, m->rec.items.count * sizeof(*scores));
}

static maas_status score_row(const maas_model *m, const maas_request *r, uint32_t row,
                             const struct space *s, struct row *w, maas_error *error)
{
    find_person(m, r, row, s, &w->who);
    if (w->similar) {
        w->who.count = known_items(m, r, ITEMS, row, s->items, 0);
        w->who.items = s->items;
        if (!w->who.count)
            return maas_fail(error, MAAS_E_INVALID,
                             "row %u: 'similar' needs 'items' with one item that is known", row);
        rec_near(&m->rec, s->items[0], s->scores);
    } else {
        rec_scores(&m->rec, &w->who, s->scores, s->users);
    }
    leave_out(m, r, row, w, s->scores);
    keep_allowed(m, r, row, s->scores, s->weights);
    return MAAS_OK;
}

static bool is_better(const maas_model *m, const float *scores, uint32_t a, uint32_t b)
{
    return scores[a] > scores[b] ||
           (scores[a] == scores[b] && m->rec.popularity[a] > m->rec.popularity[b]);
}

/* The k best, of equals the more popular, of those the first; filled up with REC_NOBODY. */
static void best_items(const maas_model *m, const struct space *s, uint32_t k, uint32_t *out,
                       float *scores)
{
    for (uint32_t i = 0; i < k; i++) {
        uint32_t best = 0;
        for (uint32_t j = 1; j < m->rec.items.count; j++)
            best = is_better(m, s->scores, j, best) ? j : best;
        const bool good = s->scores[best] > -HUGE_VALF;
        out[i] = good ? best : REC_NOBODY;
        scores[i] = good ? s->scores[best] : 0;
        s->scores[best] = -HUGE_VALF;
    }
}

static struct row row_of(const maas_model *m, const maas_request *r)
{
    const uint32_t k = r->param_count ? (uint32_t)r->params[0].integer : 10;
    return (struct row){ .k = k < m->rec.items.count ? k : m->rec.items.count,
                         .similar = r->param_count && r->params[1].integer,
                         .exclude_seen = !r->param_count || r->params[2].integer };
}

static maas_status infer_rows(const maas_model *m, const maas_request *r, const struct space *s,
                              struct row *w, maas_str *names, float *scores, uint32_t *found,
                              maas_error *error)
{
    for (uint32_t i = 0; i < r->rows; i++) {
        maas_status status = score_row(m, r, i, s, w, error);
        if (status)
            return status;
        best_items(m, s, w->k, found, scores + (size_t)i * w->k);
        for (uint32_t k = 0; k < w->k; k++)
            names[(size_t)i * w->k + k] =
                found[k] == REC_NOBODY ? (maas_str){ "", 0 } : rec_name(&m->rec.items, found[k]);
        if (m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space s;
    struct row w = row_of(m, r);
    const size_t cells = (size_t)r->rows * w.k;
    maas_str *names = m->host->alloc(
        m->host, cells * (sizeof(maas_str) + sizeof(float)) + w.k * sizeof(uint32_t), 64);
    if (!names || !space_take(m, r, &s)) {
        m->host->free(m->host, names);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    }
    float *scores = (float *)(void *)(names + cells);
    maas_status status =
        infer_rows(m, r, &s, &w, names, scores, (uint32_t *)(void *)(scores + cells), error);
    if (!status) {
        int64_t shape[] = { r->rows, w.k };
        const maas_named out[] = { maas_output(&outputs[0], names, shape),
                                   maas_output(&outputs[1], scores, shape) };
        status = maas_answer(m->host, r, out, 2);
    }
    m->host->free(m->host, s.work);
    m->host->free(m->host, names);
    return status;
}

/* ---- explaining */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = explained;
    s->output_count = 2;
    return status;
}

/* The ratings that gave an item most of its score. */
static void tell_because(const maas_model *m, const struct row *w, uint32_t item,
                         const struct space *s, maas_str *names, float *weights)
{
    if (w->similar || item == REC_NOBODY)
        for (uint32_t i = 0; i < w->who.count; i++)
            s->weights[i] = 0;
    else
        rec_because(&m->rec, &w->who, item, s->work, s->weights);
    for (uint32_t n = 0; n < BECAUSE_MAX; n++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < w->who.count; i++)
            best = s->weights[i] > s->weights[best] ? i : best;
        const bool good = w->who.count && s->weights[best] > 0;
        names[n] = good ? rec_name(&m->rec.items, w->who.items[best]) : (maas_str){ "", 0 };
        weights[n] = good ? s->weights[best] : 0;
        if (good)
            s->weights[best] = 0;
    }
}

static maas_status explain_rows(const maas_model *m, const maas_request *r, const struct space *s,
                                struct row *w, maas_str *names, float *weights, uint32_t *found,
                                float *spare, maas_error *error)
{
    for (uint32_t i = 0; i < r->rows; i++) {
        maas_status status = score_row(m, r, i, s, w, error);
        if (status)
            return status;
        best_items(m, s, w->k, found, spare);
        for (uint32_t k = 0; k < w->k; k++)
            tell_because(m, w, found[k], s, names + ((size_t)i * w->k + k) * BECAUSE_MAX,
                         weights + ((size_t)i * w->k + k) * BECAUSE_MAX);
        if (m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return MAAS_OK;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space s;
    struct row w = row_of(m, r);
    const size_t cells = (size_t)r->rows * w.k * BECAUSE_MAX;
    maas_str *names = m->host->alloc(
        m->host,
        cells * (sizeof(maas_str) + sizeof(float)) + w.k * (sizeof(uint32_t) + sizeof(float)), 64);
    if (!names || !space_take(m, r, &s)) {
        m->host->free(m->host, names);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    }
    float *weights = (float *)(void *)(names + cells), *spare = weights + cells;
    maas_status status =
        explain_rows(m, r, &s, &w, names, weights, (uint32_t *)(void *)(spare + w.k), spare, error);
    if (!status) {
        int64_t shape[] = { r->rows, w.k, BECAUSE_MAX };
        const maas_named out[] = { maas_output(&explained[0], names, shape),
                                   maas_output(&explained[1], weights, shape) };
        status = maas_answer(m->host, r, out, 2);
    }
    m->host->free(m->host, s.work);
    m->host->free(m->host, names);
    return status;
}

/* ---- the table */

static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    return rec_evaluate(m->host, &m->rec, spec, job, error);
}

static const void *extension(const char *id)
{
    static const maas_explain explaining = { .size = sizeof(maas_explain),
                                             .abi = MAAS_ABI,
                                             .describe = explain_describe,
                                             .explain = explain };
    static const maas_train training = { .size = sizeof(maas_train),
                                         .abi = MAAS_ABI,
                                         .options = rec_train_options,
                                         .train = rec_train,
                                         .evaluate = evaluate };
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explaining;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &training : NULL;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.recommender",
                                    .version = "1.0",
                                    .title = "Recommendation by neighbours and factors",
                                    .vendor = "maas",
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer,
                                    .extension = extension };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
