/*
 * future.c: a plugin of a later minor version: its table has members that today's host does not
 * know, and it uses what a later host would offer, where the host's size says that it is there.
 * Built without FUTURE it is a plugin of today.
 */
#include "future.h"

#include <stdlib.h>

struct maas_model {
    const maas_host *host;
    int64_t shape[2];
    maas_port input, output;
};

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    (void)spec;
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    m->host = host;
    m->shape[0] = -1;
    m->shape[1] = 2;
    m->input = maas_port_of("x", maas_type(MAAS_FLOAT, 64), 2, m->shape);
    m->output = maas_port_of("y", maas_type(MAAS_FLOAT, 64), 1, m->shape);
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
    s->inputs = &m->input;
    s->outputs = &m->output;
    s->input_count = s->output_count = 1;
    s->rows_independent = 1;
    return MAAS_OK;
}

/* What a later host adds to every sum; 0 where there is none. */
static double later_of(const maas_host *host)
{
#ifdef FUTURE
    const struct later_host *later = (const struct later_host *)host;
    if (MAAS_HAS(struct later_host, later, bonus))
        return later->bonus(host);
#endif
    (void)host;
    return 0;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    double *y = m->host->alloc(m->host, r->rows * sizeof(*y), 64);
    if (!y)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    for (uint32_t i = 0; i < r->rows; i++)
        y[i] = x[2 * i] + x[2 * i + 1] + later_of(m->host);
    int64_t rows = r->rows;
    maas_named out = maas_output(&m->output, y, &rows);
    maas_status status = maas_answer(m->host, r, &out, 1);
    m->host->free(m->host, y);
    return status;
}

#define TODAY                                                                                      \
    .abi = MAAS_ABI, .id = "test.future", .load = load, .unload = unload, .describe = describe,    \
    .infer = infer

#ifdef FUTURE
static const struct {
    maas_plugin today;
    void (*later)(void);
    const char *and_later[6];
} table = { .today = { .size = sizeof(table), TODAY }, .later = abort };
#define PLUGIN (&table.today)
#else
static const maas_plugin table = { .size = sizeof(table), TODAY };
#define PLUGIN (&table)
#endif

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? PLUGIN : NULL;
}
