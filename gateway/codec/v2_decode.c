/*
 * v2_decode.c: the body of POST /v2/models/{m}/infer, Open Inference Protocol.
 *
 *     {"id"?, "parameters"?, "inputs": [{"name", "shape", "datatype", "parameters"?, "data"}],
 *      "outputs"?: [{"name", "parameters"?}]}
 *
 * As the protocol's servers do: "data" nested or flat, row-major, its count must be the shape's;
 * unknown members are tolerated (KServe's client adds "model_name"); parameters must be scalars and
 * those the protocol itself defines are not handed to the model. Stricter than they: a member
 * twice is refused, the datatype must be the model's own (no silent conversion), shapes are checked
 * extent by extent here, so that the error names the member of the body.
 */
#include <stdio.h>
#include <string.h>

#include "codec/parts.h"

#define DIMS_MAX       8
#define INPUTS_MAX     32
#define PARAMETERS_MAX 64

/* ---- parameters */

/* Defined by the protocol or its servers, and without meaning for the model here. */
static bool of_the_protocol(struct str name)
{
    static const char *const names[] = {
        "sequence_id", "sequence_start", "sequence_end",       "priority",    "timeout",
        "headers",     "binary_data",    "binary_data_output", "content_type"
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

bool scalar_text(const struct decode *d, struct json_value value, struct str *out)
{
    bool flag;
    int64_t integer;
    double real;
    char text[JSON_NUMBER_MAX];
    size_t len = 0;
    if (json_string(value, out))
        return true;
    if (json_bool(value, &flag))
        len = (size_t)snprintf(text, sizeof(text), "%s", flag ? "true" : "false");
    else if (json_int64(value, &integer))
        len = json_format_i64(integer, text);
    else if (json_double(value, &real))
        len = json_format_f64(real, text);
    char *copy = len ? engine_job_alloc(d->job, len, 1) : NULL;
    if (!copy)
        return false;
    memcpy(copy, text, len);
    *out = (struct str){ copy, len };
    return true;
}

static struct field_name parameter_field(struct str name)
{
    return field_name("parameters.%.*s", shown(name), name.data);
}

static maas_status read_parameter(const struct decode *d, struct str name, struct json_value value)
{
    struct engine_request *r = d->request;
    struct str text;
    if (str_prefix(name, STR("triton_")))
        return reject(d, parameter_field(name).text,
                      "parameters with the prefix 'triton_' are reserved");
    if (!scalar_text(d, value, &text))
        return reject(d, parameter_field(name).text, "'%s' must be a string, a number or a boolean",
                      parameter_field(name).text);
    if (of_the_protocol(name))
        return MAAS_OK;
    for (uint32_t i = 0; i < r->param_count; i++)
        if (str_eq(r->params[i].name, name))
            return reject(d, parameter_field(name).text, "'%s' is there twice",
                          parameter_field(name).text);
    if (r->param_count == PARAMETERS_MAX)
        return reject(d, "parameters", "more than %d parameters", PARAMETERS_MAX);
    r->params[r->param_count++] = (struct engine_option){ name, text };
    return MAAS_OK;
}

static maas_status read_parameters(const struct decode *d, const struct member *member)
{
    if (!member->there)
        return MAAS_OK;
    if (json_type(member->value) != JSON_OBJECT)
        return reject(d, "parameters", "'parameters' must be an object");
    d->request->params = decode_alloc(d, PARAMETERS_MAX, sizeof(*d->request->params));
    if (!d->request->params)
        return no_memory(d);
    struct json_iter iter = json_children(member->value);
    struct json_value value;
    struct str name;
    maas_status status = MAAS_OK;
    while (status == MAAS_OK && json_next(&iter, &name, &value))
        status = read_parameter(d, name, value);
    return status;
}

/* ---- inputs */

struct input { /* one element of "inputs" */
    size_t index;
    struct member name, shape, datatype, data;
    const maas_port *port;
    const struct datatype *type;
    size_t count; /* elements by the shape */
};

static struct place input_place(const struct input *in, const char *member)
{
    return (struct place){ "inputs", in->index, member };
}

static struct field_name input_field(const struct input *in, const char *member)
{
    return place_name(input_place(in, member));
}

/* Data must come in the body; the other two ways of the protocol are named in the refusal. */
static maas_status check_source(const struct decode *d, const struct input *in,
                                const struct member *parameters)
{
    struct member ways[] = { { .name = "binary_data_size" }, { .name = "shared_memory_region" } };
    if (parameters->there && json_type(parameters->value) != JSON_OBJECT)
        return reject(d, input_field(in, "parameters").text, "'%s' must be an object",
                      input_field(in, "parameters").text);
    if (parameters->there) {
        maas_status status = read_members(d, parameters->value, input_place(in, "parameters"), ways,
                                          COUNT_OF(ways), true);
        if (status != MAAS_OK)
            return status;
    }
    if (ways[1].there)
        return reject(d, input_field(in, "parameters").text,
                      "shared memory is not offered; send 'data'");
    if (ways[0].there)
        return reject(d, input_field(in, "parameters").text,
                      "'binary_data_size' without the header Inference-Header-Content-Length");
    return MAAS_OK;
}

static const maas_port *port_named(const maas_port *ports, uint32_t count, struct str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (str_eq(str_from(ports[i].name), name))
            return &ports[i];
    return NULL;
}

static maas_status read_name(const struct decode *d, struct input *in)
{
    const maas_signature *s = d->context->signature;
    struct str name;
    if (!in->name.there || !json_string(in->name.value, &name))
        return reject(d, input_field(in, "name").text, "'%s' must be a string",
                      input_field(in, "name").text);
    in->port = port_named(s->inputs, s->input_count, name);
    if (!in->port)
        return reject(d, input_field(in, "name").text, "the model has no input '%.*s'", shown(name),
                      name.data);
    for (uint32_t i = 0; i < d->request->input_count; i++)
        if (str_eq(str_from(d->request->inputs[i].name), name))
            return reject(d, input_field(in, "name").text, "input '%.*s' is there twice",
                          shown(name), name.data);
    return MAAS_OK;
}

static maas_status read_datatype(const struct decode *d, struct input *in)
{
    const struct datatype *wanted = datatype_of(in->port->dtype);
    struct str name;
    if (!in->datatype.there || !json_string(in->datatype.value, &name))
        return reject(d, input_field(in, "datatype").text, "'%s' must be a string",
                      input_field(in, "datatype").text);
    in->type = datatype_named(name);
    if (!in->type)
        return reject(d, input_field(in, "datatype").text, "unknown datatype '%.*s'", shown(name),
                      name.data);
    if (!in->type->json)
        return reject(d, input_field(in, "datatype").text,
                      "receiving %s data via JSON is not supported; use the binary data format",
                      in->type->name);
    if (in->type != wanted)
        return reject(d, input_field(in, "datatype").text, "input '%.*s' is %s, not %s",
                      shown(str_from(in->port->name)), in->port->name.data,
                      wanted ? wanted->name : "of another type", in->type->name);
    return MAAS_OK;
}

static maas_status read_extents(const struct decode *d, const struct input *in, int64_t *shape,
                                int32_t *out_ndim)
{
    size_t ndim = 0;
    if (!in->shape.there || json_type(in->shape.value) != JSON_ARRAY)
        return reject(d, input_field(in, "shape").text, "'%s' must be a list of extents",
                      input_field(in, "shape").text);
    enum json_flat flat = json_flatten(in->shape.value, 1, JSON_CELL_I64, shape, DIMS_MAX, &ndim);
    if (flat == JSON_FLAT_MORE)
        return reject(d, input_field(in, "shape").text, "'%s' has more than %d dimensions",
                      input_field(in, "shape").text, DIMS_MAX);
    bool good = flat == JSON_FLAT_OK && ndim > 0;
    for (size_t i = 0; good && i < ndim; i++)
        good = shape[i] >= 0;
    if (!good)
        return reject(d, input_field(in, "shape").text,
                      "'%s' must be a list of whole numbers from 0 up",
                      input_field(in, "shape").text);
    *out_ndim = (int32_t)ndim;
    return MAAS_OK;
}

static maas_status check_rows(const struct decode *d, const struct input *in, int64_t rows)
{
    uint32_t most = d->context->max_rows;
    if (rows == 0)
        return reject(d, input_field(in, "shape").text, "'%s' says 0 rows",
                      input_field(in, "shape").text);
    if (rows > UINT32_MAX || (most && rows > (int64_t)most))
        return reject(d, input_field(in, "shape").text, "%lld rows are more than the %u allowed",
                      (long long)rows, most ? most : UINT32_MAX);
    if (d->request->input_count && rows != (int64_t)d->request->rows)
        return reject(d, input_field(in, "shape").text, "%lld rows, but inputs[0] has %u",
                      (long long)rows, d->request->rows);
    d->request->rows = (uint32_t)rows;
    return MAAS_OK;
}

static maas_status check_shape(const struct decode *d, struct input *in, const int64_t *shape,
                               int32_t ndim)
{
    if (ndim != in->port->ndim)
        return reject(d, input_field(in, "shape").text,
                      "'%s' has %d dimensions, the model's input has %d",
                      input_field(in, "shape").text, (int)ndim, (int)in->port->ndim);
    size_t count = 1;
    for (int32_t i = 0; i < ndim; i++) {
        if (i > 0 && in->port->shape[i] >= 0 && shape[i] != in->port->shape[i])
            return reject(d, input_field(in, "shape").text,
                          "extent %d is %lld, the model's input has %lld", (int)i,
                          (long long)shape[i], (long long)in->port->shape[i]);
        if (__builtin_mul_overflow(count, (size_t)shape[i], &count))
            return reject(d, input_field(in, "shape").text,
                          "'%s' says more elements than can be counted",
                          input_field(in, "shape").text);
    }
    if (count > d->context->body.len) /* each takes a byte at least: no memory for a lie */
        return reject(d, input_field(in, "data").text,
                      "'%s' says %zu elements, which the body is too short for",
                      input_field(in, "shape").text, count);
    in->count = count;
    return check_rows(d, in, shape[0]);
}

static maas_status read_data(const struct decode *d, const struct input *in, void **out)
{
    size_t count = 0;
    if (!in->data.there && in->count)
        return reject(d, input_field(in, "data").text, "'%s' is missing",
                      input_field(in, "data").text);
    void *cells = decode_alloc(d, in->count, in->type->size);
    if (!cells)
        return no_memory(d);
    *out = cells;
    if (!in->data.there)
        return MAAS_OK;
    if (json_type(in->data.value) != JSON_ARRAY)
        return reject(d, input_field(in, "data").text, "'%s' must be a list",
                      input_field(in, "data").text);
    enum json_flat flat =
        json_flatten(in->data.value, JSON_DEPTH_MAX, in->type->cell, cells, in->count, &count);
    if (flat == JSON_FLAT_TYPE)
        return reject(d, input_field(in, "data").text, "element %zu of '%s' is no %s", count,
                      input_field(in, "data").text, in->type->name);
    if (flat == JSON_FLAT_RANGE)
        return reject(d, input_field(in, "data").text,
                      "element %zu of '%s' is out of the range of %s", count,
                      input_field(in, "data").text, in->type->name);
    if (flat == JSON_FLAT_MORE || count != in->count)
        return reject(
            d, input_field(in, "data").text, "'%s' has %s elements than the %zu of its shape",
            input_field(in, "data").text, flat == JSON_FLAT_MORE ? "more" : "fewer", in->count);
    return MAAS_OK;
}

static maas_status make_tensor(const struct decode *d, struct input *in)
{
    int64_t *shape = decode_alloc(d, DIMS_MAX, sizeof(*shape));
    int32_t ndim = 0;
    void *data = NULL;
    if (!shape)
        return no_memory(d);
    maas_status status = read_extents(d, in, shape, &ndim);
    if (status == MAAS_OK)
        status = check_shape(d, in, shape, ndim);
    if (status == MAAS_OK)
        status = read_data(d, in, &data);
    if (status != MAAS_OK)
        return status;
    d->request->inputs[d->request->input_count++] =
        (maas_named){ .name = in->port->name,
                      .tensor = { .data = data,
                                  .device_type = 1,
                                  .ndim = ndim,
                                  .dtype = in->port->dtype,
                                  .shape = shape } };
    return MAAS_OK;
}

static maas_status read_input(const struct decode *d, size_t index, struct json_value value)
{
    struct member members[] = { { .name = "name" },
                                { .name = "shape" },
                                { .name = "datatype" },
                                { .name = "parameters" },
                                { .name = "data" } };
    struct input in = { .index = index };
    if (json_type(value) != JSON_OBJECT)
        return reject(d, input_field(&in, "").text, "'%s' must be an object",
                      input_field(&in, "").text);
    maas_status status =
        read_members(d, value, input_place(&in, ""), members, COUNT_OF(members), true);
    if (status != MAAS_OK)
        return status;
    in.name = members[0];
    in.shape = members[1];
    in.datatype = members[2];
    in.data = members[4];
    status = check_source(d, &in, &members[3]);
    if (status == MAAS_OK)
        status = read_name(d, &in);
    if (status == MAAS_OK)
        status = read_datatype(d, &in);
    return status == MAAS_OK ? make_tensor(d, &in) : status;
}

/* But those that may be left out. */
static maas_status check_all_inputs_there(const struct decode *d)
{
    const maas_signature *s = d->context->signature;
    for (uint32_t i = 0; i < s->input_count; i++)
        if (!(s->inputs[i].flags & MAAS_PORT_OPTIONAL) &&
            !output_named(d->request->inputs, d->request->input_count, str_from(s->inputs[i].name)))
            return reject(d, "inputs", "input '%.*s' is missing",
                          shown(str_from(s->inputs[i].name)), s->inputs[i].name.data);
    return MAAS_OK;
}

static maas_status read_inputs(const struct decode *d, const struct member *member)
{
    if (!member->there || json_type(member->value) != JSON_ARRAY)
        return reject(d, "inputs", "'inputs' must be a list of tensors");
    d->request->inputs = decode_alloc(d, INPUTS_MAX, sizeof(*d->request->inputs));
    if (!d->request->inputs)
        return no_memory(d);
    struct json_iter iter = json_children(member->value);
    struct json_value value;
    struct str key;
    maas_status status = MAAS_OK;
    for (size_t i = 0; status == MAAS_OK && json_next(&iter, &key, &value); i++)
        status = i < INPUTS_MAX ? read_input(d, i, value)
                                : reject(d, "inputs", "more than %d inputs", INPUTS_MAX);
    return status == MAAS_OK ? check_all_inputs_there(d) : status;
}

/* ---- outputs */

static maas_status read_output(const struct decode *d, size_t index, struct json_value value)
{
    struct codec_context *c = d->context;
    struct member members[] = { { .name = "name" }, { .name = "parameters" } };
    struct member refused[] = { { .name = "classification" } };
    const struct place at = { "outputs", index, "" }, name_at = { "outputs", index, "name" };
    struct str name;
    if (json_type(value) != JSON_OBJECT)
        return reject(d, place_name(at).text, "'%s' must be an object", place_name(at).text);
    maas_status status = read_members(d, value, at, members, COUNT_OF(members), true);
    if (status == MAAS_OK && members[1].there)
        status = read_members(d, members[1].value, at, refused, COUNT_OF(refused), true);
    if (status != MAAS_OK)
        return status;
    if (refused[0].there)
        return reject(d, place_name(at).text, "the parameter 'classification' is not offered");
    if (!members[0].there || !json_string(members[0].value, &name))
        return reject(d, place_name(name_at).text, "'%s' must be a string",
                      place_name(name_at).text);
    if (!port_named(c->signature->outputs, c->signature->output_count, name))
        return reject(d, place_name(name_at).text, "the model has no output '%.*s'", shown(name),
                      name.data);
    for (uint32_t i = 0; i < c->wanted_count; i++)
        if (str_eq(c->wanted[i], name))
            return reject(d, place_name(name_at).text, "output '%.*s' is there twice", shown(name),
                          name.data);
    if (c->wanted_count == CODEC_WANTED_MAX)
        return reject(d, "outputs", "more than %d outputs", CODEC_WANTED_MAX);
    c->wanted[c->wanted_count++] = name;
    return MAAS_OK;
}

static maas_status read_outputs(const struct decode *d, const struct member *member)
{
    if (!member->there)
        return MAAS_OK;
    if (json_type(member->value) != JSON_ARRAY)
        return reject(d, "outputs", "'outputs' must be a list");
    struct json_iter iter = json_children(member->value);
    struct json_value value;
    struct str key;
    maas_status status = MAAS_OK;
    for (size_t i = 0; status == MAAS_OK && json_next(&iter, &key, &value); i++)
        status = read_output(d, i, value);
    return status;
}

maas_status v2_decode(const struct decode *d, struct json_value root)
{
    struct member members[] = {
        { .name = "id" }, { .name = "parameters" }, { .name = "inputs" }, { .name = "outputs" }
    };
    maas_status status = read_members(d, root, AT_TOP, members, COUNT_OF(members), true);
    if (status == MAAS_OK && members[0].there && !json_string(members[0].value, &d->context->id))
        status = reject(d, "id", "'id' must be a string");
    if (status == MAAS_OK)
        status = read_parameters(d, &members[1]);
    if (status == MAAS_OK)
        status = read_inputs(d, &members[2]);
    if (status == MAAS_OK)
        status = read_outputs(d, &members[3]);
    return status;
}
