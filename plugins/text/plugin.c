/*
 * plugin.c: "maas.textcls": the class of a text, by a linear model over hashed n-grams or an LSTM.
 *
 * Input "text" BYTES [rows]; outputs "label" BYTES [rows, k] and "score" FP32 [rows, k], best
 * first; k is the parameter top_k, or all classes where there are fewer. Explained by "word" BYTES
 * [rows, n] and "weight" FP32 [rows, n]: what each word adds to the score of the first label beside
 * the mean of all labels; rows with fewer words are filled up with "" and 0.
 *
 * Each row is computed alone in a fixed order, so its bits do not hang on its batch.
 */
#include <maas/ext/explain.h>

#include <stdlib.h>

#include "train.h"

enum { WORDS_MAX = 1024 }; /* that are explained, of a text */

struct maas_model {
    const maas_host *host;
    struct text_model text;
    maas_port outputs[2], explanation[2];
};

static const int64_t rows_only[] = { -1 }, rows_by_any[] = { -1, -1 };
static const maas_option_decl *const params[] = {
    MAAS_OPTION("top_k", MAAS_OPTION_INT, "5", "1..4096", "labels of each row, best first"),
    NULL,
};
static const maas_port input = {
    .name = { "text", 4 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_only
};

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    maas_status status = text_read(spec->root, &m->text, error);
    if (status) {
        free(m);
        return status;
    }
    m->host = host;
    m->outputs[0] = maas_port_of("label", maas_type(MAAS_HANDLE, 128), 2, rows_by_any);
    m->outputs[1] = maas_port_of("score", maas_type(MAAS_FLOAT, 32), 2, rows_by_any);
    m->explanation[0] = maas_port_of("word", maas_type(MAAS_HANDLE, 128), 2, rows_by_any);
    m->explanation[1] = maas_port_of("weight", maas_type(MAAS_FLOAT, 32), 2, rows_by_any);
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    text_release(&m->text);
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &input;
    s->input_count = 1;
    s->outputs = m->outputs;
    s->output_count = 2;
    s->max_rows = 4096;
    s->rows_independent = 1;
    s->resident_bytes = m->text.map_bytes;
    s->task = "text-classification";
    s->params = params;
    return MAAS_OK;
}

static const maas_str *texts_of(const maas_request *r)
{
    return r->inputs[0].tensor.data;
}

/* The `k` best of the scores, best first, of equals the first; scores of those that were taken are
 * spoilt. */
static void rank(const struct text_model *m, float *scores, uint32_t k, maas_str *labels,
                 float *out)
{
    for (uint32_t i = 0; i < k; i++) {
        uint32_t best = 0;
        for (uint32_t c = 1; c < m->classes; c++)
            if (scores[c] > scores[best])
                best = c;
        labels[i] = maas_text(m->labels[best]);
        out[i] = scores[best];
        scores[best] = -1;
    }
}

/* One block of the host's for a call: what a text is computed in, texts and numbers, `cells` each,
 * and a row of scores. */
struct space {
    float *scratch;
    maas_str *texts;
    float *numbers, *scores;
};

static bool space_take(const maas_model *m, size_t cells, bool explaining, struct space *out)
{
    const size_t scratch = file_aligned(text_scratch(&m->text, explaining) * sizeof(float));
    out->scratch = m->host->alloc(
        m->host,
        scratch + cells * (sizeof(maas_str) + sizeof(float)) + m->text.classes * sizeof(float), 64);
    if (!out->scratch)
        return false;
    out->texts = (maas_str *)(void *)((char *)out->scratch + scratch);
    out->numbers = (float *)(void *)(out->texts + cells);
    out->scores = out->numbers + cells;
    return true;
}

/* Both outputs are [rows, width]. */
static maas_status answer(const maas_model *m, const maas_request *r, const maas_port ports[2],
                          const struct space *space, uint32_t width)
{
    int64_t shape[] = { r->rows, width };
    const maas_named outputs[] = { maas_output(&ports[0], space->texts, shape),
                                   maas_output(&ports[1], space->numbers, shape) };
    return maas_answer(m->host, r, outputs, 2);
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space space;
    maas_status status = MAAS_OK;
    uint32_t k =
        r->params[0].integer < m->text.classes ? (uint32_t)r->params[0].integer : m->text.classes;
    if (!space_take(m, (size_t)r->rows * k, false, &space))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        text_scores(&m->text, texts_of(r)[i], space.scratch, space.scores);
        rank(&m->text, space.scores, k, space.texts + (size_t)i * k, space.numbers + (size_t)i * k);
        if (m->host->cancelled(m->host, r))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    if (!status)
        status = answer(m, r, m->outputs, &space, k);
    m->host->free(m->host, space.scratch);
    return status;
}

/* ---- explaining */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = m->explanation;
    s->params = NULL;
    return status;
}

static uint32_t count_words(maas_str text)
{
    struct reader reader = { text.data, text.data + text.len };
    struct word word;
    uint32_t count = 0;
    while (count < WORDS_MAX && words_next(&reader, &word))
        count++;
    return count;
}

static uint32_t first_label(const maas_model *m, maas_str text, const struct space *space)
{
    uint32_t first = 0;
    text_scores(&m->text, text, space->scratch, space->scores);
    for (uint32_t c = 1; c < m->text.classes; c++)
        if (space->scores[c] > space->scores[first])
            first = c;
    return first;
}

static void explain_row(const maas_model *m, maas_str text, const struct space *space,
                        uint32_t width, uint32_t row)
{
    struct reader reader = { text.data, text.data + text.len };
    struct word word;
    maas_str *words = space->texts + (size_t)row * width;
    float *weights = space->numbers + (size_t)row * width;
    for (uint32_t i = 0; i < width; i++) {
        bool there = words_next(&reader, &word);
        words[i] =
            there ? (maas_str){ word.from, (uint64_t)(word.to - word.from) } : (maas_str){ "", 0 };
        weights[i] = 0;
    }
    text_words(&m->text, text, first_label(m, text, space), space->scratch, weights, width);
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space space;
    maas_status status = MAAS_OK;
    uint32_t width = 0;
    for (uint32_t i = 0; i < r->rows; i++) {
        uint32_t count = count_words(texts_of(r)[i]);
        width = count > width ? count : width;
    }
    if (!space_take(m, (size_t)r->rows * width, true, &space))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to explain %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        explain_row(m, texts_of(r)[i], &space, width, i);
        if (m->host->cancelled(m->host, r))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    if (!status)
        status = answer(m, r, m->explanation, &space, width);
    m->host->free(m->host, space.scratch);
    return status;
}

/* ---- the table */

static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    return text_evaluate(m->host, &m->text, spec, job, error);
}

static const void *extension(const char *id)
{
    static const maas_explain explaining = { .size = sizeof(maas_explain),
                                             .abi = MAAS_ABI,
                                             .describe = explain_describe,
                                             .explain = explain };
    static const maas_train training = { .size = sizeof(maas_train),
                                         .abi = MAAS_ABI,
                                         .options = text_train_options,
                                         .train = text_train,
                                         .evaluate = evaluate };
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explaining;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &training : NULL;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.textcls",
                                    .version = "1.1",
                                    .title = "Text classification by n-grams or an LSTM",
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
