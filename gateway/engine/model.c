/*
 * model.c: a loaded model, its checked signature, and inference.
 *
 * The signature is copied, so the plugin cannot change it later. Inputs are put into its order and
 * checked against it (every name, dtype, extent) before the plugin sees them; outputs are checked
 * afterwards: a plugin that emits otherwise has failed, not the caller.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/internal.h"

#define MODEL_MEMORY ((size_t)64 << 20)
#define PORTS_MAX    32

/* ---- the signature */

static maas_status copy_text(struct arena *arena, maas_str *s)
{
    char *copy = arena_alloc(arena, s->len + 1, 8);
    if (!copy)
        return MAAS_E_EXHAUSTED;
    memcpy(copy, s->data ? s->data : "", s->data ? s->len : 0);
    copy[s->len] = '\0';
    s->data = copy;
    return MAAS_OK;
}

static maas_status copy_port(struct arena *arena, const maas_port *from, maas_port *to,
                             maas_error *error)
{
    *to = *from;
    if (!from->name.len || from->name.len > 128 || from->ndim < 1 || from->ndim > 8 ||
        !from->shape || !dtype_bytes(from->dtype))
        return fail(error, MAAS_E_INVALID,
                    "the plugin describes a port without a proper name, shape or dtype");
    int64_t *shape = arena_alloc(arena, (size_t)from->ndim * sizeof(*shape), 8);
    maas_str *labels = arena_alloc(arena, (from->label_count + 1) * sizeof(*labels), 8);
    if (!shape || !labels || copy_text(arena, &to->name))
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the model's signature");
    memcpy(shape, from->shape, (size_t)from->ndim * sizeof(*shape));
    for (uint64_t i = 0; from->labels && i < from->label_count; i++) {
        labels[i] = from->labels[i];
        if (copy_text(arena, &labels[i]))
            return fail(error, MAAS_E_EXHAUSTED, "no memory for the model's signature");
    }
    to->shape = shape;
    to->labels = from->labels ? labels : NULL;
    to->label_count = from->labels ? from->label_count : 0;
    return MAAS_OK;
}

static maas_status copy_ports(struct arena *arena, const maas_port **ports, uint32_t count,
                              maas_error *error)
{
    maas_port *copy = arena_alloc(arena, (count + 1) * sizeof(*copy), 8);
    if (!copy)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the model's signature");
    for (uint32_t i = 0; i < count; i++) {
        maas_status status = copy_port(arena, &(*ports)[i], &copy[i], error);
        if (status)
            return status;
    }
    *ports = copy;
    return MAAS_OK;
}

static maas_status describe(struct engine_model *m, maas_error *error)
{
    maas_signature *s = &m->signature;
    s->size = sizeof(*s);
    s->abi = MAAS_ABI;
    maas_status status = m->plugin->table.describe(m->model, s, error);
    if (status)
        return status;
    if (s->input_count < 1 || s->input_count > PORTS_MAX || s->output_count < 1 ||
        s->output_count > PORTS_MAX)
        return fail(error, MAAS_E_INVALID,
                    "the plugin describes %u inputs and %u outputs; 1 to %d are possible",
                    s->input_count, s->output_count, PORTS_MAX);
    status = copy_ports(m->memory, &s->inputs, s->input_count, error);
    if (!status)
        status = copy_ports(m->memory, &s->outputs, s->output_count, error);
    return status;
}

maas_status engine_model_load(struct engine_plugin *plugin, const char *root,
                              const struct engine_option *options, size_t option_count,
                              struct engine_model **out, maas_error *error)
{
    struct engine_model *m = calloc(1, sizeof(*m));
    maas_model_spec spec = { .size = sizeof(spec), .root = root };
    maas_option *parsed = NULL;
    if (!m || !(m->memory = arena_new(MODEL_MEMORY))) {
        free(m);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a model");
    }
    m->plugin = plugin;
    host_init(&m->host);
    maas_status status = options_parse(m->memory, plugin->table.options, options, option_count,
                                       &parsed, &spec.option_count, error);
    spec.options = parsed;
    if (!status)
        status = plugin->table.load(&m->host, &spec, &m->model, error);
    if (!status)
        status = describe(m, error);
    if (status) {
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
    if (m->model)
        m->plugin->table.unload(m->model);
    arena_free(m->memory);
    free(m);
}

const maas_signature *engine_signature(const struct engine_model *model)
{
    return &model->signature;
}

/* ---- a request against the signature */

static maas_status check_shape(const maas_port *port, const maas_tensor *t, uint32_t rows,
                               maas_error *error)
{
    int name_len = (int)port->name.len;
    size_t count;
    if (!dtype_eq(t->dtype, port->dtype))
        return fail(error, MAAS_E_INVALID, "'%.*s' must be %s, not %s", name_len, port->name.data,
                    dtype_name(port->dtype), dtype_name(t->dtype));
    if (t->ndim != port->ndim)
        return fail(error, MAAS_E_INVALID, "'%.*s' must have %d dimensions, not %d", name_len,
                    port->name.data, port->ndim, t->ndim);
    for (int32_t i = 0; i < t->ndim; i++)
        if (port->shape[i] >= 0 && t->shape[i] != port->shape[i])
            return fail(error, MAAS_E_INVALID,
                        "'%.*s' must have extent %lld in dimension %d, not %lld", name_len,
                        port->name.data, (long long)port->shape[i], i, (long long)t->shape[i]);
    if (!tensor_count(t, &count) || t->shape[0] != rows)
        return fail(error, MAAS_E_INVALID, "'%.*s' must have %u rows, not %lld", name_len,
                    port->name.data, rows, (long long)t->shape[0]);
    return MAAS_OK;
}

static bool same_name(maas_str a, maas_str b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static const maas_named *find_named(const maas_named *list, uint32_t count, maas_str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (same_name(list[i].name, name))
            return &list[i];
    return NULL;
}

static maas_status check_inputs(const maas_signature *s, const struct engine_request *r,
                                maas_named *ordered, struct str *out_param, maas_error *error)
{
    if (s->max_rows && r->rows > s->max_rows)
        return fail(error, MAAS_E_INVALID, "%u rows are more than this model's %u", r->rows,
                    s->max_rows);
    for (uint32_t i = 0; i < s->input_count; i++) {
        const maas_port *port = &s->inputs[i];
        const maas_named *given = find_named(r->inputs, r->input_count, port->name);
        *out_param = (struct str){ port->name.data, port->name.len };
        if (!given)
            return fail(error, MAAS_E_INVALID, "input '%.*s' is missing", (int)port->name.len,
                        port->name.data);
        maas_status status = check_shape(port, &given->tensor, r->rows, error);
        if (status)
            return status;
        ordered[i] = *given;
    }
    for (uint32_t i = 0; i < r->input_count; i++) {
        const maas_named *in = &r->inputs[i];
        *out_param = (struct str){ in->name.data, in->name.len };
        if (!find_named(ordered, s->input_count, in->name))
            return fail(error, MAAS_E_INVALID, "the model has no input '%.*s'",
                        (int)(in->name.len < 64 ? in->name.len : 64), in->name.data);
        if (find_named(r->inputs, i, in->name))
            return fail(error, MAAS_E_INVALID, "input '%.*s' stands twice",
                        (int)(in->name.len < 64 ? in->name.len : 64), in->name.data);
    }
    *out_param = (struct str){ "", 0 };
    return MAAS_OK;
}

static maas_status check_outputs(const struct engine_model *m, const struct engine_job *job,
                                 uint32_t rows, maas_error *error)
{
    const maas_signature *s = &m->signature;
    maas_error why = MAAS_ERROR_INIT;
    bool good = job->output_count == s->output_count;
    for (uint32_t i = 0; i < s->output_count && good; i++) {
        const maas_named *out = find_named(job->outputs, job->output_count, s->outputs[i].name);
        good = out && check_shape(&s->outputs[i], &out->tensor, rows, &why) == MAAS_OK;
    }
    if (good)
        return MAAS_OK;
    m->host.log(&m->host, MAAS_LOG_PLUGIN_MISBEHAVING,
                why.text[0] ? why.text : "outputs unlike the signature");
    return fail(error, MAAS_E_INTERNAL, "the plugin's outputs do not fit its signature");
}

static maas_status run(struct engine_model *m, struct engine_job *job, maas_error *error)
{
    const maas_plugin *t = &m->plugin->table;
    maas_status status = t->validate(m->model, &job->request, error);
    if (status)
        return status;
    job_open(job, m);
    current_job = job;
    status = t->infer(m->model, &job->request, error);
    current_job = NULL;
    if (status) {
        pthread_mutex_lock(&job->lock);
        job->open = false;
        pthread_mutex_unlock(&job->lock);
        return status;
    }
    return job_wait(job, error);
}

maas_status engine_infer(struct engine_model *m, struct engine_job *job,
                         const struct engine_request *request, struct str *out_param,
                         maas_error *error)
{
    maas_named *ordered = arena_alloc(job->arena, PORTS_MAX * sizeof(*ordered), 64);
    *out_param = (struct str){ "", 0 };
    if (!ordered)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the request");
    if (request->param_count)
        return fail(error, MAAS_E_INVALID, "the model takes no parameters");
    maas_status status = check_inputs(&m->signature, request, ordered, out_param, error);
    if (status)
        return status;
    job->request = (maas_request){ .size = sizeof(job->request),
                                   .rows = request->rows,
                                   .inputs = ordered,
                                   .input_count = m->signature.input_count,
                                   .deadline_ns = request->deadline_ns,
                                   .trace_id = { request->trace_id.data, request->trace_id.len } };
    job->deadline_ns = request->deadline_ns;
    job->cancelled = request->cancelled;
    job->cancelled_arg = request->cancelled_arg;
    job->on_scalar = NULL;
    status = run(m, job, error);
    return status ? status : check_outputs(m, job, request->rows, error);
}

/* ---- training and evaluation */

maas_status engine_train_run(struct engine_plugin *plugin, struct engine_model *model,
                             const struct engine_train *train, maas_error *error)
{
    const maas_train *ext = &plugin->train;
    maas_train_spec spec = {
        .size = sizeof(spec), .data = train->data_dir, .out = train->out_dir, .seed = train->seed
    };
    struct engine_job *job;
    maas_host host;
    maas_option *options = NULL;
    if (!ext->train || (!train->out_dir && !ext->evaluate))
        return fail(error, MAAS_E_UNIMPLEMENTED, "plugin '%s' cannot %s", plugin->table.id,
                    train->out_dir ? "train" : "evaluate");
    maas_status status = engine_job_new(MODEL_MEMORY, &job, error);
    if (status)
        return status;
    host_init(&host);
    status = options_parse(job->arena, ext->options, train->options, train->option_count, &options,
                           &spec.option_count, error);
    spec.options = options;
    job->request = (maas_request){ .size = sizeof(job->request) };
    job->on_scalar = train->on_scalar;
    job->on_scalar_arg = train->arg;
    if (!status) {
        job_open(job, model);
        status = train->out_dir ? ext->train(&host, &spec, &job->request, error)
                                : ext->evaluate(model->model, &spec, &job->request, error);
        if (!status)
            status = job_wait(job, error);
    }
    engine_job_free(job);
    return status;
}
