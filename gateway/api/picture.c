/*
 * picture.c: the step that finds the model of POST /v1/image-classification. A body that is no JSON
 * is the picture itself; what would be members of an object then stands in the query:
 *
 *     POST /v1/image-classification?model=fashion&top_k=3&explain=true
 *
 * The worker gets it as a JSON head before the picture, so that there is one decoder for both. Only
 * plain values get into the head: names of models, digits, true and false.
 */
#include <stdio.h>
#include <string.h>

#include "api/call.h"

#define HEAD_MAX 256

static bool is_json(struct call *call)
{
    struct str type = exchange_known(call->ex, HDR_CONTENT_TYPE);
    struct str body = exchange_request(call->ex)->body;
    if (str_prefix(type, STR("image/")) || str_prefix(type, STR("application/octet-stream")))
        return false;
    if (str_prefix(type, STR("application/json")))
        return true;
    for (size_t i = 0; i < body.len; i++)
        if (!strchr(" \t\r\n", body.data[i]))
            return body.data[i] == '{';
    return true; /* nothing there: told as an empty object would be */
}

static bool is_plain(struct str value, const char *characters, size_t max)
{
    for (size_t i = 0; i < value.len; i++)
        if (!value.data[i] || !strchr(characters, value.data[i]))
            return false;
    return value.len > 0 && value.len <= max;
}

static bool is_name(struct str value)
{
    return is_plain(value, "abcdefghijklmnopqrstuvwxyz0123456789._-", 63);
}

static bool is_number(struct str value) /* as JSON writes it */
{
    return is_plain(value, "0123456789", 9) && (value.len == 1 || value.data[0] != '0');
}

static bool is_flag(struct str value)
{
    return str_eq(value, STR("true")) || str_eq(value, STR("false"));
}

enum { MODEL, TOP_K, EXPLAIN, MEMBERS };
static const struct {
    const char *name;
    bool (*good)(struct str value);
    bool text;
} members[MEMBERS] = { [MODEL] = { "model", is_name, true },
                       [TOP_K] = { "top_k", is_number, false },
                       [EXPLAIN] = { "explain", is_flag, false } };

/* One "name=value" of the query; STEP_DONE: it was refused. */
static enum step_result take_pair(struct call *call, struct str pair, struct str values[MEMBERS])
{
    const char *equals = memchr(pair.data, '=', pair.len);
    struct str name = { pair.data, equals ? (size_t)(equals - pair.data) : pair.len };
    struct str value = { equals ? equals + 1 : "", pair.len - name.len - (equals ? 1 : 0) };
    size_t at = 0;
    while (at < MEMBERS && !str_eq(name, str_of(members[at].name)))
        at++;
    if (at == MEMBERS)
        return call_fail(call, 400, "unknown_parameter", STR("query"),
                         "the query may hold model, top_k and explain");
    struct str field = str_of(members[at].name);
    if (values[at].data)
        return call_fail(call, 400, "duplicate_parameter", field, "'%s' stands twice in the query",
                         members[at].name);
    if (!members[at].good(value))
        return call_fail(call, 400, "invalid_request", field,
                         "'%s' has no proper value in the query", members[at].name);
    values[at] = value;
    return STEP_NEXT;
}

static enum step_result read_query(struct call *call, struct str values[MEMBERS])
{
    struct str query = exchange_request(call->ex)->query;
    while (query.len) {
        const char *end = memchr(query.data, '&', query.len);
        struct str pair = { query.data, end ? (size_t)(end - query.data) : query.len };
        if (take_pair(call, pair, values) != STEP_NEXT)
            return STEP_DONE;
        query = end ? (struct str){ end + 1, query.len - pair.len - 1 } : (struct str){ "", 0 };
    }
    if (values[MODEL].data)
        return STEP_NEXT;
    return call_fail(call, 400, "missing_model", STR("model"),
                     "name the model in the query: ?model=...");
}

/* {"model":"…","top_k":3,"explain":true}, in memory of the exchange. */
static struct str make_head(struct call *call, const struct str values[MEMBERS])
{
    char *head = exchange_alloc(call->ex, HEAD_MAX);
    size_t len = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        const char *quote = members[i].text ? "\"" : "";
        if (values[i].data)
            len +=
                (size_t)snprintf(head + len, HEAD_MAX - len, "%c\"%s\":%s%.*s%s", len ? ',' : '{',
                                 members[i].name, quote, (int)values[i].len, values[i].data, quote);
    }
    head[len++] = '}'; /* all values are bounded: it fits */
    return (struct str){ head, len };
}

enum step_result step_picture(struct call *call)
{
    struct str values[MEMBERS] = { 0 };
    if (is_json(call))
        return step_model_member(call);
    if (read_query(call, values) != STEP_NEXT)
        return STEP_DONE;
    call->model = values[MODEL];
    call->head = make_head(call, values);
    return STEP_NEXT;
}
