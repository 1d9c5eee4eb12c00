/*
 * train.c: "maas.train/1": reads ratings, learns, measures what was kept apart, writes.
 */
#include "recommender.h"

#include <math.h>
#include <unistd.h>

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
                "als, cosines: ratings of the mean that each user and item gets beside its own"),
    MAAS_OPTION("alpha", MAAS_OPTION_FLOAT, "10", "0..100000",
                "ials: confidence is 1 + alpha times the rating"),
    MAAS_OPTION("neighbours", MAAS_OPTION_INT, "50", "1..1000",
                "cosines: the nearest that are kept of each item or user"),
    MAAS_OPTION("shrink", MAAS_OPTION_FLOAT, "10", "0..100000",
                "cosines: common ratings at which a similarity counts half"),
    MAAS_OPTION("sweeps", MAAS_OPTION_INT, "10", "1..1000", "of als and ials"),
    MAAS_OPTION("test_every", MAAS_OPTION_INT, "0", "0..1000000",
                "each row whose number is a multiple of it, from 0, is kept for the test; 0: none"),
    MAAS_OPTION("test_fraction", MAAS_OPTION_FLOAT, "0", "0..0.9",
                "share of the rows, chosen by the seed, kept for the test metrics"),
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

/* Columns as the options say, nothing kept apart. */
static struct rec_reading reading_of(const maas_train_spec *spec, const char *file,
                                     struct rec_work *work)
{
    return (struct rec_reading){ .dir = spec->data,
                                 .file = file,
                                 .user_column = option(spec, "user_column")->text.data,
                                 .item_column = option(spec, "item_column")->text.data,
                                 .rating_column = option(spec, "rating_column")->text.data,
                                 .sum = method_of(option(spec, "method")->text.data) == REC_IALS,
                                 .work = work };
}

static maas_status measure(const struct rec_model *m, const struct rec_ratings *pairs,
                           const maas_train_spec *spec, struct rec_work *work, maas_error *error)
{
    const struct rec_measuring how = { .pairs = pairs,
                                       .k = (uint32_t)option(spec, "evaluation_k")->integer,
                                       .relevant = (float)option(spec, "relevant")->real };
    return rec_measure(m, &how, work, error);
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

static struct rec_model model_of(const struct rec_ratings *r, const maas_train_spec *spec)
{
    const uint32_t method = method_of(option(spec, "method")->text.data);
    const bool cosine = method == REC_ITEM_COSINE || method == REC_USER_COSINE;
    return (struct rec_model){ .method = method,
                               .rank =
                                   method <= REC_IALS ? (uint32_t)option(spec, "rank")->integer : 0,
                               .mean = mean_of(r),
                               .most = best_of(r),
                               .alpha = (float)option(spec, "alpha")->real,
                               .ridge = (float)option(spec, "ridge")->real,
                               .bias_ridge = (float)option(spec, "bias_ridge")->real,
                               .shrink = (float)option(spec, "shrink")->real,
                               .neighbours =
                                   cosine ? (uint32_t)option(spec, "neighbours")->integer : 0 };
}

static maas_status check(const struct rec_model *m, const struct rec_ratings *r, maas_error *error)
{
    for (uint64_t i = 0; m->method == REC_IALS && i < r->count; i++)
        if (r->value[i] < 0)
            return maas_fail(error, MAAS_E_INVALID,
                             "method 'ials' takes ratings of 0 and more, there is one of %g",
                             (double)r->value[i]);
    return MAAS_OK;
}

/* Takes the names over. */
static maas_status prepare(struct rec_model *m, struct rec_data *d, const maas_train_spec *spec,
                           struct rec_work *work, maas_error *error)
{
    *m = model_of(&d->train, spec);
    m->users = d->users;
    m->items = d->items;
    memset(&d->users, 0, sizeof(d->users));
    memset(&d->items, 0, sizeof(d->items));
    maas_status status = check(m, &d->train, error);
    if (status)
        return status;
    if (!rec_rows_make(&m->by_user, &d->train, m->users.count, false, work))
        return rec_cancelled(work, 0)
                   ? maas_fail(error, MAAS_E_CANCELLED, "cancelled")
                   : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu ratings",
                               (unsigned long long)d->train.count);
    return rec_complete(m, work, error);
}

/* What the method learns of the ratings. */
static maas_status learn(struct rec_model *m, const maas_train_spec *spec, struct rec_work *work,
                         maas_error *error)
{
    const struct rec_learning how = { .sweeps = (uint32_t)option(spec, "sweeps")->integer,
                                      .random = spec->seed };
    maas_status status = MAAS_OK;
    if (m->method == REC_ALS || m->neighbours)
        status = rec_learn_biases(m, work, error);
    if (!status && m->rank)
        status = rec_learn_factors(m, &how, work, error);
    if (!status && m->neighbours)
        status = rec_learn_neighbours(m, work, error);
    return status;
}

static maas_status train(struct rec_data *d, const maas_train_spec *spec, struct rec_work *work,
                         maas_error *error)
{
    struct rec_model m = { .method = 0 };
    maas_status status = prepare(&m, d, spec, work, error);
    if (!status)
        status = learn(&m, spec, work, error);
    if (!status && d->test.count)
        status = measure(&m, &d->test, spec, work, error);
    if (!status)
        status = rec_write(spec->out, &m, error);
    rec_release(&m);
    return status;
}

maas_status rec_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                      maas_error *error)
{
    struct rec_data d;
    struct rec_work work = { .host = host, .request = job };
    struct rec_reading how = reading_of(spec, "train.csv", &work);
    how.test_every = (uint32_t)option(spec, "test_every")->integer;
    how.test_fraction = option(spec, "test_fraction")->real;
    how.random = spec->seed ^ 0x7465737473u; /* another sequence than that of the factors */
    if (how.test_every && how.test_fraction > 0)
        return maas_fail(error, MAAS_E_INVALID,
                         "'test_every' and 'test_fraction' both say what the test is: set one");
    maas_status status = rec_data_read(&how, &d, error);
    if (status)
        return status;
    maas_emit_scalar(host, job, "ratings", (double)d.train.count);
    maas_emit_scalar(host, job, "users", d.users.count);
    maas_emit_scalar(host, job, "items", d.items.count);
    status = train(&d, spec, &work, error);
    rec_data_release(&d);
    if (!status)
        host->done(host, job, MAAS_OK, NULL);
    return status;
}

/* ---- evaluation of what was trained before */

static void name_as(const struct rec_names *from, const struct rec_names *to, uint32_t *index,
                    uint64_t count, struct rec_work *work)
{
    for (uint64_t i = 0; i < count && !rec_cancelled(work, 100); i++)
        index[i] = rec_find(to, rec_name(from, index[i]));
}

maas_status rec_evaluate(const maas_host *host, const struct rec_model *m,
                         const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    struct rec_data d;
    struct rec_work work = { .host = host, .request = job };
    char path[4096];
    snprintf(path, sizeof(path), "%s/test.csv", spec->data);
    const struct rec_reading how =
        reading_of(spec, access(path, F_OK) == 0 ? "test.csv" : "train.csv", &work);
    maas_status status = rec_data_read(&how, &d, error);
    if (status)
        return status;
    name_as(&d.users, &m->users, d.train.user, d.train.count, &work);
    name_as(&d.items, &m->items, d.train.item, d.train.count, &work);
    status = rec_cancelled(&work, 0) ? maas_fail(error, MAAS_E_CANCELLED, "cancelled")
                                     : measure(m, &d.train, spec, &work, error);
    rec_data_release(&d);
    if (!status)
        host->done(host, job, MAAS_OK, NULL);
    return status;
}
