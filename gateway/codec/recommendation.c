/*
 * recommendation.c: POST /v1/recommendations.
 *
 *     {"user": id | [id …]}            what these users may like
 *     {"items": [id …] | [[id …] …]}   what somebody may like who liked these
 *     with "k"?, "similar"?, "exclude_seen"?, "allow"?: [id …], "deny"?: [id …], "explain"?,
 * "model"?
 *
 *     {"model", "version", "items": [{"id", "score"} …], "explanation"?}
 *     {"model", "version", "results": [{"items": …} …]}                   lists in
 *
 * An id is a string, or a whole number, which is taken as its digits. User and items may be given
 * together: the user's own history and what was liked since. "allow" and "deny" hold for all rows.
 */
#include "codec/ranked.h"

enum { USER, ITEMS, ALLOW, DENY, K, SIMILAR, EXCLUDE_SEEN, EXPLAIN, MODEL, MEMBERS };
static const char *const names[MEMBERS] = { "user",    "items",        "allow",   "deny", "k",
                                            "similar", "exclude_seen", "explain", "model" };

struct lists {               /* one decode */
    maas_str *users, *items; /* rows; rows x width, filled up with "" */
    size_t rows, width;
    bool has_users, has_items;
};

static bool is_nested(struct json_value list)
{
    struct json_iter iter = json_children(list);
    struct json_value child;
    struct str key;
    return json_type(list) == JSON_ARRAY && json_next(&iter, &key, &child) &&
           json_type(child) == JSON_ARRAY;
}

static size_t length_of(struct json_value list)
{
    struct json_iter iter = json_children(list);
    struct json_value child;
    struct str key;
    size_t count = 0;
    while (json_next(&iter, &key, &child))
        count++;
    return count;
}

/* Rows of the nested list, and the longest of them. */
static maas_status measure(const struct decode *d, struct json_value list, size_t *out_rows,
                           size_t *out_width)
{
    struct json_iter iter = json_children(list);
    struct json_value child;
    struct str key;
    size_t rows = 0, width = 0;
    for (; json_next(&iter, &key, &child); rows++) {
        struct field_name at = field_name("items[%zu]", rows);
        if (json_type(child) != JSON_ARRAY)
            return reject(d, at.text, "'%s' must be a list of ids, as the first is", at.text);
        size_t len = length_of(child);
        width = len > width ? len : width;
    }
    *out_rows = rows;
    *out_width = width;
    return MAAS_OK;
}

static maas_status read_row(const struct decode *d, struct json_value list, size_t row,
                            maas_str *out)
{
    struct json_iter iter = json_children(list);
    struct json_value child;
    struct str key;
    maas_status status = MAAS_OK;
    for (size_t i = 0; status == MAAS_OK && json_next(&iter, &key, &child); i++)
        status =
            task_read_text(d, child, field_name("items[%zu][%zu]", row, i).text, true, &out[i]);
    return status;
}

static maas_status read_nested(const struct decode *d, struct json_value list, struct lists *l)
{
    struct json_iter iter = json_children(list);
    struct json_value child;
    struct str key;
    size_t rows = 0, cells;
    maas_status status = measure(d, list, &rows, &l->width);
    if (status == MAAS_OK && l->has_users && rows != l->rows)
        status = reject(d, "items", "'items' has %zu rows, 'user' has %zu", rows, l->rows);
    if (status == MAAS_OK)
        status = task_check_rows(d, "items", rows);
    if (status != MAAS_OK)
        return status;
    l->rows = rows;
    l->items = __builtin_mul_overflow(rows, l->width, &cells)
                   ? NULL
                   : decode_alloc(d, cells, sizeof(*l->items));
    if (!l->items)
        return no_memory(d);
    for (size_t i = 0; i < cells; i++)
        l->items[i] = (maas_str){ "", 0 };
    for (size_t row = 0; status == MAAS_OK && json_next(&iter, &key, &child); row++)
        status = read_row(d, child, row, l->items + row * l->width);
    return status;
}

static maas_status read_items(const struct decode *d, const struct member *member, struct lists *l)
{
    bool single = false;
    if (!member->there)
        return MAAS_OK;
    l->has_items = true;
    if (json_type(member->value) != JSON_ARRAY)
        return reject(d, "items", "'items' must be a list of ids");
    if (is_nested(member->value)) {
        d->context->single = false;
        return read_nested(d, member->value, l);
    }
    if (l->has_users && !d->context->single)
        return reject(d, "items", "'items' must be a list of lists, one for each user");
    d->context->single = true;
    l->rows = 1;
    return task_read_texts(d, member, true, &l->items, &l->width, &single);
}

static maas_status read_users(const struct decode *d, const struct member *member, struct lists *l)
{
    if (!member->there)
        return MAAS_OK;
    l->has_users = true;
    maas_status status = task_read_texts(d, member, true, &l->users, &l->rows, &d->context->single);
    return status == MAAS_OK ? task_check_rows(d, "user", l->rows) : status;
}

/* The same list for each row. */
static maas_status add_list(const struct decode *d, const struct member *member, size_t rows)
{
    maas_str *list, *all;
    size_t width, cells;
    bool single = false;
    const maas_port *port = task_text_port(d, member->name, 2);
    maas_status status = task_read_texts(d, member, true, &list, &width, &single);
    if (status != MAAS_OK || !member->there)
        return status;
    if (!port)
        return reject(d, member->name, "the model takes no '%s'", member->name);
    if (single)
        return reject(d, member->name, "'%s' must be a list of ids", member->name);
    all = __builtin_mul_overflow(rows, width, &cells) ? NULL : decode_alloc(d, cells, sizeof(*all));
    if (!all)
        return no_memory(d);
    for (size_t i = 0; i < cells; i++)
        all[i] = list[i % width];
    return task_add_texts(d, port, all, rows, width);
}

static maas_status add_inputs(const struct decode *d, const struct member *members,
                              const struct lists *l)
{
    const maas_port *user = task_text_port(d, "user", 1), *items = task_text_port(d, "items", 2);
    maas_status status = MAAS_OK;
    if (l->has_users && !user)
        return reject(d, "user", "the model takes no 'user'");
    if (l->has_items && !items)
        return reject(d, "items", "the model takes no 'items'");
    if (!l->has_users && !l->has_items)
        return reject(d, "user", "name a 'user', or 'items'");
    if (l->has_users)
        status = task_add_texts(d, user, l->users, l->rows, SIZE_MAX);
    if (status == MAAS_OK && l->has_items)
        status = task_add_texts(d, items, l->items, l->rows, l->width);
    for (int i = ALLOW; status == MAAS_OK && i <= DENY; i++)
        status = add_list(d, &members[i], l->rows);
    return status;
}

maas_status recommendation_decode(const struct decode *d, struct json_value root)
{
    struct member members[MEMBERS] = { 0 };
    struct lists l = { 0 };
    for (int i = 0; i < MEMBERS; i++)
        members[i].name = names[i];
    maas_status status = read_members(d, root, AT_TOP, members, MEMBERS, false);
    if (status == MAAS_OK)
        status = task_check_model(d, &members[MODEL]);
    if (status == MAAS_OK)
        status = task_is(d, "recommendation", "a recommender");
    for (int i = K; status == MAAS_OK && i <= EXCLUDE_SEEN; i++)
        status = task_read_parameter(d, &members[i]);
    if (status == MAAS_OK)
        status = task_read_explain(d, &members[EXPLAIN]);
    if (status == MAAS_OK)
        status = read_users(d, &members[USER], &l);
    if (status == MAAS_OK)
        status = read_items(d, &members[ITEMS], &l);
    return status == MAAS_OK ? add_inputs(d, members, &l) : status;
}

static bool write_result(struct buf *out, const void *columns, uint32_t row)
{
    return ranked_write(out, columns, row, "items", "id");
}

maas_status recommendation_encode(const struct codec_context *context, const maas_named *outputs,
                                  uint32_t count, uint32_t rows, struct buf *out, maas_error *error)
{
    struct ranked r;
    if (!ranked_find(outputs, count, "item", rows, &r))
        return fail(error, MAAS_E_INTERNAL,
                    "the model gives no outputs 'item' and 'score' of [rows, k]");
    return task_encode(context, rows, write_result, &r, out, error);
}
