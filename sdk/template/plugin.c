/*
 * plugin.c: "com.example.centroid": which of a few centres is nearest? Copy the folder, change the
 * id, replace what is below; the functions stand in the order of a model's life.
 *
 * The artifact is centres.txt: "centres N", then N lines "name x y", then "end".
 * Input "point" FP64 [rows, 2]; outputs "label" BYTES [rows] and "distance" FP64 [rows].
 */
#include <maas/author.h>

#include <math.h>
#include <stdlib.h>

enum { CENTRES_MAX = 100, NAME_BYTES = 32 };

struct maas_model {
    const maas_host *host;
    unsigned count;
    char names[CENTRES_MAX][NAME_BYTES];
    double at[CENTRES_MAX][2];
};

static const int64_t points[] = { -1, 2 }, rows_only[] = { -1 };
static const maas_port input = {
    .name = { "point", 5 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 2, .shape = points
};
static const maas_port outputs[] = {
    { .name = { "label", 5 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_only },
    { .name = { "distance", 8 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 1, .shape = rows_only },
};

/* An artifact may be damaged or hostile: check every count before it is used. */
static int read_centres(maas_model *m, FILE *file)
{
    char end[4];
    if (fscanf(file, "centres %u", &m->count) != 1 || m->count < 1 || m->count > CENTRES_MAX)
        return 0;
    for (unsigned i = 0; i < m->count; i++)
        if (fscanf(file, "%31s %lf %lf", m->names[i], &m->at[i][0], &m->at[i][1]) != 3)
            return 0;
    return fscanf(file, "%3s", end) == 1 && strcmp(end, "end") == 0;
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/centres.txt", spec->root);
    FILE *file = fopen(path, "r");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'centres.txt'");
    maas_model *m = calloc(1, sizeof(*m));
    int good = m && read_centres(m, file);
    fclose(file);
    if (!good) {
        free(m);
        return maas_fail(error, MAAS_E_DATA_LOSS, "'centres.txt' is damaged");
    }
    m->host = host;
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &input;
    s->input_count = 1;
    s->outputs = outputs;
    s->output_count = 2;
    s->rows_independent = 1; /* each row is computed alone, in a fixed order */
    s->resident_bytes = sizeof(*m);
    return MAAS_OK;
}

static unsigned nearest(const maas_model *m, const double *point, double *distance)
{
    unsigned best = 0;
    *distance = INFINITY;
    for (unsigned i = 0; i < m->count; i++) {
        double d = hypot(point[0] - m->at[i][0], point[1] - m->at[i][1]);
        best = d < *distance ? i : best;
        *distance = d < *distance ? d : *distance;
    }
    return best;
}

/* Ask for memory, compute row by row, look at cancelled, answer, give the memory back. */
static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    maas_status status = MAAS_OK;
    int64_t rows = r->rows;
    maas_str *labels = m->host->alloc(m->host, r->rows * sizeof(*labels), 64);
    double *distances = m->host->alloc(m->host, r->rows * sizeof(*distances), 64);
    if (!labels || !distances)
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows && !status; i++) {
        if (i % 256 == 0 && m->host->cancelled(m->host, r))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
        else if (!(hypot(x[2 * i], x[2 * i + 1]) < 1e100)) /* nor is it then NaN */
            status = maas_fail(error, MAAS_E_INVALID, "row %u is too far away", i);
        else
            labels[i] = maas_text(m->names[nearest(m, x + 2 * i, &distances[i])]);
    }
    if (!status) {
        maas_named out[] = { maas_output(&outputs[0], labels, &rows),
                             maas_output(&outputs[1], distances, &rows) };
        status = maas_answer(m->host, r, out, 2);
    }
    m->host->free(m->host, distances);
    m->host->free(m->host, labels);
    return status;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "com.example.centroid",
                                    .version = "1.0",
                                    .title = "The nearest centre",
                                    .vendor = "Example",
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
