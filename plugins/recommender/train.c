/*
 * train.c: "maas.train/1": reads ratings, learns, measures what was kept apart, writes.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "evaluation/evaluation.h"

enum { RANKED_USERS_MAX = 5000 };

const maas_option_decl *const rec_train_options[] = {
    MAAS_OPTION("method", MAAS_OPTION_TEXT, "als", "als|ials|item-cosine|user-cosine|popularity",
                "how it learns"),
    MAAS_OPTION("user_column", MAAS_OPTION_TEXT, "user", NULL, "the column with who rated"),
    MAAS_OPTION("item_column", MAAS_OPTION_TEXT, "item", NULL, "the column with what was rated"),
    MAAS_OPTION("rating_column", MAAS_OPTION_TEXT, "rating", NULL,
                "the column with the rating; empty: each row counts 1"),
    MAAS_OPTION("rank", MAAS_OPTION_INT, "16", "1..128", "factors of als and ials"),
    MAAS_OPTION("ridge", MAAS_OPTION_FLOAT, "1", "0.0001..1000",
                "regularisation of the factors; als: times the number of ratings"),
    MAAS_OPTION("bias_ridge", MAAS_OPTION_FLOAT, "2", "0..1000",
                "als, neighbours: ratings of the mean that each user and item gets beside its own"),
    MAAS_OPTION("alpha", MAAS_OPTION_FLOAT, "10", "0..100000",
                "ials: confidence is 1 + alpha times the rating"),
    MAAS_OPTION("sweeps", MAAS_OPTION_INT, "10", "1..1000", "of als and ials"),
    MAAS_OPTION("test_every", MAAS_OPTION_INT, "0", "0..1000000",
                "each row whose number is a multiple of it, from 0, is kept apart; 0: none"),
    MAAS_OPTION("evaluation_k", MAAS_OPTION_INT, "10", "1..1024",
                "length of the lists that are measured"),
    MAAS_OPTION("relevant", MAAS_OPTION_FLOAT, "0", "-1000000..1000000",
                "ratings from which on an item is relevant"),
    NULL,
};

static const maas_option *option(const maas_train_spec *spec, const char *name)
{
    return maas_option_find(spec->options, spec->option_count, name);
}

static uint32_t method_of(const char *text)
{
    static const char *const names[] = { "als", "ials", "item-cosine", "user-cosine",
                                         "popularity" };
    for (uint32_t i = 0; i < 5; i++)
        if (strcmp(text, names[i]) == 0)
            return REC_ALS + i;
    return REC_POPULARITY;
}

static struct rec_reading reading_of(const maas_train_spec *spec, const char *file,
                                     uint32_t test_every)
{
    return (struct rec_reading){ .dir = spec->data,
                                 .file = file,
                                 .user_column = option(spec, "user_column")->text.data,
                                 .item_column = option(spec, "item_column")->text.data,
                                 .rating_column = option(spec, "rating_column")->text.data,
                                 .test_every = test_every,
                                 .sum = method_of(option(spec, "method")->text.data) == REC_IALS };
}

/* ---- what it is worth */

struct pairs { /* of the model's indices; REC_NOBODY: not known there */
    const uint32_t *user, *item;
    const float *value;
    uint64_t count;
};

static float guess(const struct rec_model *m, uint32_t user, uint32_t item)
{
    if (user != REC_NOBODY && item != REC_NOBODY)
        return rec_predict(m, user, item);
    return m->mean + (m->item_bias && item != REC_NOBODY ? m->item_bias[item] : 0) +
           (m->user_bias && user != REC_NOBODY ? m->user_bias[user] : 0);
}

struct measure {
    float *scores, *space;
    uint32_t *best;          /* k */
    unsigned char *relevant; /* by item */
    uint32_t k;
    float threshold;
    struct ranking ranking;
};

/* One user's list against its pairs, which are [from, to) of `rows`. */
static void rank_user(const struct rec_model *m, struct measure *e, const struct rec_rows *rows,
                      uint32_t user)
{
    unsigned char hit[REC_LIST_MAX];
    const struct rec_person who = rec_person_of(m, user);
    uint32_t relevant = 0;
    rec_scores(m, &who, e->scores, e->space);
    for (uint64_t i = m->by_user.from[user]; i < m->by_user.from[user + 1]; i++)
        e->scores[m->by_user.column[i]] = -HUGE_VALF;
    for (uint64_t i = rows->from[user]; i < rows->from[user + 1]; i++)
        if (rows->value[i] >= e->threshold && e->scores[rows->column[i]] > -HUGE_VALF &&
            !e->relevant[rows->column[i]]) {
            e->relevant[rows->column[i]] = 1;
            relevant++;
        }
    const uint32_t k = e->k < m->items.count ? e->k : m->items.count;
    const uint32_t found = relevant ? rec_top(m, e->scores, k, e->best) : 0;
    for (uint32_t i = 0; i < k; i++)
        hit[i] = i < found && e->relevant[e->best[i]];
    for (uint64_t i = rows->from[user]; i < rows->from[user + 1]; i++)
        e->relevant[rows->column[i]] = 0;
    if (relevant)
        ranking_add(&e->ranking, hit, k, relevant);
}

/* The pairs whose user and item are known, by user. */
static bool known_rows(const struct rec_model *m, const struct pairs *p, struct rec_rows *out)
{
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
    good = good && rec_rows_make(out, &known, m->users.count, false);
    free(known.user);
    free(known.item);
    free(known.value);
    return good;
}

static maas_status rank_all(const struct rec_model *m, struct measure *e, const struct pairs *p,
                            const maas_host *host, const maas_request *job, maas_error *error)
{
    struct rec_rows rows;
    if (!known_rows(m, p, &rows))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to rank");
    maas_status status = MAAS_OK;
    for (uint32_t u = 0; !status && u < m->users.count && e->ranking.users < RANKED_USERS_MAX;
         u++) {
        if (rows.from[u + 1] > rows.from[u])
            rank_user(m, e, &rows, u);
        if (u % 16 == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    rec_rows_release(&rows);
    return status;
}

static maas_status measure(const struct rec_model *m, const struct pairs *p,
                           const maas_train_spec *spec, const maas_host *host,
                           const maas_request *job, maas_error *error)
{
    struct regression r = { 0 };
    struct measure e = { .scores = calloc((size_t)m->items.count + 1, sizeof(float)),
                         .space = calloc((size_t)m->users.count + 1, sizeof(float)),
                         .best = calloc(REC_LIST_MAX, sizeof(uint32_t)),
                         .relevant = calloc((size_t)m->items.count + 1, 1),
                         .k = (uint32_t)option(spec, "evaluation_k")->integer,
                         .threshold = (float)option(spec, "relevant")->real };
    maas_status status = e.scores && e.space && e.best && e.relevant
                             ? MAAS_OK
                             : maas_fail(error, MAAS_E_EXHAUSTED, "no memory to measure");
    for (uint64_t i = 0; !status && m->method != REC_IALS && i < p->count; i++)
        regression_add(&r, (double)guess(m, p->user[i], p->item[i]), (double)p->value[i]);
    if (!status)
        status = rank_all(m, &e, p, host, job, error);
    if (!status && e.ranking.users)
        ranking_emit(&e.ranking, host, job, "test");
    if (!status && r.rows)
        regression_emit(&r, host, job, "test");
    free(e.scores);
    free(e.space);
    free(e.best);
    free(e.relevant);
    return status;
}

/* ---- training */

static float best_of(const struct rec_ratings *r)
{
    float most = r->value[0];
    for (uint64_t i = 1; i < r->count; i++)
        most = fmaxf(most, r->value[i]);
    return most;
}

static float mean_of(const struct rec_ratings *r)
{
    double sum = 0;
    for (uint64_t i = 0; i < r->count; i++)
        sum += (double)r->value[i];
    return (float)(sum / (double)r->count);
}

/* Takes the names over. */
static maas_status prepare(struct rec_model *m, struct rec_data *d, const maas_train_spec *spec,
                           maas_error *error)
{
    const uint32_t method = method_of(option(spec, "method")->text.data);
    *m = (struct rec_model){ .method = method,
                             .alpha = (float)option(spec, "alpha")->real,
                             .ridge = (float)option(spec, "ridge")->real,
                             .bias_ridge = (float)option(spec, "bias_ridge")->real,
                             .mean = mean_of(&d->train),
                             .most = best_of(&d->train),
                             .rank =
                                 method <= REC_IALS ? (uint32_t)option(spec, "rank")->integer : 0 };
    m->users = d->users;
    m->items = d->items;
    memset(&d->users, 0, sizeof(d->users));
    memset(&d->items, 0, sizeof(d->items));
    for (uint64_t i = 0; method == REC_IALS && i < d->train.count; i++)
        if (d->train.value[i] < 0)
            return maas_fail(error, MAAS_E_INVALID,
                             "method 'ials' takes ratings of 0 and more, there is one of %g",
                             (double)d->train.value[i]);
    return rec_rows_make(&m->by_user, &d->train, m->users.count, false) &&
                   rec_rows_make(&m->by_item, &d->train, m->items.count, true)
               ? MAAS_OK
               : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu ratings",
                           (unsigned long long)d->train.count);
}

static maas_status learn(struct rec_model *m, struct rec_data *d, const maas_host *host,
                         const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    const struct rec_learning how = { .sweeps = (uint32_t)option(spec, "sweeps")->integer,
                                      .random = spec->seed };
    maas_status status = prepare(m, d, spec, error);
    if (!status)
        status = m->rank ? rec_learn(m, &how, host, job, error) : MAAS_OK;
    if (!status && !rec_complete(m))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    if (!status && d->test.count)
        status =
            measure(m, &(struct pairs){ d->test.user, d->test.item, d->test.value, d->test.count },
                    spec, host, job, error);
    if (!status)
        status = rec_write(spec->out, m, error);
    return status;
}

maas_status rec_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                      maas_error *error)
{
    struct rec_data d;
    struct rec_model m = { .method = 0 };
    const struct rec_reading how =
        reading_of(spec, "train.csv", (uint32_t)option(spec, "test_every")->integer);
    maas_status status = rec_data_read(&how, &d, error);
    if (status)
        return status;
    maas_emit_scalar(host, job, "ratings", (double)d.train.count);
    maas_emit_scalar(host, job, "users", d.users.count);
    maas_emit_scalar(host, job, "items", d.items.count);
    status = learn(&m, &d, host, spec, job, error);
    rec_release(&m);
    rec_data_release(&d);
    if (!status)
        host->done(host, job, MAAS_OK, NULL);
    return status;
}

/* ---- evaluation of what was trained before */

maas_status rec_evaluate(const maas_host *host, const struct rec_model *m,
                         const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    struct rec_data d;
    char path[4096];
    snprintf(path, sizeof(path), "%s/test.csv", spec->data);
    const struct rec_reading how =
        reading_of(spec, access(path, F_OK) == 0 ? "test.csv" : "train.csv", 0);
    maas_status status = rec_data_read(&how, &d, error);
    if (status)
        return status;
    for (uint64_t i = 0; i < d.train.count; i++) { /* from the file's indices to the model's */
        d.train.user[i] = rec_find(&m->users, rec_name(&d.users, d.train.user[i]));
        d.train.item[i] = rec_find(&m->items, rec_name(&d.items, d.train.item[i]));
    }
    status = measure(m, &(struct pairs){ d.train.user, d.train.item, d.train.value, d.train.count },
                     spec, host, job, error);
    rec_data_release(&d);
    if (!status)
        host->done(host, job, MAAS_OK, NULL);
    return status;
}
