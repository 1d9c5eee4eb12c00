/*
 * limits.c: the admin API of limits: a list per owner, set and shown as a whole. What a list may
 * hold is checked here, field by field; whose it is and what is left of its quotas is found in the
 * database (maas.limits_put, maas.limits_get).
 *
 *     {"limits": [{"measure": "requests" | "units", "amount": 100, "per": "second", "burst": 200},
 *                 {"measure": "concurrency", "amount": 8},
 *                 {"measure": "day" | "month", "amount": 10000, "time_zone": "Europe/Berlin"}]}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"

#define LIST_MAX   16
#define RATE_MOST  1000000000
#define QUOTA_MOST 1000000000000000

enum kind { RATE, CONCURRENCY, QUOTA };
static const struct {
    const char *name;
    enum kind kind;
    int64_t most;
} measures[] = {
    { "requests", RATE, RATE_MOST },         { "units", RATE, RATE_MOST },
    { "concurrency", CONCURRENCY, 1000000 }, { "day", QUOTA, QUOTA_MOST },
    { "month", QUOTA, QUOTA_MOST },
};
static const struct {
    const char *name;
    int window_ms;
} windows[] = { { "second", 1000 }, { "minute", 60000 }, { "hour", 3600000 } };

static bool problem(struct admin_call *call, size_t i, const char *member, const char *text)
{
    char field[64];
    snprintf(field, sizeof(field), "limits[%zu].%s", i, member);
    admin_problem(call, 422, field, "%s", text);
    return false;
}

static bool members_are_known(struct admin_call *call, size_t i, json_t *one, enum kind kind)
{
    static const char *const known[][6] = {
        [RATE] = { "measure", "amount", "per", "window_ms", "burst" },
        [CONCURRENCY] = { "measure", "amount" },
        [QUOTA] = { "measure", "amount", "time_zone" },
    };
    const char *name;
    json_t *value;
    json_object_foreach(one, name, value)
    {
        size_t k = 0;
        while (known[kind][k] && strcmp(known[kind][k], name) != 0)
            k++;
        if (!known[kind][k])
            return problem(call, i, name, "unknown field for this measure");
    }
    return true;
}

static bool whole_number(struct admin_call *call, size_t i, json_t *one, const char *member,
                         int64_t most, json_t *out)
{
    json_t *value = json_object_get(one, member);
    char text[80];
    if (json_is_integer(value) && json_integer_value(value) >= 1 &&
        json_integer_value(value) <= most)
        return json_object_set(out, member, value) == 0;
    snprintf(text, sizeof(text), "a whole number from 1 to %lld is expected", (long long)most);
    return problem(call, i, member, text);
}

static int window_named(const char *name)
{
    for (size_t i = 0; name && i < COUNT_OF(windows); i++)
        if (strcmp(windows[i].name, name) == 0)
            return windows[i].window_ms;
    return 0;
}

/* "per" names a window, "window_ms" gives one; the burst is a window's worth unless it is said. */
static bool read_rate(struct admin_call *call, size_t i, json_t *one, json_t *out)
{
    json_t *per = json_object_get(one, "per");
    int window_ms = window_named(json_string_value(per));
    if (per && json_object_get(one, "window_ms"))
        return problem(call, i, "per", "give 'per' or 'window_ms', not both");
    if (per && window_ms == 0)
        return problem(call, i, "per", "second, minute or hour is expected");
    if (per)
        json_object_set_new(out, "window_ms", json_integer(window_ms));
    else if (!whole_number(call, i, one, "window_ms", 86400000, out))
        return false;
    if (json_object_get(one, "burst"))
        return whole_number(call, i, one, "burst", RATE_MOST, out);
    return json_object_set(out, "burst", json_object_get(one, "amount")) == 0;
}

static bool zone_is_known(struct admin_call *call, size_t i, const char *zone)
{
    const struct str name = str_of(zone);
    struct buf answer;
    buf_init(&answer, 64);
    bool asked =
        admin_ask(call, "SELECT (count(*) > 0)::text FROM pg_timezone_names WHERE name = $1", &name,
                  1, "time zone", &answer);
    bool known = asked && str_eq(buf_view(&answer), STR("true"));
    buf_release(&answer);
    return known || (asked && problem(call, i, "time_zone",
                                      "a time zone's name is expected, as Europe/Berlin"));
}

static bool read_zone(struct admin_call *call, size_t i, json_t *one, json_t *out)
{
    json_t *zone = json_object_get(one, "time_zone");
    if (!zone)
        return true;
    if (!json_is_string(zone) || json_string_length(zone) > 64)
        return problem(call, i, "time_zone", "a time zone's name is expected, as Europe/Berlin");
    return zone_is_known(call, i, json_string_value(zone)) &&
           json_object_set(out, "time_zone", zone) == 0;
}

static bool read_one(struct admin_call *call, size_t i, json_t *one, json_t *out)
{
    const char *name = json_string_value(json_object_get(one, "measure"));
    size_t m = 0;
    if (!json_is_object(one))
        return problem(call, i, "measure", "each limit is an object");
    while (m < COUNT_OF(measures) && !(name && strcmp(measures[m].name, name) == 0))
        m++;
    if (m == COUNT_OF(measures))
        return problem(call, i, "measure",
                       "requests, units, concurrency, day or month is expected");
    json_object_set_new(out, "measure", json_string(name));
    if (!members_are_known(call, i, one, measures[m].kind) ||
        !whole_number(call, i, one, "amount", measures[m].most, out))
        return false;
    if (measures[m].kind == RATE)
        return read_rate(call, i, one, out);
    return measures[m].kind == CONCURRENCY || read_zone(call, i, one, out);
}

static bool stands_twice(const json_t *list, const json_t *one)
{
    size_t i;
    json_t *other;
    json_array_foreach(list, i, other)
    {
        if (json_equal(json_object_get(other, "measure"), json_object_get(one, "measure")) &&
            (!json_object_get(one, "window_ms") ||
             json_equal(json_object_get(other, "window_ms"), json_object_get(one, "window_ms"))))
            return true;
    }
    return false;
}

/* The list as rows; NULL after a problem was set. */
static json_t *read_list(struct admin_call *call)
{
    static const char *const known[] = { "limits" };
    json_t *list = json_object_get(call->json, "limits"), *one, *rows = json_array();
    size_t i;
    bool good = admin_fields(call, known, COUNT_OF(known));
    if (good && (!json_is_array(list) || json_array_size(list) > LIST_MAX)) {
        admin_problem(call, 422, "limits", "a list of at most %d limits is expected", LIST_MAX);
        good = false;
    }
    for (i = 0; good && i < json_array_size(list); i++) {
        json_t *row = json_object();
        one = json_array_get(list, i);
        good = read_one(call, i, one, row);
        if (good && stands_twice(rows, row))
            good = problem(call, i, "measure", "such a limit stands in the list already");
        json_array_append_new(rows, row);
    }
    if (good)
        return rows;
    json_decref(rows);
    return NULL;
}

/* ---- whose it is, from the path and the query */

struct owner {
    const char *scope, *what;
    struct str name, second;
};

static struct str or_empty(struct str s)
{
    return s.data ? s : STR("");
}

static struct owner of_all(const struct admin_call *call)
{
    (void)call;
    return (struct owner){ "global", "limit", STR(""), STR("") };
}

static struct owner of_plan(const struct admin_call *call)
{
    bool keys = str_eq(or_empty(admin_query(call, "of")), STR("key"));
    return (struct owner){ keys ? "plan_key" : "plan_tenant", "plan", str_of(call->name), STR("") };
}

static struct owner of_tenant(const struct admin_call *call)
{
    struct str model = or_empty(admin_query(call, "model"));
    return (struct owner){ model.len ? "tenant_model" : "tenant",
                           model.len ? "tenant or model" : "tenant", str_of(call->name), model };
}

static struct owner of_key(const struct admin_call *call)
{
    return (struct owner){ "key", "key", str_of(call->name), STR("") };
}

static struct owner of_model(const struct admin_call *call)
{
    return (struct owner){ "model", "deployment", str_of(call->name),
                           or_empty(admin_query(call, "tenant")) };
}

static struct owner owner_of(const struct admin_call *call)
{
    static const struct {
        const char *path;
        struct owner (*of)(const struct admin_call *call);
    } owners[] = {
        { "/admin/v1/limits", of_all },
        { "/admin/v1/plans/{}/limits", of_plan },
        { "/admin/v1/tenants/{}/limits", of_tenant },
        { "/admin/v1/keys/{}/limits", of_key },
        { "/admin/v1/deployments/{}/limits", of_model },
    };
    size_t i = 0;
    while (strcmp(owners[i].path, call->route->path) != 0)
        CHECK(++i < COUNT_OF(owners));
    return owners[i].of(call);
}

void admin_get_limits(struct admin_call *call)
{
    const struct owner o = owner_of(call);
    const struct str v[] = { str_of(o.scope), o.name, o.second };
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_ask(call, "SELECT maas.limits_get($1, $2, $3)", v, COUNT_OF(v), o.what, &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

static void put_rows(struct admin_call *call, const struct owner *o, json_t *rows)
{
    char *text = json_dumps(rows, JSON_COMPACT);
    CHECK(text);
    const struct str v[] = { str_of(o->scope), o->name, o->second, str_of(text) };
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_change(call, "SELECT maas.limits_put($1, $2, $3, $4::jsonb)", v, COUNT_OF(v),
                     "limits.put", o->what, "these limits contradict each other", &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
    free(text);
}

void admin_put_limits(struct admin_call *call)
{
    const struct owner o = owner_of(call);
    json_t *rows = read_list(call);
    if (!rows)
        return;
    put_rows(call, &o, rows);
    json_decref(rows);
}

/* ---- more units in the running period */

void admin_extra_quota(struct admin_call *call)
{
    static const char *const known[] = { "period", "units" };
    const struct owner o = of_tenant(call);
    struct str period;
    char units[24];
    struct buf row;
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "period", NULL, &period) ||
        !admin_number(call, "units", 1, QUOTA_MOST, 0, units))
        return;
    if (!str_eq(period, STR("day")) && !str_eq(period, STR("month"))) {
        admin_problem(call, 422, "period", "day or month is expected");
        return;
    }
    const struct str v[] = { str_of(o.scope), o.name, o.second, period, str_of(units) };
    buf_init(&row, 1 << 20);
    if (admin_change(call, "SELECT maas.quota_extra($1, $2, $3, $4, $5::bigint)", v, COUNT_OF(v),
                     "quota.extra", "quota in use", NULL, &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}
