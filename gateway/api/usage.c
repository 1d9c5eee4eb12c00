/*
 * usage.c: GET /v1/usage: what a tenant used, from the totals that are kept beside the events, as
 * JSON, CSV or JSON lines with the same figures.
 *
 *     from, to       dates in the tenant's time zone, inclusive; the last 31 days unless said
 *     by             day (in the tenant's zone), month, or hour (in UTC)
 *     group          model, key, or model,key; model unless said
 *     model, key     only this one: a model's name or id, a key's public id
 *     format         json, csv or jsonl; else what Accept names
 *     limit, cursor  rows at most, and where the last answer ended
 *
 * A name of a model holds letters, digits, dots, dashes and underscores and begins with one of the
 * first two, so a cell of the CSV is never taken for a formula.
 */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "base/buf.h"

#define BODY_MAX   ((size_t)4 << 20)
#define ROWS_MAX   10000
#define ROWS_USUAL 1000

enum { C_PERIOD, C_DEPLOYMENT, C_KEY, C_NUMBERS, NUMBERS = 4 };
static const char *const numbers[NUMBERS] = { "requests", "rows", "units", "compute_us" };

/* $1 from $2 to $3 by $4 group by model $5 by key $6 deployment $7 key $8 limit $9 offset */
#define COLUMNS                                                                                    \
    ", CASE WHEN $4::boolean THEN u.deployment_id::text END, CASE WHEN $5::boolean THEN "          \
    "coalesce(k.key_id::text, u.key_id::text) END, sum(u.requests), sum(u.rows), sum(u.units), "   \
    "sum(u.compute_us)"
#define REST                                                                                       \
    " AND ($6::uuid IS NULL OR u.deployment_id = $6::uuid) AND ($7::text IS NULL OR k.key_id = "   \
    "$7::text::bpchar) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $8::bigint OFFSET $9::bigint"
#define TODAY "(now() AT TIME ZONE (SELECT t.time_zone FROM maas.tenants t))::date"
static const char by_day[] =
    "SELECT CASE $3::text WHEN 'month' THEN to_char(u.day, 'YYYY-MM') ELSE u.day::text END" COLUMNS
    " FROM maas.usage_daily u LEFT JOIN maas.api_keys k ON k.id = u.key_id"
    " WHERE u.day >= coalesce($1::date, " TODAY " - 30) AND u.day <= coalesce($2::date, " TODAY
    ")" REST;
static const char by_hour[] =
    "SELECT to_char(u.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00:00\"Z\"')" COLUMNS
    " FROM maas.usage_hourly u LEFT JOIN maas.api_keys k ON k.id = u.key_id"
    " WHERE $3::text = 'hour' AND u.hour >= coalesce($1::date, " TODAY " - 30)::timestamp AT TIME "
    "ZONE (SELECT t.time_zone FROM maas.tenants t)"
    " AND u.hour < (coalesce($2::date, " TODAY ") + 1)::timestamp AT TIME ZONE (SELECT t.time_zone "
    "FROM maas.tenants t)" REST;

enum format { JSON, CSV, JSONL };

/* ---- the query string */

static struct str query_value(struct str query, struct str name)
{
    while (query.len) {
        const char *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len;
        if (len > name.len && query.data[name.len] == '=' &&
            memcmp(query.data, name.data, name.len) == 0)
            return (struct str){ query.data + name.len + 1, len - name.len - 1 };
        query = end ? (struct str){ end + 1, query.len - len - 1 } : (struct str){ "", 0 };
    }
    return (struct str){ NULL, 0 };
}

/* The first parameter that is none of ours; empty when all are. */
static struct str stranger_in(struct str query)
{
    static const char *const known[] = { "from",   "to",  "by",    "group", "model",
                                         "format", "key", "limit", "cursor" };
    while (query.len) {
        const char *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len, i = 0;
        const char *sign = memchr(query.data, '=', len);
        struct str name = { query.data, sign ? (size_t)(sign - query.data) : len };
        while (i < COUNT_OF(known) && !(sign && str_eq(name, str_of(known[i]))))
            i++;
        if (i == COUNT_OF(known))
            return name.len ? name : STR("query");
        query = end ? (struct str){ end + 1, query.len - len - 1 } : (struct str){ "", 0 };
    }
    return (struct str){ "", 0 };
}

static bool is_number(struct str s, uint64_t most, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || n > most)
            return false;
        n = n * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = n;
    return s.len > 0 && n <= most;
}

static bool is_day(uint64_t year, uint64_t month, uint64_t day)
{
    static const uint8_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
           !(month == 2 && day == 29 && !leap);
}

static bool is_date(struct str s)
{
    uint64_t year, month, day;
    return s.len == 10 && s.data[4] == '-' && s.data[7] == '-' &&
           is_number((struct str){ s.data, 4 }, 9999, &year) &&
           is_number((struct str){ s.data + 5, 2 }, 12, &month) &&
           is_number((struct str){ s.data + 8, 2 }, 31, &day) && is_day(year, month, day);
}

static enum step_result wrong(struct call *call, struct str param, const char *text)
{
    return call_fail(call, 400, "invalid_request", param, "%s", text);
}

/* ---- what is asked, kept with the request until the answer */

struct usage_call {
    struct call *call;
    enum format format;
    bool by_model, by_key;
    char by[8];
    uint64_t limit, offset;
    char deployment[UUID_TEXT_MAX];
};

static bool read_format(struct usage_call *u, struct str format)
{
    static const struct {
        const char *name, *type;
    } formats[] = { [JSON] = { "json", "application/json" },
                    [CSV] = { "csv", "text/csv" },
                    [JSONL] = { "jsonl", "application/x-ndjson" } };
    struct str accept = exchange_find(u->call->ex, STR("accept"));
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (format.data ? str_eq(format, str_of(formats[i].name))
                        : str_eq(accept, str_of(formats[i].type))) {
            u->format = (enum format)i;
            return true;
        }
    return !format.data;
}

static bool read_group(struct usage_call *u, struct str group)
{
    u->by_model = !group.data || str_eq(group, STR("model")) || str_eq(group, STR("model,key"));
    u->by_key = str_eq(group, STR("key")) || str_eq(group, STR("model,key"));
    return u->by_model || u->by_key;
}

static bool read_by(struct usage_call *u, struct str by)
{
    if (!by.data)
        by = STR("day");
    if (!str_eq(by, STR("day")) && !str_eq(by, STR("hour")) && !str_eq(by, STR("month")))
        return false;
    memcpy(u->by, by.data, by.len);
    return true;
}

/* A model that the tenant sees, or the id of one that it saw once. */
static bool read_model(struct usage_call *u, struct str name)
{
    struct uuid id;
    if (!name.data)
        return true;
    const struct deployment *d =
        snapshot_resolve(view_snapshot(u->call->at->view), &u->call->who->tenant, name);
    if (d)
        id = d->id;
    else if (!uuid_parse(name, &id))
        return false;
    uuid_format(&id, u->deployment);
    return true;
}

/* ---- the answer */

/* The model's public name when it is still deployed, else the deployment's id. */
static struct str model_name(const struct call *call, struct str id_text)
{
    const struct snapshot *s = view_snapshot(call->at->view);
    struct uuid id;
    for (uint32_t i = 0; uuid_parse(id_text, &id) && i < s->count; i++)
        if (uuid_eq(&s->deployments[i].id, &id))
            return str_of(s->deployments[i].name);
    return id_text;
}

static void object_of(struct buf *b, const struct usage_call *u, const struct pg_result *rows,
                      int row)
{
    buf_fmt(b, "{\"%s\":", u->by);
    buf_json(b, pg_cell(rows, row, C_PERIOD));
    if (u->by_model) {
        buf_str(b, STR(",\"model\":"));
        buf_json(b, model_name(u->call, pg_cell(rows, row, C_DEPLOYMENT)));
    }
    if (u->by_key) {
        buf_str(b, STR(",\"key\":"));
        buf_json(b, pg_cell(rows, row, C_KEY));
    }
    for (int i = 0; i < NUMBERS; i++) {
        buf_fmt(b, ",\"%s\":", numbers[i]);
        buf_str(b, pg_cell(rows, row, C_NUMBERS + i));
    }
    buf_str(b, STR("}"));
}

static void line_of(struct buf *b, const struct usage_call *u, const struct pg_result *rows,
                    int row)
{
    buf_str(b, pg_cell(rows, row, C_PERIOD));
    if (u->by_model) {
        buf_str(b, STR(","));
        buf_str(b, model_name(u->call, pg_cell(rows, row, C_DEPLOYMENT)));
    }
    if (u->by_key) {
        buf_str(b, STR(","));
        buf_str(b, pg_cell(rows, row, C_KEY));
    }
    for (int i = 0; i < NUMBERS; i++) {
        buf_str(b, STR(","));
        buf_str(b, pg_cell(rows, row, C_NUMBERS + i));
    }
    buf_str(b, STR("\r\n"));
}

static void head_of(struct buf *b, const struct usage_call *u)
{
    if (u->format == JSON) {
        buf_fmt(b, "{\"object\":\"list\",\"by\":\"%s\",\"time_zone\":", u->by);
        buf_json(b, strcmp(u->by, "hour") ? str_of(u->call->who->time_zone) : STR("UTC"));
        buf_str(b, STR(",\"data\":["));
    }
    if (u->format != CSV)
        return;
    buf_fmt(b, "%s%s%s", u->by, u->by_model ? ",model" : "", u->by_key ? ",key" : "");
    for (int i = 0; i < NUMBERS; i++)
        buf_fmt(b, ",%s", numbers[i]);
    buf_str(b, STR("\r\n"));
}

static void foot_of(struct buf *b, const struct usage_call *u, bool more)
{
    if (u->format != JSON)
        return;
    buf_fmt(b, "],\"has_more\":%s,\"next\":", more ? "true" : "false");
    if (more)
        buf_fmt(b, "\"%llu\"}", (unsigned long long)(u->offset + u->limit));
    else
        buf_str(b, STR("null}"));
}

static void write_rows(struct buf *b, const struct usage_call *u, const struct pg_result *rows,
                       int count)
{
    for (int row = 0; row < count; row++) {
        if (u->format == CSV) {
            line_of(b, u, rows, row);
            continue;
        }
        buf_str(b, row && u->format == JSON ? STR(",") : STR(""));
        object_of(b, u, rows, row);
        buf_str(b, u->format == JSONL ? STR("\n") : STR(""));
    }
}

static void reply_usage(struct usage_call *u, const struct pg_result *rows)
{
    static const char *const types[] = { "application/json",
                                         "text/csv; charset=utf-8; header=present",
                                         "application/x-ndjson" };
    struct buf b;
    bool more = (uint64_t)rows->rows > u->limit;
    buf_init(&b, BODY_MAX);
    head_of(&b, u);
    write_rows(&b, u, rows, more ? (int)u->limit : rows->rows);
    foot_of(&b, u, more);
    if (b.failed) {
        call_fail(u->call, 500, "answer_too_large", STR("limit"), "the answer is too large");
    } else {
        if (more && u->format != JSON) { /* a list in a file has no place for it */
            char *next = exchange_alloc(u->call->ex, 24);
            char *end = text_uint(next, u->offset + u->limit);
            exchange_header(u->call->ex, STR("x-next-cursor"),
                            (struct str){ next, (size_t)(end - next) });
        }
        call_reply(u->call, 200, str_of(types[u->format]), buf_view(&b));
    }
    buf_release(&b);
}

static void on_usage(void *arg, maas_status status, const struct pg_result *rows)
{
    struct usage_call *u = arg;
    struct call *call = u->call;
    call->has_query = false;
    if (!call->ex)
        call_over(call);
    else if (status)
        call_fail(call, 503, "usage_unavailable", STR(""),
                  "usage cannot be read now; try again later");
    else
        reply_usage(u, rows);
    free(u);
}

static void send_query(struct usage_call *u, const struct str range[2], struct str key)
{
    char limit[24], offset[24];
    *text_uint(limit, u->limit + 1) = '\0';
    *text_uint(offset, u->offset) = '\0';
    const struct str nothing = { NULL, 0 };
    const struct str values[] = { range[0],
                                  range[1],
                                  str_of(u->by),
                                  u->by_model ? STR("true") : STR("false"),
                                  u->by_key ? STR("true") : STR("false"),
                                  u->deployment[0] ? str_of(u->deployment) : nothing,
                                  key,
                                  str_of(limit),
                                  str_of(offset) };
    u->call->has_query = true;
    pg_query(u->call->at->pg, &u->call->who->tenant, strcmp(u->by, "hour") ? by_day : by_hour,
             values, COUNT_OF(values), on_usage, u);
}

/* Reads all parameters into u; STEP_NEXT when they are good. */
static enum step_result read_query(struct usage_call *u, struct str query, struct str range[2],
                                   struct str *out_key)
{
    struct call *call = u->call;
    struct str stranger = stranger_in(query), limit = query_value(query, STR("limit"));
    struct str cursor = query_value(query, STR("cursor"));
    range[0] = query_value(query, STR("from"));
    range[1] = query_value(query, STR("to"));
    *out_key = query_value(query, STR("key"));
    if (stranger.len)
        return wrong(call, stranger, "there is no such parameter");
    for (int i = 0; i < 2; i++)
        if (range[i].data && !is_date(range[i]))
            return wrong(call, i ? STR("to") : STR("from"), "a date looks like 2026-01-31");
    if (!read_by(u, query_value(query, STR("by"))))
        return wrong(call, STR("by"), "day, hour or month is expected");
    if (!read_group(u, query_value(query, STR("group"))))
        return wrong(call, STR("group"), "model, key or model,key is expected");
    if (!read_format(u, query_value(query, STR("format"))))
        return wrong(call, STR("format"), "json, csv or jsonl is expected");
    if (!read_model(u, query_value(query, STR("model"))))
        return wrong(call, STR("model"), "there is no such model; one that is gone goes by its id");
    if (out_key->data && out_key->len != KEY_ID_LEN)
        return wrong(call, STR("key"), "the public id of a key is expected: 8 characters");
    u->limit = u->format == JSON ? ROWS_USUAL : ROWS_MAX;
    if (limit.data && (!is_number(limit, ROWS_MAX, &u->limit) || u->limit == 0))
        return wrong(call, STR("limit"), "a number from 1 to 10000 is expected");
    if (cursor.data && !is_number(cursor, UINT32_MAX, &u->offset))
        return wrong(call, STR("cursor"), "give what 'next' of the last answer said");
    return STEP_NEXT;
}

enum step_result usage_list(struct call *call)
{
    struct str range[2], key;
    if (!scope_allows(&call->who->scopes, SCOPE_USAGE_READ))
        return call_fail(call, 403, "scope_missing", STR(""),
                         "this API key lacks the scope usage:read");
    struct usage_call *u = calloc(1, sizeof(*u));
    if (!u)
        return call_fail(call, 503, "usage_unavailable", STR(""), "no memory for the answer");
    u->call = call;
    enum step_result result = read_query(u, exchange_request(call->ex)->query, range, &key);
    if (result != STEP_NEXT) {
        free(u);
        return result;
    }
    send_query(u, range, key);
    return STEP_WAIT;
}
