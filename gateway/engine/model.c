/*
 * model.c: a loaded model and inference, as the list of its steps. Everything generic (names,
 * dtypes, shapes, parameters, the number of calls at once) is the engine's, so a plugin sees only
 * requests that fit its signature.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

#define MODEL_MEMORY ((size_t)64 << 20)

/* ---- load and unload */

static maas_status describe(struct engine_model *m, maas_error *error)
{
    maas_signature theirs = { .size = sizeof(theirs), .abi = MAAS_ABI };
    maas_status status = m->plugin->table.describe(m->model, &theirs, error);
    if (status)
        return status_of_plugin(status);
    return signature_copy(m->memory, &theirs, &m->signature, error);
}

/* An explanation's inputs are the model's: one request can be asked both ways. */
static bool same_inputs(const maas_signature *a, const maas_signature *b)
{
    bool same = a->input_count == b->input_count;
    for (uint32_t i = 0; same && i < a->input_count; i++) {
        const maas_port *x = &a->inputs[i], *y = &b->inputs[i];
        same = name_eq(x->name, y->name) && x->ndim == y->ndim &&
               memcmp(&x->dtype, &y->dtype, sizeof(x->dtype)) == 0 &&
               memcmp(x->shape, y->shape, (size_t)x->ndim * sizeof(*x->shape)) == 0;
    }
    return same;
}

static maas_status describe_explanation(struct engine_model *m, maas_error *error)
{
    maas_signature theirs = { .size = sizeof(theirs), .abi = MAAS_ABI }, mine;
    if (!m->plugin->explain.size)
        return MAAS_OK;
    maas_status status = m->plugin->explain.describe(m->model, &theirs, error);
    if (status)
        return status_of_plugin(status);
    status = signature_copy(m->memory, &theirs, &mine, error);
    if (!status && !same_inputs(&mine, &m->signature))
        status = fail(error, MAAS_E_INVALID, "an explanation has other inputs than the model");
    if (!status)
        m->explanation = mine;
    return status;
}

static maas_status load(struct engine_model *m, const char *root,
                        const struct engine_option *options, size_t option_count, maas_error *error)
{
    char *path = arena_alloc(m->memory, strlen(root) + 1, 8);
    maas_model_spec spec = { .size = sizeof(spec), .root = path };
    if (!path)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a model");
    memcpy(path, root, strlen(root) + 1);
    struct str wrong;
    maas_status status = options_parse(m->memory, m->plugin->table.options, options, option_count,
                                       &spec.options, &spec.option_count, &wrong, error);
    maas_model_spec *kept = status ? NULL : arena_alloc(m->memory, sizeof(*kept), 8);
    if (!kept)
        return status ? status : fail(error, MAAS_E_EXHAUSTED, "no memory for a model");
    *kept = spec; /* borrowed by the plugin until unload */
    status = m->plugin->table.load(&m->host.table, kept, &m->model, error);
    if (!status && !m->model)
        return fail(error, MAAS_E_INTERNAL, "plugin '%s' loaded no model", m->plugin->table.id);
    if (status) {
        m->model = NULL;
        return status_of_plugin(status);
    }
    status = describe(m, error);
    return status ? status : describe_explanation(m, error);
}

maas_status engine_model_load(struct engine_plugin *plugin, const char *root,
                              const struct engine_option *options, size_t option_count,
                              struct engine_model **out, maas_error *error)
{
    struct engine_model *m = calloc(1, sizeof(*m));
    if (!m || !(m->memory = arena_new(MODEL_MEMORY))) {
        free(m);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a model");
    }
    m->plugin = plugin;
    host_init(&m->host, plugin->table.id);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->left, NULL);
    maas_status status = load(m, root, options, option_count, error);
    if (status) {
        if (error)
            error->text[sizeof(error->text) - 1] = '\0';
        engine_model_unload(m);
        return status;
    }
    *out = m;
    return MAAS_OK;
}

void engine_model_unload(struct engine_model *m)
{
    if (!m)
        return;
    CHECK(m->running == 0);
    if (m->model)
        m->plugin->table.unload(m->model);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->left);
    arena_free(m->memory);
    free(m);
}

const maas_signature *engine_signature(const struct engine_model *model)
{
    return &model->signature;
}

const maas_signature *engine_explain_signature(const struct engine_model *model)
{
    return model->explanation.size ? &model->explanation : NULL;
}

uint64_t engine_model_misbehaved(const struct engine_model *model)
{
    return atomic_load_explicit(&model->host.misbehaved, memory_order_relaxed);
}

/* ---- inference */

/* At most max_concurrency calls at once; the others wait here. */
static void enter(struct engine_model *m)
{
    if (!m->signature.max_concurrency)
        return;
    pthread_mutex_lock(&m->lock);
    while (m->running >= m->signature.max_concurrency)
        pthread_cond_wait(&m->left, &m->lock);
    m->running++;
    pthread_mutex_unlock(&m->lock);
}

static void leave(struct engine_model *m)
{
    if (!m->signature.max_concurrency)
        return;
    pthread_mutex_lock(&m->lock);
    m->running--;
    pthread_cond_signal(&m->left);
    pthread_mutex_unlock(&m->lock);
}

typedef maas_status call_fn(maas_model *model, const maas_request *request, maas_error *error);

static maas_status run(struct engine_model *m, struct engine_job *job, const maas_request *request,
                       call_fn *call, bool validated, maas_error *error)
{
    const maas_plugin *t = &m->plugin->table;
    struct job_slot *slot = job_begin(job, request);
    current_job = job;
    maas_status status = validated ? MAAS_OK : t->validate(m->model, &slot->request, error);
    if (!status)
        status = call(m->model, &slot->request, error);
    current_job = NULL;
    return job_finish(&m->host.table, slot, status, error);
}

maas_status model_infer(struct engine_model *m, struct engine_job *job, const maas_request *request,
                        maas_error *error)
{
    enter(m);
    maas_status status = run(m, job, request, m->plugin->table.infer, true, error);
    leave(m);
    return status;
}

maas_status model_validate(struct engine_model *m, struct engine_job *job,
                           const maas_request *request, maas_error *error)
{
    enter(m);
    struct job_slot *slot = job_check_begin(job, request);
    current_job = job;
    maas_status status = m->plugin->table.validate(m->model, &slot->request, error);
    current_job = NULL;
    job_check_end(&m->host.table, slot);
    leave(m);
    if (status && error) /* the plugin wrote it */
        error->text[sizeof(error->text) - 1] = '\0';
    return status ? status_of_plugin(status) : MAAS_OK;
}

static void bind(struct engine_job *job, const maas_signature *s, const struct engine_request *r)
{
    job->signature = s;
    job->deadline_ns = r->deadline_ns;
    job->cancelled = r->cancelled;
    job->cancelled_arg = r->cancelled_arg;
}

void model_bind(const struct engine_model *m, struct engine_job *job,
                const struct engine_request *r)
{
    bind(job, &m->signature, r);
}

/* "parameters.NAME", as a caller finds it in the body. */
static struct str parameter_field(struct arena *arena, struct str name)
{
    const struct str all = STR("parameters");
    size_t len = all.len + 1 + name.len;
    char *text = name.len ? arena_alloc(arena, len, 1) : NULL;
    if (!text)
        return all;
    memcpy(text, all.data, all.len);
    text[all.len] = '.';
    memcpy(text + all.len + 1, name.data, name.len);
    return (struct str){ text, len };
}

/* The request as the plugin sees it: inputs and parameters in the order of the signature. */
static maas_status prepare(const maas_signature *s, struct engine_job *job,
                           const struct engine_request *r, maas_request *out, struct str *out_param,
                           maas_error *error)
{
    maas_named *ordered = arena_alloc(job->arena, s->input_count * sizeof(*ordered), CACHE_LINE);
    if (!ordered)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the request");
    *out = (maas_request){ .size = sizeof(*out),
                           .rows = r->rows,
                           .inputs = ordered,
                           .input_count = s->input_count,
                           .deadline_ns = r->deadline_ns,
                           .trace_id = { r->trace_id.data, r->trace_id.len } };
    maas_status status = signature_inputs(s, r, job->arena, ordered, out_param, error);
    if (status)
        return status;
    struct str wrong = STR("");
    status = options_parse(job->arena, s->params, r->params, r->param_count, &out->params,
                           &out->param_count, &wrong, error);
    if (status)
        *out_param = parameter_field(job->arena, wrong);
    return status;
}

maas_status model_prepare(const struct engine_model *m, struct engine_job *job,
                          const struct engine_request *r, maas_request *out, struct str *out_param,
                          maas_error *error)
{
    return prepare(&m->signature, job, r, out, out_param, error);
}

/* s: of what is asked; its outputs must come. */
static maas_status serve(struct engine_model *m, const maas_signature *s, call_fn *call,
                         struct engine_job *job, const struct engine_request *r,
                         struct str *out_param, maas_error *error)
{
    maas_request request;
    *out_param = STR("");
    maas_status status = prepare(s, job, r, &request, out_param, error);
    if (status)
        return status;
    bind(job, s, r);
    enter(m);
    status = run(m, job, &request, call, false, error);
    leave(m);
    return status;
}

maas_status engine_infer(struct engine_model *m, struct engine_job *job,
                         const struct engine_request *r, struct str *out_param, maas_error *error)
{
    return serve(m, &m->signature, m->plugin->table.infer, job, r, out_param, error);
}

maas_status engine_explain(struct engine_model *m, struct engine_job *job,
                           const struct engine_request *r, struct str *out_param, maas_error *error)
{
    *out_param = STR("");
    if (!m->explanation.size)
        return fail(error, MAAS_E_UNIMPLEMENTED, "plugin '%s' does not explain",
                    m->plugin->table.id);
    return serve(m, &m->explanation, m->plugin->explain.explain, job, r, out_param, error);
}
