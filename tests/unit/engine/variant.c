/*
 * variant.c: one small plugin, built several times with one thing different each time: a longer
 * table (a plugin newer than the host), a shorter one (older), and what must be refused.
 */
#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdlib.h>

#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

struct maas_model {
    const maas_host *host;
    char broken[32]; /* what describe says wrongly */
    int64_t shape[2];
    maas_str labels[2];
    maas_port inputs[2], output;
};

static const maas_option_decl broken = { .size = sizeof(maas_option_decl),
                                         .kind = MAAS_OPTION_TEXT,
                                         .name = "broken",
                                         .fallback = "nothing",
                                         .help = "what describe says wrongly" };
static const maas_option_decl level = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_INT,
                                        .name = "level",
#ifdef VARIANT_BAD_DEFAULT
                                        .fallback = "11",
#else
                                        .fallback = "3",
#endif
                                        .choices = "0..10",
                                        .help = "a number" };
static const maas_option_decl colour = { .size = sizeof(maas_option_decl),
                                         .kind = MAAS_OPTION_TEXT,
                                         .name = "colour",
                                         .fallback = "red",
                                         .choices = "red|green",
                                         .help = "one of two" };
static const maas_option_decl share = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_FLOAT,
                                        .name = "share",
                                        .fallback = "0.5",
                                        .choices = "0..1",
                                        .help = "a share" };
static const maas_option_decl fast = { .size = sizeof(maas_option_decl),
                                       .kind = MAAS_OPTION_BOOL,
                                       .name = "fast",
                                       .fallback = "false",
                                       .help = "a switch" };
static const maas_option_decl *const options[] = { &broken, &level, &colour, &share, &fast, NULL };

#ifdef VARIANT_UNRESOLVED
int nobody_has_this_function(void);
#endif

#ifdef VARIANT_INIT_FAILS
static maas_status init(const maas_host *host, maas_error *error)
{
    (void)host;
    return maas_fail(error, MAAS_E_UNAVAILABLE, "no licence today");
}
#endif

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    snprintf(m->broken, sizeof(m->broken), "%s", spec->options[0].text.data);
#ifdef VARIANT_UNRESOLVED
    m->broken[0] = (char)nobody_has_this_function();
#endif
    if (strcmp(m->broken, "load") == 0) {
        free(m);
        return maas_fail(error, MAAS_E_DATA_LOSS, "the model is damaged");
    }
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    free(m);
}

static void break_signature(maas_model *m, maas_signature *s)
{
    static const struct {
        const char *what;
        int number;
    } kinds[] = { { "no-inputs", 1 }, { "many", 2 },   { "rows", 3 },  { "extent", 4 },
                  { "dtype", 5 },     { "labels", 6 }, { "name", 7 },  { "twice", 8 },
                  { "ndim", 9 },      { "task", 10 },  { "null", 11 }, { "names-nul", 12 } };
    int number = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].what, m->broken) == 0)
            number = kinds[i].number;
    switch (number) {
    case 1:
        s->input_count = 0;
        break;
    case 2:
        s->input_count = 33;
        break;
    case 3:
        m->shape[0] = 4;
        break;
    case 4:
        m->shape[1] = 0;
        break;
    case 5:
        m->inputs[0].dtype.bits = 63;
        break;
    case 6:
        m->inputs[0].label_count = 1;
        break;
    case 7:
        m->inputs[0].name = maas_text("with \"quotes\"");
        break;
    case 8:
        m->inputs[1] = m->inputs[0];
        s->input_count = 2;
        break;
    case 9:
        m->inputs[0].ndim = 9;
        break;
    case 10:
        s->task = "a task\n";
        break;
    case 11:
        s->outputs = NULL;
        break;
    case 12:
        m->inputs[0].name.len = 5; /* "four" and its NUL */
        break;
    }
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    m->shape[0] = -1;
    m->shape[1] = 2;
    m->labels[0] = maas_text("left");
    m->labels[1] = maas_text("right");
    m->inputs[0] = (maas_port){ .name = maas_text("four"),
                                .dtype = FP64,
                                .ndim = 2,
                                .shape = m->shape,
                                .labels = m->labels,
                                .label_count = 2 };
    m->output =
        (maas_port){ .name = maas_text("sum"), .dtype = FP64, .ndim = 1, .shape = m->shape };
    s->inputs = m->inputs;
    s->outputs = &m->output;
    s->input_count = s->output_count = 1;
    break_signature(m, s);
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *x = r->inputs[0].tensor.data;
    int64_t rows = r->rows;
    double *y = m->host->alloc(m->host, r->rows * sizeof(*y), 64);
    if (!y)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    for (uint32_t i = 0; i < r->rows; i++)
        y[i] = x[2 * i] + x[2 * i + 1];
    maas_named out = { m->output.name,
                       { .data = y, .device_type = 1, .ndim = 1, .dtype = FP64, .shape = &rows } };
    return maas_answer(m->host, r, &out, 1);
}

__attribute__((unused)) static maas_status (*const used)(maas_model *, const maas_request *,
                                                         maas_error *) = infer;

#define TABLE                                                                                      \
    .abi = MAAS_ABI, .id = "test." VARIANT_NAME, .options = options, .load = load,                 \
    .unload = unload, .describe = describe

#if defined(VARIANT_FUTURE)
/* Members of a later minor version, which this host does not know. */
static const struct {
    maas_plugin known;
    void (*later)(void);
    const char *and_later[8];
} longer = { .known = { .size = sizeof(longer), TABLE, .infer = infer }, .later = abort };
#define PLUGIN (&longer.known)
#elif defined(VARIANT_SHORT)
/* As if `extension` did not exist yet: what stands behind `size` is not the host's to read. */
static maas_plugin whole = { .size = offsetof(maas_plugin, extension), TABLE, .infer = infer };
#define PLUGIN (memset(&whole.extension, 0xff, sizeof(whole.extension)), &whole)
#elif defined(VARIANT_NO_INFER)
static const maas_plugin whole = { .size = sizeof(whole), TABLE };
#define PLUGIN (&whole)
#elif defined(VARIANT_INIT_FAILS)
static const maas_plugin whole = { .size = sizeof(whole), TABLE, .init = init, .infer = infer };
#define PLUGIN (&whole)
#else
static const maas_plugin whole = { .size = sizeof(whole), TABLE, .infer = infer };
#define PLUGIN (&whole)
#endif

#ifdef VARIANT_NO_ENTRY
#define maas_plugin_entry entry_by_another_name
__attribute__((unused)) static
#endif
    const maas_plugin *
    maas_plugin_entry(uint32_t host_abi)
{
#ifdef VARIANT_OTHER_MAJOR
    return host_abi >> 16 == MAAS_ABI_MAJOR + 7 ? &whole : NULL;
#else
    return host_abi >> 16 == MAAS_ABI_MAJOR ? PLUGIN : NULL;
#endif
}
