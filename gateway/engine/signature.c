/*
 * signature.c: what a model takes and gives. What describe says is checked and copied deep when the
 * model is loaded; requests are then checked against the copy, in one place for every plugin and
 * every surface, with messages that name the input.
 */
#include <string.h>

#include "engine/internal.h"

#define NAME_MAX_BYTES 128
#define LABELS_MAX     ((uint64_t)1 << 20)
#define NAME_CHARS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static bool good_name(maas_str name)
{
    if (!name.data || name.len == 0 || name.len > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!name.data[i] || !strchr(NAME_CHARS, name.data[i]))
            return false;
    return true;
}

static bool good_shape(const maas_port *port)
{
    if (port->ndim < 1 || port->ndim > 8 || !port->shape || port->shape[0] != -1)
        return false;
    for (int32_t i = 1; i < port->ndim; i++)
        if (port->shape[i] < -1 || port->shape[i] == 0)
            return false;
    return true;
}

static bool good_labels(const maas_port *port)
{
    int64_t last = port->shape[port->ndim - 1];
    if (!port->labels)
        return port->label_count == 0;
    return port->label_count <= LABELS_MAX && (last == -1 || (uint64_t)last == port->label_count);
}

static maas_status no_memory(maas_error *error)
{
    return fail(error, MAAS_E_EXHAUSTED, "no memory for the model's signature");
}

static maas_status copy_labels(struct arena *arena, maas_port *port, maas_error *error)
{
    if (!port->labels)
        return MAAS_OK;
    maas_str *labels = arena_alloc(arena, port->label_count * sizeof(*labels), 8);
    for (uint64_t i = 0; labels && i < port->label_count; i++) {
        labels[i] = port->labels[i];
        if (!arena_text(arena, &labels[i]))
            return no_memory(error);
    }
    port->labels = labels;
    return labels ? MAAS_OK : no_memory(error);
}

/* `optional`: an input. A flag that is not known would mean something that is not done. */
static maas_status copy_port(struct arena *arena, maas_port *port, bool optional, maas_error *error)
{
    if (!good_name(port->name))
        return fail(error, MAAS_E_INVALID, "a port's name is not 1 to %d of A-Z a-z 0-9 . _ -",
                    NAME_MAX_BYTES);
    if (!arena_text(arena, &port->name))
        return no_memory(error);
    if (!good_shape(port))
        return fail(error, MAAS_E_INVALID,
                    "port '%s': the shape is not -1 (rows) and then extents or -1",
                    port->name.data);
    if (port->flags & ~(optional ? (uint64_t)MAAS_PORT_OPTIONAL : 0))
        return fail(error, MAAS_E_INVALID, "port '%s' has flags that this host does not know",
                    port->name.data);
    if (!dtype_bytes(port->dtype))
        return fail(error, MAAS_E_INVALID, "port '%s' has no known dtype", port->name.data);
    if (!good_labels(port))
        return fail(error, MAAS_E_INVALID, "port '%s': the labels do not fit the last extent",
                    port->name.data);
    size_t bytes = (size_t)port->ndim * sizeof(int64_t);
    int64_t *shape = arena_alloc(arena, bytes, 8);
    if (!shape)
        return no_memory(error);
    memcpy(shape, port->shape, bytes);
    port->shape = shape;
    return copy_labels(arena, port, error);
}

static maas_status copy_ports(struct arena *arena, const maas_port **ports, uint32_t count,
                              bool optional, maas_error *error)
{
    if (!*ports || count < 1 || count > PORTS_MAX)
        return fail(error, MAAS_E_INVALID, "%u inputs or outputs; 1 to %d are possible", count,
                    PORTS_MAX);
    maas_port *copy = arena_alloc(arena, count * sizeof(*copy), 8);
    if (!copy)
        return no_memory(error);
    memcpy(copy, *ports, count * sizeof(*copy));
    for (uint32_t i = 0; i < count; i++) {
        maas_status status = copy_port(arena, &copy[i], optional, error);
        if (status)
            return status;
        for (uint32_t j = 0; j < i; j++)
            if (name_eq(copy[j].name, copy[i].name))
                return fail(error, MAAS_E_INVALID, "two ports are named '%s'", copy[i].name.data);
    }
    *ports = copy;
    return MAAS_OK;
}

maas_status signature_copy(struct arena *arena, const maas_signature *theirs, maas_signature *out,
                           maas_error *error)
{
    maas_error why = MAAS_ERROR_INIT;
    maas_str task = { theirs->task ? theirs->task : "", theirs->task ? strlen(theirs->task) : 0 };
    *out = *theirs;
    maas_status status = copy_ports(arena, &out->inputs, out->input_count, true, &why);
    if (!status)
        status = copy_ports(arena, &out->outputs, out->output_count, false, &why);
    if (!status && task.len && !good_name(task))
        status = fail(&why, MAAS_E_INVALID, "the task's name is not proper");
    if (!status && !arena_text(arena, &task))
        status = no_memory(&why);
    if (!status)
        status = options_declared_well(out->params, &why);
    out->task = task.len ? task.data : NULL;
    return status ? fail(error, status, "the plugin's signature: %.200s", why.text) : MAAS_OK;
}

/* ---- a request against it */

static const maas_named *find_named(const maas_named *list, uint32_t count, maas_str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (name_eq(list[i].name, name))
            return &list[i];
    return NULL;
}

/* Every input is one of the model's and stands once. */
static maas_status no_strangers(const maas_signature *s, const struct engine_request *r,
                                struct str *out_param, maas_error *error)
{
    for (uint32_t i = 0; i < r->input_count; i++) {
        maas_str name = r->inputs[i].name;
        int len = (int)(name.len < 64 ? name.len : 64);
        uint32_t port = 0;
        *out_param = (struct str){ name.data, name.len };
        while (port < s->input_count && !name_eq(s->inputs[port].name, name))
            port++;
        if (port == s->input_count)
            return fail(error, MAAS_E_INVALID, "the model has no input '%.*s'", len, name.data);
        if (find_named(r->inputs, i, name))
            return fail(error, MAAS_E_INVALID, "input '%.*s' is given twice", len, name.data);
    }
    return MAAS_OK;
}

/* What was left out: no elements, or empty texts or zeros where the rows alone say how many. */
static maas_status make_up(const maas_port *port, uint32_t rows, struct arena *arena,
                           maas_named *out, maas_error *error)
{
    size_t count = rows, bytes;
    int64_t *shape = arena_alloc(arena, (size_t)port->ndim * sizeof(*shape), 8);
    for (int32_t i = 0; shape && i < port->ndim; i++) {
        shape[i] = i == 0 ? rows : port->shape[i] == -1 ? 0 : port->shape[i];
        if (i && __builtin_mul_overflow(count, (size_t)shape[i], &count))
            return fail(error, MAAS_E_EXHAUSTED, "no memory for '%s'", port->name.data);
    }
    bool fits = !__builtin_mul_overflow(count, dtype_bytes(port->dtype), &bytes);
    void *data = fits ? arena_alloc(arena, bytes ? bytes : 1, 64) : NULL;
    if (!shape || !data)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for '%s'", port->name.data);
    memset(data, 0, bytes);
    for (size_t i = 0; port->dtype.code == MAAS_HANDLE && i < count; i++)
        ((maas_str *)data)[i].data = "";
    out->tensor = (maas_tensor){
        .data = data, .device_type = 1, .ndim = port->ndim, .dtype = port->dtype, .shape = shape
    };
    return MAAS_OK;
}

static maas_status take_input(const maas_port *port, const struct engine_request *r,
                              struct arena *arena, maas_named *out, maas_error *error)
{
    const maas_named *given = find_named(r->inputs, r->input_count, port->name);
    out->name = port->name;
    if (!given && port->flags & MAAS_PORT_OPTIONAL)
        return make_up(port, r->rows, arena, out, error);
    if (!given)
        return fail(error, MAAS_E_INVALID, "input '%s' is missing", port->name.data);
    out->tensor = given->tensor;
    return tensor_fits(port, &given->tensor, r->rows, error);
}

maas_status signature_inputs(const maas_signature *s, const struct engine_request *r,
                             struct arena *arena, maas_named *ordered, struct str *out_param,
                             maas_error *error)
{
    maas_status status = no_strangers(s, r, out_param, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < s->input_count; i++) {
        *out_param = (struct str){ s->inputs[i].name.data, s->inputs[i].name.len };
        status = take_input(&s->inputs[i], r, arena, &ordered[i], error);
        if (status)
            return status;
    }
    if (r->rows == 0 || (s->max_rows && r->rows > s->max_rows))
        return fail(error, MAAS_E_INVALID, "%u rows; this model takes 1 to %u", r->rows,
                    s->max_rows ? s->max_rows : UINT32_MAX);
    *out_param = (struct str){ "", 0 };
    return MAAS_OK;
}
