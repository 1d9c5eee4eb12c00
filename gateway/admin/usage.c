/*
 * usage.c: the admin API of usage: figures in every form, and reconciliations. The work is the
 * database's (migrations/0012_reconciliation.sql); here the questions are checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"

#define DAYS_MOST 62

static bool is_one_of(struct str text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(text, str_of(list[i])))
            return true;
    return false;
}

static bool good_query(struct admin_call *call, const char *name, const char *const *list,
                       size_t count, struct str *out)
{
    *out = admin_query(call, name);
    if (!out->data)
        *out = str_of(list[0]);
    if (is_one_of(*out, list, count))
        return true;
    admin_problem(call, 422, name, "%s%s%s%s%s is expected", list[0], count > 2 ? ", " : "",
                  count > 2 ? list[1] : "", " or ", list[count - 1]);
    return false;
}

/* A problem of the field unless PostgreSQL takes the text for a date. */
static bool good_date(struct admin_call *call, const char *name, struct str date)
{
    struct sql_result *row = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (!date.data)
        return true;
    bool form = date.len == 10 && date.data[4] == '-' && date.data[7] == '-';
    maas_status status =
        form ? sql_exec(call->sql, "SELECT to_char(to_date($1, 'YYYY-MM-DD'), 'YYYY-MM-DD') = $1",
                        &date, 1, &row, &error)
             : MAAS_E_INVALID;
    bool good = status == MAAS_OK && str_eq(sql_cell(row, 0, 0), STR("t"));
    if (status == MAAS_OK)
        sql_result_free(row);
    if (!good)
        admin_problem(call, 422, name, "a date looks like 2026-01-31");
    return good;
}

void admin_list_usage(struct admin_call *call)
{
    static const char *const periods[] = { "day", "month" },
                             *const groups[] = { "tenant", "model", "key", "model,key" },
                             *const formats[] = { "json", "csv", "jsonl" };
    struct str by, group, format, from = admin_query(call, "from"), to = admin_query(call, "to");
    struct buf text;
    if (!good_query(call, "by", periods, COUNT_OF(periods), &by) ||
        !good_query(call, "group", groups, COUNT_OF(groups), &group) ||
        !good_query(call, "format", formats, COUNT_OF(formats), &format) ||
        !good_date(call, "from", from) || !good_date(call, "to", to))
        return;
    bool model = str_prefix(group, STR("model"));
    bool key = str_eq(group, STR("key")) || str_eq(group, STR("model,key"));
    const struct str v[] = {
        admin_query(call, "tenant"),      from,  to, by, model ? STR("true") : STR("false"),
        key ? STR("true") : STR("false"), format
    };
    buf_init(&text, 64 << 20);
    if (admin_ask(call,
                  "SELECT maas.usage_report($1, $2::date, $3::date, $4, $5::boolean, $6::boolean, "
                  "$7)",
                  v, COUNT_OF(v), "usage", &text)) {
        call->type = str_eq(format, STR("csv"))     ? "text/csv; charset=utf-8; header=present"
                     : str_eq(format, STR("jsonl")) ? "application/x-ndjson"
                                                    : NULL;
        admin_reply(call, 200, buf_view(&text));
    }
    buf_release(&text);
}

/* ---- reconciliations */

static bool read_days(struct admin_call *call, struct str days[2])
{
    struct buf length;
    if (!admin_text(call, "from", NULL, &days[0]) || !admin_text(call, "to", NULL, &days[1]) ||
        !good_date(call, "from", days[0]) || !good_date(call, "to", days[1]))
        return false;
    buf_init(&length, 64);
    bool asked = admin_ask(call, "SELECT ($2::date - $1::date)::text", days, 2, "day", &length);
    long n = asked ? strtol(length.data, NULL, 10) : -1;
    buf_release(&length);
    if (asked && (n < 0 || n >= DAYS_MOST))
        admin_problem(call, 422, "to", "from 1 to %d days are compared at a time", DAYS_MOST);
    return asked && n >= 0 && n < DAYS_MOST;
}

void admin_reconcile(struct admin_call *call)
{
    static const char *const known[] = { "from", "to" };
    struct str days[2];
    struct buf row;
    if (!admin_fields(call, known, COUNT_OF(known)) || !read_days(call, days))
        return;
    buf_init(&row, 16 << 20);
    if (admin_change(call, "SELECT maas.usage_reconcile($1::date, $2::date)", days, 2,
                     "usage.reconcile", "usage", NULL, &row))
        admin_reply(call, 201, buf_view(&row));
    buf_release(&row);
}

void admin_rebuild_totals(struct admin_call *call)
{
    static const char *const known[] = { "from", "to" };
    struct str days[2];
    struct buf row;
    if (!admin_fields(call, known, COUNT_OF(known)) || !read_days(call, days))
        return;
    buf_init(&row, 1 << 20);
    if (admin_change(call,
                     "SELECT json_build_object('from', $1::date, 'to', $2::date, 'totals', "
                     "maas.usage_rebuild($1::date, $2::date))",
                     days, 2, "usage.rebuild", "usage", NULL, &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

void admin_list_reconciliations(struct admin_call *call)
{
    struct buf rows;
    buf_init(&rows, 16 << 20);
    if (admin_ask(call,
                  "SELECT json_build_object('data', coalesce(json_agg(r), '[]')) FROM (SELECT id, "
                  "from_day, to_day, started_at, finished_at, ok, report ->> 'count' AS findings "
                  "FROM maas.usage_reconciliations ORDER BY id DESC LIMIT 1000) r",
                  NULL, 0, "reconciliation", &rows))
        admin_reply(call, 200, buf_view(&rows));
    buf_release(&rows);
}

void admin_get_reconciliation(struct admin_call *call)
{
    const struct str id = str_of(call->name);
    struct buf row;
    buf_init(&row, 16 << 20);
    if (admin_ask(call,
                  "SELECT (SELECT row_to_json(r) FROM maas.usage_reconciliations r WHERE "
                  "r.id::text = $1)",
                  &id, 1, "reconciliation", &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}
