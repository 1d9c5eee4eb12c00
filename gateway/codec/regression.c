/*
 * regression.c: POST /v1/regression.
 *
 *     {"features": [numbers] | {"name": number …} | [[numbers] …] | [{"name": number …} …],
 *      "interval"?, "level"?, "explain"?, "model"?}
 *     {"model", "version", "prediction", "interval"}                        one row in
 *     {"model", "version", "results": [{"prediction", "interval"} …]}       a list in
 *
 * A model whose features are texts (it has categories, or fills what is missing) is given each as
 * it would stand in a file: strings, numbers as their digits, null as nothing.
 *
 * Named features are found by the model's labels: first where they would stand in the model's own
 * order, else by a small hash table built for this request, so a wide model with shuffled names
 * stays linear.
 */
#include <string.h>

#include "codec/task.h"

struct features { /* one decode of the member "features" */
    const maas_port *port;
    const struct datatype *type;
    size_t width; /* features of a row */
    char *data;
    uint32_t *table; /* open addressing: index + 1, or 0; NULL until it is needed */
    size_t table_size;
    uint32_t *seen_in; /* row + 1 in which the feature was seen last */
};

/* "features[2][5]" of a list, "features[5]" of a single row; -1: the row itself. */
static struct field_name place_of(const struct decode *d, size_t row, long column)
{
    if (d->context->single)
        return column < 0 ? field_name("features") : field_name("features[%ld]", column);
    return column < 0 ? field_name("features[%zu]", row)
                      : field_name("features[%zu][%ld]", row, column);
}

static struct field_name place_named(const struct decode *d, size_t row, struct str name)
{
    if (d->context->single)
        return field_name("features.%.*s", shown(name), name.data);
    return field_name("features[%zu].%.*s", row, shown(name), name.data);
}

static maas_status wrong_value(const struct decode *d, const char *field, enum json_flat why,
                               const struct features *f)
{
    if (f->type->cell == JSON_CELL_STRING)
        return reject(d, field, "'%s' must be a number, a string or null", field);
    if (why == JSON_FLAT_RANGE)
        return reject(d, field, "'%s' is out of the range of %s", field, f->type->name);
    return reject(d, field, "'%s' must be a number", field);
}

/* A cell of a model that takes texts. */
static enum json_flat read_text(const struct decode *d, struct json_value value, void *out)
{
    struct str text = STR("");
    bool flag;
    if (json_bool(value, &flag) || (json_type(value) != JSON_NULL && !scalar_text(d, value, &text)))
        return JSON_FLAT_TYPE;
    *(maas_str *)out = (maas_str){ text.data, text.len };
    return JSON_FLAT_OK;
}

static enum json_flat read_cell(const struct decode *d, const struct features *f,
                                struct json_value value, void *out)
{
    size_t one;
    return f->type->cell == JSON_CELL_STRING ? read_text(d, value, out)
                                             : json_flatten(value, 0, f->type->cell, out, 1, &one);
}

static enum json_flat read_texts(const struct decode *d, const struct features *f,
                                 struct json_value list, char *to, size_t *out_count)
{
    struct json_iter iter = json_children(list);
    struct json_value value;
    struct str key;
    enum json_flat flat = JSON_FLAT_OK;
    *out_count = 0;
    while (flat == JSON_FLAT_OK && json_next(&iter, &key, &value)) {
        if (*out_count == f->width)
            return JSON_FLAT_MORE;
        flat = read_text(d, value, to + *out_count * f->type->size);
        *out_count += flat == JSON_FLAT_OK;
    }
    return flat;
}

static maas_status read_list(const struct decode *d, const struct features *f,
                             struct json_value value, size_t row)
{
    size_t count = 0;
    char *to = f->data + row * f->width * f->type->size;
    enum json_flat flat = f->type->cell == JSON_CELL_STRING
                              ? read_texts(d, f, value, to, &count)
                              : json_flatten(value, 1, f->type->cell, to, f->width, &count);
    if (flat == JSON_FLAT_OK && count == f->width)
        return MAAS_OK;
    if (flat == JSON_FLAT_OK || flat == JSON_FLAT_MORE)
        return reject(d, place_of(d, row, -1).text,
                      "'%s' has %s than the %zu features of the model", place_of(d, row, -1).text,
                      flat == JSON_FLAT_OK ? "fewer" : "more", f->width);
    return wrong_value(d, place_of(d, row, (long)count).text, flat, f);
}

static bool label_is(const struct features *f, size_t index, struct str name)
{
    return str_eq(str_from(f->port->labels[index]), name);
}

static bool build_table(const struct decode *d, struct features *f)
{
    size_t size = 16;
    while (size < 2 * f->width)
        size *= 2;
    uint32_t *table = decode_alloc(d, size, sizeof(*table));
    if (!table)
        return false;
    memset(table, 0, size * sizeof(*table));
    for (size_t i = 0; i < f->width; i++) {
        size_t at = hash_bytes(f->port->labels[i].data, f->port->labels[i].len) & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    f->table = table;
    f->table_size = size;
    return true;
}

/* The feature's index, or -1. expected: where it stands if the caller keeps the model's order. */
static long find_label(const struct features *f, struct str name, size_t expected)
{
    if (expected < f->width && label_is(f, expected, name))
        return (long)expected;
    size_t at = hash_bytes(name.data, name.len) & (f->table_size - 1);
    for (; f->table[at]; at = (at + 1) & (f->table_size - 1))
        if (label_is(f, f->table[at] - 1, name))
            return (long)f->table[at] - 1;
    return -1;
}

static maas_status name_missing(const struct decode *d, const struct features *f, size_t row)
{
    size_t i = 0;
    while (i + 1 < f->width && f->seen_in[i] == row + 1)
        i++;
    struct str name = str_from(f->port->labels[i]);
    return reject(d, place_named(d, row, name).text, "feature '%.*s' is missing", shown(name),
                  name.data);
}

static maas_status prepare_names(const struct decode *d, struct features *f)
{
    if (f->table)
        return MAAS_OK;
    if (!f->port->labels || f->port->label_count != f->width)
        return reject(d, "features",
                      "the model's features have no names; send a list of %zu numbers", f->width);
    f->seen_in = decode_alloc(d, f->width, sizeof(*f->seen_in));
    if (!f->seen_in || !build_table(d, f))
        return no_memory(d);
    memset(f->seen_in, 0, f->width * sizeof(*f->seen_in));
    return MAAS_OK;
}

static maas_status read_named(const struct decode *d, struct features *f, struct json_value value,
                              size_t row)
{
    maas_status status = prepare_names(d, f);
    if (status != MAAS_OK)
        return status;
    struct json_iter iter = json_children(value);
    struct json_value number;
    struct str name;
    size_t count = 0;
    while (json_next(&iter, &name, &number)) {
        long index = find_label(f, name, count);
        struct field_name place = place_named(d, row, name);
        if (index < 0)
            return reject(d, place.text, "the model has no feature '%.*s'", shown(name), name.data);
        if (f->seen_in[index] == row + 1)
            return reject(d, place.text, "feature '%.*s' is there twice", shown(name), name.data);
        f->seen_in[index] = (uint32_t)row + 1;
        char *to = f->data + (row * f->width + (size_t)index) * f->type->size;
        enum json_flat flat = read_cell(d, f, number, to);
        if (flat != JSON_FLAT_OK)
            return wrong_value(d, place.text, flat, f);
        count++;
    }
    return count == f->width ? MAAS_OK : name_missing(d, f, row);
}

static maas_status read_row(const struct decode *d, struct features *f, struct json_value value,
                            size_t row)
{
    switch (json_type(value)) {
    case JSON_ARRAY:
        return read_list(d, f, value, row);
    case JSON_OBJECT:
        return read_named(d, f, value, row);
    default:
        return reject(d, place_of(d, row, -1).text,
                      "'%s' must be a list of numbers or an object of named numbers",
                      place_of(d, row, -1).text);
    }
}

/* A single row, unless the first child is a row itself. Counts the rows. */
static size_t count_rows(const struct decode *d, struct json_value features)
{
    struct json_iter iter = json_children(features);
    struct json_value child;
    struct str key;
    size_t rows = 0;
    d->context->single = true;
    if (json_type(features) != JSON_ARRAY)
        return 1;
    while (json_next(&iter, &key, &child)) {
        if (rows++ == 0 && json_type(child) != JSON_ARRAY && json_type(child) != JSON_OBJECT)
            return 1;
    }
    d->context->single = rows == 0;
    return rows;
}

static maas_status make_input(const struct decode *d, struct features *f, size_t rows)
{
    maas_named *input = decode_alloc(d, 1, sizeof(*input));
    int64_t *shape = decode_alloc(d, 2, sizeof(*shape));
    f->data = decode_alloc(d, rows * f->width, f->type->size);
    if (!input || !shape || !f->data)
        return no_memory(d);
    shape[0] = (int64_t)rows;
    shape[1] = (int64_t)f->width;
    *input = (maas_named){ .name = f->port->name,
                           .tensor = { .data = f->data,
                                       .device_type = 1,
                                       .ndim = 2,
                                       .dtype = f->port->dtype,
                                       .shape = shape } };
    d->request->rows = (uint32_t)rows;
    d->request->inputs = input;
    d->request->input_count = 1;
    return MAAS_OK;
}

static maas_status read_features(const struct decode *d, struct features *f,
                                 struct json_value value)
{
    size_t rows = count_rows(d, value);
    if (rows == 0)
        return reject(d, "features", "'features' is empty");
    if (d->context->max_rows && rows > d->context->max_rows)
        return reject(d, "features", "%zu rows are more than the %u allowed", rows,
                      d->context->max_rows);
    maas_status status = make_input(d, f, rows);
    if (status != MAAS_OK || d->context->single)
        return status == MAAS_OK ? read_row(d, f, value, 0) : status;
    struct json_iter iter = json_children(value);
    struct json_value child;
    struct str key;
    for (size_t row = 0; status == MAAS_OK && json_next(&iter, &key, &child); row++)
        status = read_row(d, f, child, row);
    return status;
}

/* One input of rows by features, of numbers or texts: what a regression model takes. */
static bool takes_features(const maas_signature *s, struct features *f)
{
    if (s->input_count != 1 || s->inputs[0].ndim != 2 || s->inputs[0].shape[1] < 1)
        return false;
    if (s->task && strcmp(s->task, "regression") != 0)
        return false;
    *f = (struct features){ .port = &s->inputs[0], .type = datatype_of(s->inputs[0].dtype) };
    f->width = (size_t)f->port->shape[1];
    return f->type && f->type->json && f->type->cell != JSON_CELL_BOOL && f->width < UINT32_MAX / 4;
}

maas_status regression_decode(const struct decode *d, struct json_value root)
{
    struct member members[] = { { .name = "features" },
                                { .name = "model" },
                                { .name = "explain" },
                                { .name = "interval" },
                                { .name = "level" } };
    struct features f;
    maas_status status = read_members(d, root, AT_TOP, members, COUNT_OF(members), false);
    if (status == MAAS_OK)
        status = task_check_model(d, &members[1]);
    if (status == MAAS_OK)
        status = task_read_explain(d, &members[2]);
    for (size_t i = 3; i < COUNT_OF(members) && status == MAAS_OK; i++)
        status = task_read_parameter(d, &members[i]);
    if (status != MAAS_OK)
        return status;
    if (!takes_features(d->context->signature, &f))
        return reject(d, "model", "'%.*s' is not a regression model", shown(d->context->model),
                      d->context->model.data);
    if (!members[0].there)
        return reject(d, "features", "'features' is missing");
    return read_features(d, &f, members[0].value);
}

struct columns { /* what the answer is made of */
    const maas_named *prediction, *interval;
    const struct datatype *prediction_type, *interval_type;
};

static bool write_result(struct buf *out, const void *columns, uint32_t row)
{
    const struct columns *c = columns;
    size_t at = row;
    buf_str(out, STR("\"prediction\":"));
    bool ok = cell_write(out, c->prediction_type, c->prediction->tensor.data, at);
    buf_str(out, STR(",\"interval\":"));
    if (!c->interval) {
        buf_str(out, STR("null"));
        return ok;
    }
    const void *data = c->interval->tensor.data;
    buf_str(out, STR("["));
    ok = ok && cell_write(out, c->interval_type, data, 2 * at);
    buf_str(out, STR(","));
    ok = ok && cell_write(out, c->interval_type, data, 2 * at + 1);
    buf_str(out, STR("]"));
    return ok;
}

maas_status regression_encode(const struct codec_context *context, const maas_named *outputs,
                              uint32_t count, uint32_t rows, struct buf *out, maas_error *error)
{
    struct columns c = { 0 };
    c.prediction =
        task_column(outputs, count, STR("prediction"), rows, 1, false, &c.prediction_type);
    c.interval = task_column(outputs, count, STR("interval"), rows, 2, false, &c.interval_type);
    if (!c.prediction)
        return fail(error, MAAS_E_INTERNAL, "the model gives no output 'prediction' of [rows]");
    return task_encode(context, rows, write_result, &c, out, error);
}
