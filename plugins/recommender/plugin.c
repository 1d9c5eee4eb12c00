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

#include <stdlib.h>

#include "ask.h"

enum { ROWS_MAX = 256, BECAUSE_MAX = 3 };

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
static const maas_port inputs[ASK_INPUTS] = { STRINGS("user", 4, 1, rows_only),
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

static const maas_option_decl *const params[] = {
    MAAS_OPTION("k", MAAS_OPTION_INT, "10", "1..1024", "items of a list"),
    MAAS_OPTION("similar", MAAS_OPTION_BOOL, "false", NULL, "what is like all of 'items'"),
    MAAS_OPTION("exclude_seen", MAAS_OPTION_BOOL, "true", NULL,
                "leave out what the user has rated"),
    NULL,
};

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
    s->input_count = ASK_INPUTS;
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

/* ---- answering: rows are [rows, k], or with reasons [rows, k, BECAUSE_MAX] */

/* What an answer is made in: `cells` names and numbers, the items of a row, and space. */
struct sheet {
    struct row row;
    struct space space;
    maas_str *names;
    float *numbers;
    uint32_t *found;
};

static maas_status sheet_take(const maas_model *m, const maas_request *r, uint32_t reasons,
                              struct sheet *out, maas_error *error)
{
    out->row = ask_row(&m->rec, r);
    const size_t cells = (size_t)r->rows * out->row.k * reasons;
    maas_status status = ask_check(r, error);
    if (status)
        return status;
    out->names = m->host->alloc(
        m->host, cells * (sizeof(maas_str) + sizeof(float)) + out->row.k * sizeof(uint32_t), 64);
    if (!out->names || !ask_space_take(&m->rec, m->host, &out->space)) {
        m->host->free(m->host, out->names);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    }
    out->numbers = (float *)(void *)(out->names + cells);
    out->found = (uint32_t *)(void *)(out->numbers + cells);
    return MAAS_OK;
}

static void sheet_release(const maas_model *m, const struct sheet *s)
{
    m->host->free(m->host, s->space.work);
    m->host->free(m->host, s->names);
}

/* The best items of a row, filled up with REC_NOBODY. */
static maas_status best_of_row(const maas_model *m, const maas_request *r, uint32_t i,
                               struct sheet *s, maas_error *error)
{
    maas_status status = ask_score(&m->rec, r, i, &s->space, &s->row, error);
    if (status)
        return status;
    for (uint32_t k = rec_top(&m->rec, s->space.scores, s->row.k, s->found); k < s->row.k; k++)
        s->found[k] = REC_NOBODY;
    return m->host->cancelled(m->host, r) ? maas_fail(error, MAAS_E_CANCELLED, "cancelled")
                                          : MAAS_OK;
}

static void tell_items(const maas_model *m, const struct sheet *s, uint32_t row)
{
    for (uint32_t k = 0; k < s->row.k; k++) {
        const uint32_t item = s->found[k];
        const size_t at = (size_t)row * s->row.k + k;
        s->names[at] = item == REC_NOBODY ? (maas_str){ "", 0 } : rec_name(&m->rec.items, item);
        s->numbers[at] = item == REC_NOBODY ? 0 : s->space.scores[item];
    }
}

static void tell_reasons(const maas_model *m, const struct sheet *s, uint32_t row)
{
    for (uint32_t k = 0; k < s->row.k; k++) {
        const size_t at = ((size_t)row * s->row.k + k) * BECAUSE_MAX;
        ask_because(&m->rec, &s->row, s->found[k], &s->space, BECAUSE_MAX, s->names + at,
                    s->numbers + at);
    }
}

typedef void tell_fn(const maas_model *m, const struct sheet *s, uint32_t row);

static maas_status answer(const maas_model *m, const maas_request *r, const maas_port ports[2],
                          uint32_t reasons, tell_fn *tell, maas_error *error)
{
    struct sheet s;
    maas_status status = sheet_take(m, r, reasons, &s, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        status = best_of_row(m, r, i, &s, error);
        if (!status)
            tell(m, &s, i);
    }
    int64_t shape[] = { r->rows, s.row.k, reasons };
    const maas_named out[] = { maas_output(&ports[0], s.names, shape),
                               maas_output(&ports[1], s.numbers, shape) };
    if (!status)
        status = maas_answer(m->host, r, out, 2);
    sheet_release(m, &s);
    return status;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    return answer(m, r, outputs, 1, tell_items, error);
}

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = explained;
    s->output_count = 2;
    return status;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    return answer(m, r, explained, BECAUSE_MAX, tell_reasons, error);
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
                                    .version = "1.1",
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
