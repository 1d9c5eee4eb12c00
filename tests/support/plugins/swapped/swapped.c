/*
 * swapped.c: "maas.swapped", a plugin that is replaced while it serves. Its file exists twice, as
 * build 1 and 2 (SWAPPED_BUILD); each answers a row x with prediction = x * build and says which it
 * is. The artifact's file "deed" says what a version of it does:
 *
 *     serve   answers                 refuse  load gives an error     crash   load aborts
 *     hang    load never returns      fail    infer gives an error    die     infer aborts
 */
#include <maas/author.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct maas_model {
    const maas_host *host;
    char deed[16];
};

static const int64_t input_shape[] = { -1, 1 }, output_shape[] = { -1 };
static const maas_port input = {
    .name = { "features", 8 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 2, .shape = input_shape
};
static const maas_port outputs[] = {
    { .name = { "prediction", 10 },
      .dtype = { MAAS_FLOAT, 64, 1 },
      .ndim = 1,
      .shape = output_shape },
    { .name = { "build", 5 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 1, .shape = output_shape },
};

static int does(const maas_model *m, const char *deed)
{
    return strcmp(m->deed, deed) == 0;
}

static maas_status read_deed(const char *root, maas_model *m, maas_error *error)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/deed", root);
    FILE *file = fopen(path, "re");
    int good = file && fscanf(file, "%15s", m->deed) == 1;
    if (file)
        fclose(file);
    return good ? MAAS_OK : maas_fail(error, MAAS_E_INVALID, "there is no deed");
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    maas_status status = read_deed(spec->root, m, error);
    if (!status && does(m, "refuse"))
        status = maas_fail(error, MAAS_E_INVALID, "this version is not for loading");
    if (status) {
        free(m);
        return status;
    }
    if (does(m, "crash"))
        abort();
    while (does(m, "hang"))
        sleep(1);
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)m;
    (void)error;
    s->inputs = &input;
    s->outputs = outputs;
    s->input_count = 1;
    s->output_count = 2;
    s->max_rows = 64;
    s->rows_independent = 1;
    s->task = "regression";
    return MAAS_OK;
}

static maas_named output(const char *name, double *data, int64_t *rows)
{
    return (maas_named){
        maas_text(name),
        { .data = data, .device_type = 1, .ndim = 1, .dtype = { MAAS_FLOAT, 64, 1 }, .shape = rows }
    };
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    double prediction[64], build[64];
    int64_t rows = r->rows;
    if (does(m, "die"))
        abort();
    if (does(m, "fail"))
        return maas_fail(error, MAAS_E_INTERNAL, "this version cannot infer");
    for (int64_t i = 0; i < rows; i++) {
        build[i] = SWAPPED_BUILD;
        prediction[i] = x[i] * SWAPPED_BUILD;
    }
    const maas_named out[] = { output("prediction", prediction, &rows),
                               output("build", build, &rows) };
    maas_status status = m->host->emit(m->host, r, out, 2);
    m->host->done(m->host, r, status, NULL);
    return MAAS_OK;
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.swapped",
                                    .version = "1.0",
                                    .title = "Is replaced while it serves",
                                    .vendor = "maas",
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
