/*
 * plugin.c: "maas.echo": answers its input, after burning as much CPU time as it is told to. For
 * benches: what is measured is everything but the model, or a model of a known cost. Needs nothing
 * of its artifact.
 *
 * Input "input" and output "output": FP64, UINT8 or BYTES [rows, width], by the options `dtype` and
 * `width` (0: each request brings its own width). A call costs `burn_us` and `burn_row_us` for each
 * row.
 */
#include <maas/author.h>

#include <stdlib.h>
#include <time.h>

#define LOOK_NS 1000000 /* between two looks at cancelled; the contract says 10 ms */

struct maas_model {
    const maas_host *host;
    uint64_t burn_ns, burn_row_ns;
    int64_t shape[2];
    maas_port input, output;
};

static const maas_option_decl *const options[] = {
    MAAS_OPTION("dtype", MAAS_OPTION_TEXT, "FP64", "FP64|UINT8|BYTES",
                "of the input and the output"),
    MAAS_OPTION("width", MAAS_OPTION_INT, "0", "0..16777216", "elements of a row; 0: any"),
    MAAS_OPTION("burn_us", MAAS_OPTION_INT, "0", "0..60000000", "CPU time of a call, microseconds"),
    MAAS_OPTION("burn_row_us", MAAS_OPTION_INT, "0", "0..60000000",
                "CPU time of each row, microseconds"),
    NULL,
};

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    const maas_option *o = spec->options; /* in the order of the declarations */
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    maas_dtype dtype = o[0].text.data[0] == 'F'   ? maas_type(MAAS_FLOAT, 64)
                       : o[0].text.data[0] == 'U' ? maas_type(MAAS_UINT, 8)
                                                  : maas_type(MAAS_HANDLE, 128);
    m->host = host;
    m->shape[0] = -1;
    m->shape[1] = o[1].integer ? o[1].integer : -1;
    m->burn_ns = (uint64_t)o[2].integer * 1000;
    m->burn_row_ns = (uint64_t)o[3].integer * 1000;
    m->input = maas_port_of("input", dtype, 2, m->shape);
    m->output = maas_port_of("output", dtype, 2, m->shape);
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
    s->resident_bytes = sizeof(*m);
    s->task = "echo";
    return MAAS_OK;
}

/* CPU time, not time: a bench of many threads should see the cost that a model would have. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* False when it was cancelled. */
static int burn(const maas_model *m, const maas_request *r)
{
    uint64_t now = cpu_ns(), end = now + m->burn_ns + m->burn_row_ns * r->rows, look = now;
    while (now < end) {
        if (now >= look && m->host->cancelled(m->host, r))
            return 0;
        look = now >= look ? now + LOOK_NS : look;
        now = cpu_ns();
    }
    return 1;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    if (!burn(m, r))
        return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    maas_named out = r->inputs[0]; /* emit copies, so the input itself can be the output */
    out.name = m->output.name;
    return maas_answer(m->host, r, &out, 1);
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.echo",
                                    .version = "1.0",
                                    .title = "Answers its input",
                                    .vendor = "maas",
                                    .options = options,
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
