/*
 * text.c: "test.text": which of a few kinds is a text? Written with what sdk/ says alone.
 *
 * The artifact is examples.tsv: a line "kind<TAB>text" an example, and at the end "end<TAB>" with
 * their number. A text is counted by its hashed pieces of three bytes; a kind is the mean of its
 * examples; a score is the cosine of the two.
 *
 * Input  "text"   BYTES [rows]
 * Output "label"  BYTES [rows]
 *        "scores" FP32 [rows, kinds]   labelled with the kinds
 */
#include <maas/author.h>

#include <math.h>
#include <stdlib.h>

enum { BUCKETS = 512, KINDS_MAX = 16, LINE_BYTES = 4096, NAME_BYTES = 64, GRAM = 3 };

struct maas_model {
    const maas_host *host;
    uint32_t kinds, examples;
    char names[KINDS_MAX][NAME_BYTES];
    float centroids[KINDS_MAX][BUCKETS];
    maas_str labels[KINDS_MAX];
    int64_t scores_shape[2];
    maas_port outputs[2];
};

static const int64_t rows_shape[1] = { -1 };

/* ---- texts as vectors */

static uint32_t bucket_of(const char *gram)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (int i = 0; i < GRAM; i++)
        hash = (hash ^ (unsigned char)gram[i]) * 16777619u;
    return hash % BUCKETS;
}

static void normalise(float *v)
{
    float sum = 0;
    for (int i = 0; i < BUCKETS; i++)
        sum += v[i] * v[i];
    for (int i = 0; i < BUCKETS && sum > 0; i++)
        v[i] /= sqrtf(sum);
}

static void count_grams(const char *text, size_t len, float *out)
{
    memset(out, 0, BUCKETS * sizeof(*out));
    for (size_t i = 0; i + GRAM <= len; i++)
        out[bucket_of(text + i)] += 1;
    normalise(out);
}

/* ---- load */

static uint32_t kind_named(maas_model *m, const char *name)
{
    uint32_t at = 0;
    while (at < m->kinds && strcmp(m->names[at], name) != 0)
        at++;
    if (at == m->kinds && at < KINDS_MAX) {
        snprintf(m->names[at], NAME_BYTES, "%s", name);
        m->kinds++;
    }
    return at;
}

static maas_status add_example(maas_model *m, const char *name, const char *text, maas_error *error)
{
    float v[BUCKETS];
    uint32_t kind = strlen(name) < NAME_BYTES ? kind_named(m, name) : KINDS_MAX;
    if (kind == KINDS_MAX)
        return maas_fail(error, MAAS_E_DATA_LOSS, "more than %d kinds, or a long name", KINDS_MAX);
    count_grams(text, strlen(text), v);
    for (int i = 0; i < BUCKETS; i++)
        m->centroids[kind][i] += v[i];
    m->examples++;
    return MAAS_OK;
}

static maas_status read_lines(maas_model *m, FILE *file, maas_error *error)
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file)) {
        char *tab = strchr(line, '\t');
        line[strcspn(line, "\n")] = '\0';
        if (!tab || tab == line)
            return maas_fail(error, MAAS_E_DATA_LOSS, "a line of 'examples.tsv' is no example");
        *tab = '\0';
        if (strcmp(line, "end") == 0)
            return m->kinds && strtoul(tab + 1, NULL, 10) == m->examples
                       ? MAAS_OK
                       : maas_fail(error, MAAS_E_DATA_LOSS, "examples are missing");
        maas_status status = add_example(m, line, tab + 1, error);
        if (status)
            return status;
    }
    return maas_fail(error, MAAS_E_DATA_LOSS, "'examples.tsv' has no end");
}

static maas_status read_examples(maas_model *m, const char *root, maas_error *error)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/examples.tsv", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'examples.tsv'");
    maas_status status = read_lines(m, file, error);
    fclose(file);
    for (uint32_t k = 0; k < m->kinds; k++)
        normalise(m->centroids[k]);
    return status;
}

static void unload(maas_model *m)
{
    free(m);
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    m->host = host;
    maas_status status = read_examples(m, spec->root, error);
    if (status) {
        unload(m);
        return status;
    }
    *out = m;
    return MAAS_OK;
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    static const maas_port input = {
        .name = { "text", 4 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_shape
    };
    (void)error;
    for (uint32_t k = 0; k < m->kinds; k++)
        m->labels[k] = maas_text(m->names[k]);
    m->scores_shape[0] = -1;
    m->scores_shape[1] = m->kinds;
    m->outputs[0] = maas_port_of("label", maas_type(MAAS_HANDLE, 128), 1, rows_shape);
    m->outputs[1] = maas_port_of("scores", maas_type(MAAS_FLOAT, 32), 2, m->scores_shape);
    m->outputs[1].labels = m->labels;
    m->outputs[1].label_count = m->kinds;
    s->inputs = &input;
    s->input_count = 1;
    s->outputs = m->outputs;
    s->output_count = 2;
    s->rows_independent = 1;
    s->resident_bytes = sizeof(*m);
    s->task = "text-classification";
    return MAAS_OK;
}

/* ---- infer */

static uint32_t score(const maas_model *m, maas_str text, float *out)
{
    float v[BUCKETS];
    uint32_t best = 0;
    count_grams(text.data, text.len, v);
    for (uint32_t k = 0; k < m->kinds; k++) {
        out[k] = 0;
        for (int i = 0; i < BUCKETS; i++)
            out[k] += v[i] * m->centroids[k][i];
        if (out[k] > out[best])
            best = k;
    }
    return best;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const maas_str *texts = r->inputs[0].tensor.data;
    const maas_host *host = m->host;
    maas_str *labels = host->alloc(host, r->rows * sizeof(*labels), 64);
    float *scores = host->alloc(host, (size_t)r->rows * m->kinds * sizeof(*scores), 64);
    maas_status status = MAAS_OK;
    if (!labels || !scores)
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        if (i % 16 == 0 && host->cancelled(host, r))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
        labels[i] = m->labels[score(m, texts[i], scores + (size_t)i * m->kinds)];
    }
    int64_t rows[1] = { r->rows }, cells[2] = { r->rows, m->kinds };
    maas_named out[2] = { maas_output(&m->outputs[0], labels, rows),
                          maas_output(&m->outputs[1], scores, cells) };
    if (!status)
        status = maas_answer(host, r, out, 2);
    host->free(host, scores);
    host->free(host, labels);
    return status;
}

static const maas_plugin plugin = { .size = sizeof(plugin),
                                    .abi = MAAS_ABI,
                                    .id = "test.text",
                                    .version = "1.0",
                                    .title = "Texts by their nearest kind",
                                    .vendor = "maas",
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
