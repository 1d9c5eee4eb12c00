/*
 * plugin.c: "maas.recommender": what a user may like next, what is like some items: the table of
 * the ABI, and what goes in and out of a request; ask.c answers it.
 *
 * Inputs, each optional: "user" STRING [rows], "items", "allow", "deny" STRING [rows, n]. Outputs:
 * "item" STRING, "score" FLOAT [rows, k]; explained: "because" STRING, "weight" FLOAT [rows, k,
 * REC_BECAUSE_MAX].
 */
#include <maas/ext/explain.h>

#include <stdlib.h>

#include "recommender.h"

enum { ROWS_MAX = 256 };

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
static const maas_port inputs[REC_INPUTS] = { STRINGS("user", 4, 1, rows_only),
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
                                          .help = "what is like all of 'items'" };
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

/* Of what is kept, with the space of one request. */
static uint64_t resident_bytes(const struct rec_model *m)
{
    const uint64_t people = (uint64_t)m->users.count + m->items.count;
    return people * (m->rank * 4 + 64) + m->users.from[m->users.count] +
           m->items.from[m->items.count] + m->by_user.from[m->users.count] * 16 +
           (m->near.from ? m->near.from[m->near.count] * 8 : 0);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = inputs;
    s->input_count = REC_INPUTS;
    s->outputs = outputs;
    s->output_count = 2;
    s->max_rows = ROWS_MAX;
    s->rows_independent = 1;
    s->resident_bytes = resident_bytes(&m->rec);
    s->task = "recommendation";
    s->params = params;
    return MAAS_OK;
}

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = explained;
    s->output_count = 2;
    return status;
}

static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    (void)m;
    return rec_ask_check(r, error);
}

/* ---- one request */

struct answer { /* [rows, k] each; explained: [rows, k, REC_BECAUSE_MAX] */
    maas_str *names;
    float *numbers;
    maas_str *row_names; /* [k]: of a row that is explained */
    float *row_scores;
};

static bool answer_take(const maas_host *host, size_t cells, uint32_t k, struct answer *out)
{
    maas_str *memory = host->alloc(host, (cells + k) * (sizeof(maas_str) + sizeof(float)), 64);
    if (!memory)
        return false;
    *out = (struct answer){ .names = memory, .row_names = memory + cells };
    out->numbers = (float *)(void *)(out->row_names + k);
    out->row_scores = out->numbers + cells;
    return true;
}

static maas_status list_rows(struct rec_asking *a, uint32_t rows, struct answer *to,
                             maas_error *error)
{
    const size_t k = rec_ask_k(a);
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; !status && i < rows; i++)
        status = rec_ask_row(a, i, to->names + i * k, to->numbers + i * k, error);
    return status;
}

static maas_status explain_rows(struct rec_asking *a, uint32_t rows, struct answer *to,
                                maas_error *error)
{
    const size_t cells = (size_t)rec_ask_k(a) * REC_BECAUSE_MAX;
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; !status && i < rows; i++) {
        status = rec_ask_row(a, i, to->row_names, to->row_scores, error);
        if (!status)
            status = rec_ask_why(a, to->names + i * cells, to->numbers + i * cells, error);
    }
    return status;
}

/* reasons: 1, or REC_BECAUSE_MAX of each item where it is explained */
static maas_status answer(maas_model *m, const maas_request *r, uint32_t reasons, maas_error *error)
{
    struct rec_asking *a;
    struct answer to;
    const bool explains = reasons > 1;
    maas_status status = rec_ask_start(m->host, &m->rec, r, &a, error);
    if (status)
        return status;
    int64_t shape[] = { r->rows, rec_ask_k(a), reasons };
    if (!answer_take(m->host, (size_t)r->rows * rec_ask_k(a) * reasons, rec_ask_k(a), &to)) {
        rec_ask_end(a);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    }
    status = explains ? explain_rows(a, r->rows, &to, error) : list_rows(a, r->rows, &to, error);
    if (!status) {
        const maas_port *ports = explains ? explained : outputs;
        const maas_named out[] = { maas_output(&ports[0], to.names, shape),
                                   maas_output(&ports[1], to.numbers, shape) };
        status = maas_answer(m->host, r, out, 2);
    }
    m->host->free(m->host, to.names);
    rec_ask_end(a);
    return status;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    return answer(m, r, 1, error);
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    return answer(m, r, REC_BECAUSE_MAX, error);
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
                                    .validate = validate,
                                    .infer = infer,
                                    .extension = extension };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
