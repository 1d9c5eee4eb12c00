/*
 * work.c: what handlers use: reading a body, running a statement that gives one JSON value,
 * auditing a change, shaping problems.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/call.h"
#include "base/log.h"

void admin_reply(struct admin_call *call, int status, struct str json)
{
    call->status = status;
    buf_clear(&call->out);
    buf_str(&call->out, json);
}

static const char *title_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 422:
        return "Unprocessable Content";
    case 503:
        return "Service Unavailable";
    }
    return "Internal Server Error";
}

void admin_problem(struct admin_call *call, int status, const char *field, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct buf *b = &call->out;
    call->status = status;
    buf_clear(b);
    buf_fmt(b, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
            title_of(status), status);
    buf_json(b, str_of(text));
    if (field) {
        buf_str(b, STR(",\"field\":"));
        buf_json(b, str_of(field));
    }
    buf_fmt(b, ",\"request_id\":\"%s\"}", call->request_id);
}

void admin_sql_problem(struct admin_call *call, maas_status status, const maas_error *error,
                       const char *conflict)
{
    if (status == MAAS_E_EXISTS || status == MAAS_E_PRECONDITION) {
        admin_problem(call, 409, NULL, "%s", conflict ? conflict : "it contradicts what is there");
        return;
    }
    LOG(LOG_WARN, "admin.sql", F_STR("route", call->route->path), F_STR("reason", error->text));
    if (status == MAAS_E_UNAVAILABLE || status == MAAS_E_DEADLINE || status == MAAS_E_ABORTED)
        admin_problem(call, 503, NULL, "the database is away; nothing was changed");
    else
        admin_problem(call, 500, NULL, "the database refused the statement; nothing was changed");
}

/* ---- the body */

bool admin_fields(struct admin_call *call, const char *const *known, size_t count)
{
    const char *name;
    json_t *value;
    json_object_foreach(call->json, name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(known[i], name) != 0)
            i++;
        if (i == count) {
            admin_problem(call, 422, name, "unknown field");
            return false;
        }
    }
    return true;
}

bool admin_text(struct admin_call *call, const char *name, const char *fallback, struct str *out)
{
    json_t *value = json_object_get(call->json, name);
    if (!value && fallback) {
        *out = str_of(fallback);
        return true;
    }
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > 256 ||
        strlen(json_string_value(value)) != json_string_length(value)) {
        admin_problem(call, 422, name,
                      value ? "a text of 1 to 256 bytes is expected" : "it is required");
        return false;
    }
    *out = (struct str){ json_string_value(value), json_string_length(value) };
    return true;
}

bool admin_number(struct admin_call *call, const char *name, int64_t least, int64_t most,
                  int64_t fallback, char out[24])
{
    json_t *value = json_object_get(call->json, name);
    int64_t n = value && json_is_integer(value) ? json_integer_value(value) : fallback;
    if ((value && !json_is_integer(value)) || n < least || n > most) {
        admin_problem(call, 422, name, "a whole number from %" PRId64 " to %" PRId64 " is expected",
                      least, most);
        return false;
    }
    snprintf(out, 24, "%" PRId64, n);
    return true;
}

bool admin_flag(struct admin_call *call, const char *name, struct str *out)
{
    json_t *value = json_object_get(call->json, name);
    if (value && !json_is_boolean(value)) {
        admin_problem(call, 422, name, "true or false is expected");
        return false;
    }
    *out = json_is_true(value) ? STR("true") : STR("false");
    return true;
}

struct str admin_query(const struct admin_call *call, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = call->query; at; at = strchr(at, '&')) {
        at += *at == '&';
        if (strncmp(at, name, len) == 0 && at[len] == '=')
            return (struct str){ at + len + 1, strcspn(at + len + 1, "&") };
    }
    return (struct str){ NULL, 0 };
}

/* ---- SQL */

static bool one_cell(struct admin_call *call, const struct sql_result *result, const char *what,
                     struct buf *out)
{
    if (sql_rows(result) < 1 || sql_is_null(result, 0, 0)) {
        admin_problem(call, 404, NULL, "there is no such %s", what);
        return false;
    }
    buf_clear(out);
    buf_str(out, sql_cell(result, 0, 0));
    return true;
}

bool admin_ask(struct admin_call *call, const char *sql, const struct str *values, size_t count,
               const char *what, struct buf *out)
{
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec(call->sql, sql, values, count, &result, &error);
    if (status) {
        admin_sql_problem(call, status, &error, NULL);
        return false;
    }
    bool good = one_cell(call, result, what, out);
    sql_result_free(result);
    return good;
}

static bool audit(struct admin_call *call, const char *action, const char *object, struct str after)
{
    static const char sql[] = "SELECT maas.audit_append($1, $2, $3, NULL::jsonb, $4::jsonb, $5)";
    maas_error error = MAAS_ERROR_INIT;
    const struct str values[] = { str_of(call->actor), str_of(action), str_of(object), after,
                                  str_of(call->request_id) };
    maas_status status = sql_exec(call->sql, sql, values, COUNT_OF(values), NULL, &error);
    if (status)
        admin_sql_problem(call, status, &error, NULL);
    return status == MAAS_OK;
}

bool admin_change(struct admin_call *call, const char *sql, const struct str *values, size_t count,
                  const char *action, const char *object, const char *conflict, struct buf *out)
{
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec(call->sql, sql, values, count, &result, &error);
    if (status) {
        admin_sql_problem(call, status, &error, conflict);
        return false;
    }
    bool good = one_cell(call, result, object, out) && audit(call, action, object, buf_view(out));
    sql_result_free(result);
    return good;
}

void admin_reply_change(struct admin_call *call, int status, const char *sql,
                        const struct str *values, size_t count, const char *action,
                        const char *object, const char *conflict)
{
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_change(call, sql, values, count, action, object, conflict, &row))
        admin_reply(call, status, buf_view(&row));
    buf_release(&row);
}

void admin_reply_rows(struct admin_call *call, const char *sql, const struct str *values,
                      size_t count)
{
    struct buf rows;
    buf_init(&rows, 16 << 20);
    if (admin_ask(call, sql, values, count, "list", &rows))
        admin_reply(call, 200, buf_view(&rows));
    buf_release(&rows);
}
