/*
 * task.c: the parts of the tasks' surfaces. A result is an object a row; a single row in gives its
 * members at the top, a list gives "results".
 *
 * An explanation is written as it comes: each output of "maas.explain/1" by its name, a row's part
 * of it as nested lists, or as an object where the signature names the last extent's elements.
 */
#include "codec/task.h"

#include <string.h>

#include "base/base64.h"

#define TEXTS_MAX ((size_t)1 << 20)

/* ---- reading */

maas_status task_check_model(const struct decode *d, const struct member *model)
{
    struct str name;
    if (!model->there)
        return MAAS_OK;
    if (!json_string(model->value, &name))
        return reject(d, "model", "'model' must be a string");
    if (!str_eq(name, d->context->model))
        return reject(d, "model", "'model' is '%.*s', the request went to '%.*s'", shown(name),
                      name.data, shown(d->context->model), d->context->model.data);
    return MAAS_OK;
}

maas_status task_read_explain(const struct decode *d, const struct member *explain)
{
    if (!explain->there)
        return MAAS_OK;
    if (!json_bool(explain->value, &d->context->explain))
        return reject(d, "explain", "'explain' must be true or false");
    if (d->context->explain && !d->context->explains)
        return reject(d, "explain", "the model '%.*s' does not explain its answers",
                      shown(d->context->model), d->context->model.data);
    return MAAS_OK;
}

static bool has_parameter(const maas_signature *s, const char *name)
{
    for (size_t i = 0; s->params && s->params[i]; i++)
        if (strcmp(s->params[i]->name, name) == 0)
            return true;
    return false;
}

maas_status task_read_parameter(const struct decode *d, const struct member *member)
{
    struct engine_request *r = d->request;
    struct str text;
    if (!member->there)
        return MAAS_OK;
    if (!has_parameter(d->context->signature, member->name))
        return reject(d, member->name, "the model '%.*s' has no '%s'", shown(d->context->model),
                      d->context->model.data, member->name);
    if (!scalar_text(d, member->value, &text))
        return reject(d, member->name, "'%s' must be a string, a number or a boolean",
                      member->name);
    if (!r->params && !(r->params = decode_alloc(d, TASK_PARAMETERS_MAX, sizeof(*r->params))))
        return no_memory(d);
    CHECK(r->param_count < TASK_PARAMETERS_MAX);
    r->params[r->param_count++] = (struct engine_option){ str_of(member->name), text };
    return MAAS_OK;
}

maas_status task_is(const struct decode *d, const char *task, const char *what)
{
    const char *its = d->context->signature->task;
    if (its && strcmp(its, task) == 0)
        return MAAS_OK;
    return reject(d, "model", "'%.*s' is not %s", shown(d->context->model), d->context->model.data,
                  what);
}

const maas_port *task_text_port(const struct decode *d, const char *name, int32_t ndim)
{
    const maas_signature *s = d->context->signature;
    for (uint32_t i = 0; i < s->input_count; i++)
        if (str_eq(str_from(s->inputs[i].name), str_of(name)) && s->inputs[i].ndim == ndim &&
            s->inputs[i].dtype.code == MAAS_HANDLE)
            return &s->inputs[i];
    return NULL;
}

/* A whole number as its digits, in the job. */
static bool id_text(const struct decode *d, struct json_value value, struct str *out)
{
    int64_t number;
    return json_int64(value, &number) && scalar_text(d, value, out);
}

maas_status task_read_text(const struct decode *d, struct json_value value, const char *at,
                           bool ids, maas_str *out)
{
    struct str text;
    if (!json_string(value, &text) && !(ids && id_text(d, value, &text)))
        return reject(d, at, "'%s' must be %s", at,
                      ids ? "a string or a whole number" : "a string");
    *out = (maas_str){ text.data, text.len };
    return MAAS_OK;
}

static size_t count_children(struct json_value value)
{
    struct json_iter iter = json_children(value);
    struct json_value child;
    struct str key;
    size_t count = 0;
    while (json_next(&iter, &key, &child))
        count++;
    return count;
}

static maas_status read_list(const struct decode *d, const struct member *member, bool ids,
                             maas_str *out)
{
    struct json_iter iter = json_children(member->value);
    struct json_value child;
    struct str key;
    maas_status status = MAAS_OK;
    for (size_t i = 0; status == MAAS_OK && json_next(&iter, &key, &child); i++)
        status =
            task_read_text(d, child, field_name("%s[%zu]", member->name, i).text, ids, &out[i]);
    return status;
}

maas_status task_read_texts(const struct decode *d, const struct member *member, bool ids,
                            maas_str **out, size_t *out_count, bool *out_single)
{
    *out = NULL;
    *out_count = 0;
    if (!member->there)
        return MAAS_OK;
    *out_single = json_type(member->value) != JSON_ARRAY;
    size_t count = *out_single ? 1 : count_children(member->value);
    if (count > TEXTS_MAX)
        return reject(d, member->name, "'%s' has more than %zu elements", member->name, TEXTS_MAX);
    if (!(*out = decode_alloc(d, count, sizeof(**out))))
        return no_memory(d);
    *out_count = count;
    return *out_single ? task_read_text(d, member->value, member->name, ids, *out)
                       : read_list(d, member, ids, *out);
}

maas_status task_check_rows(const struct decode *d, const char *field, size_t rows)
{
    if (rows == 0)
        return reject(d, field, "'%s' is empty", field);
    if (d->context->max_rows && rows > d->context->max_rows)
        return reject(d, field, "%zu rows are more than the %u allowed", rows,
                      d->context->max_rows);
    return MAAS_OK;
}

maas_status task_add_texts(const struct decode *d, const maas_port *port, maas_str *texts,
                           size_t rows, size_t width)
{
    struct engine_request *r = d->request;
    int64_t *shape = decode_alloc(d, 2, sizeof(*shape));
    if (!r->inputs)
        r->inputs = decode_alloc(d, TASK_INPUTS_MAX, sizeof(*r->inputs));
    if (!shape || !r->inputs)
        return no_memory(d);
    CHECK(r->input_count < TASK_INPUTS_MAX);
    shape[0] = (int64_t)rows;
    shape[1] = width == SIZE_MAX ? 0 : (int64_t)width;
    r->rows = (uint32_t)rows;
    r->inputs[r->input_count++] = (maas_named){ .name = port->name,
                                                .tensor = { .data = texts,
                                                            .device_type = 1,
                                                            .ndim = width == SIZE_MAX ? 1 : 2,
                                                            .dtype = port->dtype,
                                                            .shape = shape } };
    return MAAS_OK;
}

/* ---- writing: explanations */

struct part { /* of an output: elements [at, at + count) */
    const maas_named *output;
    const maas_port *port; /* NULL: no names */
    const struct datatype *type;
    bool pictures; /* bytes, not text */
};

static bool write_cell(struct buf *out, const struct part *p, size_t at)
{
    if (!p->pictures)
        return cell_write(out, p->type, p->output->tensor.data, at);
    buf_add(out, "\"", 1);
    base64_encode(out, str_from(((const maas_str *)p->output->tensor.data)[at]));
    buf_add(out, "\"", 1);
    return true;
}

/* The extents from `dim` on, as nested lists; at most eight deep, as the engine has checked. */
static bool write_part(struct buf *out, const struct part *p, int32_t dim, size_t at)
{
    const maas_tensor *t = &p->output->tensor;
    size_t count = dim < t->ndim ? (size_t)t->shape[dim] : 1, step = 1;
    if (dim == t->ndim)
        return write_cell(out, p, at);
    bool named = p->port && p->port->labels && dim + 1 == t->ndim && p->port->label_count == count;
    for (int32_t i = dim + 1; i < t->ndim; i++)
        step *= (size_t)t->shape[i];
    buf_add(out, named ? "{" : "[", 1);
    for (size_t i = 0; i < count && !out->failed; i++) {
        if (i)
            buf_add(out, ",", 1);
        if (named) {
            buf_json(out, str_from(p->port->labels[i]));
            buf_add(out, ":", 1);
        }
        if (!write_part(out, p, dim + 1, at + i * step))
            return false;
    }
    buf_add(out, named ? "}" : "]", 1);
    return true;
}

static size_t row_elements(const maas_tensor *t)
{
    size_t count = 1;
    for (int32_t i = 1; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

static bool write_explanation(const struct codec_context *context, uint32_t row, struct buf *out)
{
    uint32_t count = 0;
    const maas_named *outputs = engine_job_outputs(context->explained, &count);
    buf_str(out, STR(",\"explanation\":{"));
    for (uint32_t i = 0; i < count; i++) {
        struct part p = { &outputs[i], &context->explains->outputs[i],
                          datatype_of(outputs[i].tensor.dtype), false };
        p.pictures =
            context->surface == SURFACE_IMAGE && outputs[i].tensor.dtype.code == MAAS_HANDLE;
        if (i)
            buf_add(out, ",", 1);
        buf_json(out, str_from(outputs[i].name));
        buf_add(out, ":", 1);
        if (!p.type || !write_part(out, &p, 1, row * row_elements(&outputs[i].tensor)))
            return false;
    }
    buf_add(out, "}", 1);
    return true;
}

/* ---- writing: results */

maas_status task_encode(const struct codec_context *context, uint32_t rows, task_row *write,
                        const void *columns, struct buf *out, maas_error *error)
{
    bool ok = true;
    buf_str(out, STR("{\"model\":"));
    buf_json(out, context->model);
    buf_str(out, STR(",\"version\":"));
    buf_json(out, context->version);
    buf_str(out, context->single ? STR(",") : STR(",\"results\":[{"));
    for (uint32_t row = 0; ok && row < rows && !out->failed; row++) {
        if (row)
            buf_str(out, STR("},{"));
        ok = write(out, columns, row);
        if (ok && context->explained)
            ok = write_explanation(context, row, out);
    }
    buf_str(out, context->single ? STR("}") : STR("}]}"));
    return ok ? MAAS_OK
              : fail(error, MAAS_E_INTERNAL, "the answer holds a number that is not finite");
}

const maas_named *task_column(const maas_named *outputs, uint32_t count, struct str name,
                              uint32_t rows, int64_t width, bool text,
                              const struct datatype **out_type)
{
    const maas_named *output = output_named(outputs, count, name);
    if (!output || output->tensor.ndim < 1 || output->tensor.ndim > 2 ||
        output->tensor.shape[0] != (int64_t)rows)
        return NULL;
    int64_t wide = output->tensor.ndim == 2 ? output->tensor.shape[1] : 1;
    *out_type = datatype_of(output->tensor.dtype);
    if ((width && wide != width) || !*out_type || ((*out_type)->cell == JSON_CELL_STRING) != text)
        return NULL;
    return output;
}
