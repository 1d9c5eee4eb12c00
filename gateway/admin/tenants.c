/*
 * tenants.c: the admin API of tenants and plans. A statement gives its row as JSON, so what is
 * stored, audited and answered is the same text.
 */
#include <string.h>

#include "admin/call.h"

#define TENANT                                                                                     \
    "json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'state', t.state, 'plan', "     \
    "(SELECT p.name FROM maas.plans p WHERE p.id = t.plan_id), 'time_zone', t.time_zone, "         \
    "'created_at', t.created_at)"
#define BAD_TENANT                                                                                 \
    "a tenant of that slug exists, the slug is not [a-z0-9][a-z0-9-]{0,62}, the time zone is not " \
    "one, or the tenant is closed"

/* A number that is not mentioned is NULL for SQL. */
static bool maybe_number(struct admin_call *call, const char *name, int64_t least, int64_t most,
                         char text[24], struct str *out)
{
    *out = (struct str){ NULL, 0 };
    if (!json_object_get(call->json, name))
        return true;
    if (!admin_number(call, name, least, most, least - 1, text))
        return false;
    *out = str_of(text);
    return true;
}

static bool maybe_text(struct admin_call *call, const char *name, struct str *out)
{
    *out = (struct str){ NULL, 0 };
    return !json_object_get(call->json, name) || admin_text(call, name, NULL, out);
}

static bool maybe_one_of(struct admin_call *call, const char *name, const char *const list[3],
                         struct str *out)
{
    if (!maybe_text(call, name, out))
        return false;
    for (size_t i = 0; out->data && i < 3; i++)
        if (str_eq(*out, str_of(list[i])))
            return true;
    if (out->data)
        admin_problem(call, 422, name, "%s, %s or %s is expected", list[0], list[1], list[2]);
    return !out->data;
}

static bool zone_is_known(struct admin_call *call, struct str zone)
{
    struct buf answer;
    if (!zone.data)
        return true;
    buf_init(&answer, 64);
    bool asked =
        admin_ask(call, "SELECT (count(*) > 0)::text FROM pg_timezone_names WHERE name = $1", &zone,
                  1, "time zone", &answer);
    bool known = asked && str_eq(buf_view(&answer), STR("true"));
    buf_release(&answer);
    if (asked && !known)
        admin_problem(call, 422, "time_zone", "a time zone's name is expected, as Europe/Berlin");
    return known;
}

/* ---- tenants */

void admin_create_tenant(struct admin_call *call)
{
    static const char *const known[] = { "slug", "name", "plan", "time_zone" };
    struct str v[4];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "slug", NULL, &v[0]) ||
        !admin_text(call, "name", "", &v[1]) || !admin_text(call, "plan", "default", &v[2]) ||
        !admin_text(call, "time_zone", "UTC", &v[3]) || !zone_is_known(call, v[3]))
        return;
    admin_reply_change(call, 201,
                       "INSERT INTO maas.tenants AS t (slug, name, plan_id, time_zone) SELECT $1, "
                       "coalesce(nullif($2, ''), $1), id, $4 FROM maas.plans WHERE name = $3 "
                       "RETURNING " TENANT,
                       v, COUNT_OF(v), "tenant.create", "plan", BAD_TENANT);
}

void admin_list_tenants(struct admin_call *call)
{
    admin_reply_rows(call,
                     "SELECT json_build_object('data', coalesce(json_agg(r.row), '[]')) FROM "
                     "(SELECT " TENANT " AS row FROM maas.tenants t ORDER BY t.slug "
                     "LIMIT " ADMIN_ROWS_MAX ") r",
                     NULL, 0);
}

void admin_get_tenant(struct admin_call *call)
{
    struct str name = str_of(call->name);
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_ask(call, "SELECT " TENANT " FROM maas.tenants t WHERE t.slug = $1", &name, 1,
                  "tenant", &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

/* A plan that does not exist is the field's fault, not the path's. */
static bool plan_is_known(struct admin_call *call, struct str plan)
{
    struct buf answer;
    if (!plan.data)
        return true;
    buf_init(&answer, 64);
    bool asked = admin_ask(call, "SELECT (count(*) > 0)::text FROM maas.plans WHERE name = $1",
                           &plan, 1, "plan", &answer);
    bool known = asked && str_eq(buf_view(&answer), STR("true"));
    buf_release(&answer);
    if (asked && !known)
        admin_problem(call, 422, "plan", "there is no such plan");
    return known;
}

void admin_change_tenant(struct admin_call *call)
{
    static const char *const known[] = { "name", "state", "plan", "time_zone" };
    static const char *const states[] = { "active", "suspended", "closed" };
    struct str v[5] = { str_of(call->name) };
    if (!admin_fields(call, known, COUNT_OF(known)) || !maybe_text(call, "name", &v[1]) ||
        !maybe_one_of(call, "state", states, &v[2]) || !maybe_text(call, "plan", &v[3]) ||
        !maybe_text(call, "time_zone", &v[4]) || !plan_is_known(call, v[3]) ||
        !zone_is_known(call, v[4]))
        return;
    admin_reply_change(
        call, 200,
        "UPDATE maas.tenants t SET name = coalesce($2, t.name), state = coalesce($3, "
        "t.state), plan_id = coalesce((SELECT p.id FROM maas.plans p WHERE p.name = "
        "$4), t.plan_id), time_zone = coalesce($5, t.time_zone) WHERE t.slug = $1 "
        "RETURNING " TENANT,
        v, COUNT_OF(v), "tenant.change", "tenant", "a closed tenant stays closed");
}

/* ---- plans: numbers by their columns */

static const struct {
    const char *name;
    int64_t least, most;
} numbers[] = {
    { "rate", 1, 1000000000 },
    { "window_ms", 1, 86400000 },
    { "burst", 1, 1000000000 },
    { "body_max", 1024, 67108864 },
    { "v2_body_max", 1024, 67108864 },
    { "max_rows", 1, 1000000 },
    { "weight", 1, 1000 },
    { "keys_max", 1, 100000 },
    { "models_max", 0, 1000000 },
    { "storage_max_bytes", 0, INT64_C(1) << 50 },
};
enum { NUMBERS = COUNT_OF(numbers) };
static const char *const plan_members[] = {
    "name",     "rate",   "window_ms", "burst",      "body_max",          "v2_body_max",
    "max_rows", "weight", "keys_max",  "models_max", "storage_max_bytes", "away",
};

/* $1 is the name, then the numbers, then what happens while limits cannot be asked for. */
static bool read_plan(struct admin_call *call, char text[NUMBERS][24], struct str v[NUMBERS + 2])
{
    static const char *const aways[] = { "local", "closed", "open" };
    for (size_t i = 0; i < NUMBERS; i++)
        if (!maybe_number(call, numbers[i].name, numbers[i].least, numbers[i].most, text[i],
                          &v[1 + i]))
            return false;
    return maybe_one_of(call, "away", aways, &v[NUMBERS + 1]);
}

void admin_create_plan(struct admin_call *call)
{
    char text[NUMBERS][24];
    struct str v[NUMBERS + 2];
    if (!admin_fields(call, plan_members, COUNT_OF(plan_members)) ||
        !admin_text(call, "name", NULL, &v[0]) || !read_plan(call, text, v))
        return;
    for (size_t i = 0; i < 3; i++)
        if (i != 1 && !v[1 + i].data) { /* rate and burst */
            admin_problem(call, 422, numbers[i].name, "it is required");
            return;
        }
    admin_reply_change(
        call, 201,
        "INSERT INTO maas.plans AS p (name, rate, window_ms, burst, body_max, v2_body_max, "
        "max_rows, weight, keys_max, models_max, storage_max_bytes, away) VALUES ($1, $2::bigint, "
        "coalesce($3::integer, 1000), $4::bigint, coalesce($5::bigint, 8388608), coalesce("
        "$6::bigint, 67108864), coalesce($7::integer, 10000), coalesce($8::integer, 1), coalesce("
        "$9::integer, 100), $10::integer, $11::bigint, coalesce($12, 'local')) RETURNING "
        "row_to_json(p)",
        v, COUNT_OF(v), "plan.create", "plan",
        "a plan of that name exists, or the name is not [a-z0-9][a-z0-9._-]{0,62}");
}

void admin_list_plans(struct admin_call *call)
{
    admin_reply_rows(call,
                     "SELECT json_build_object('data', coalesce(json_agg(p ORDER BY p.name), "
                     "'[]')) FROM maas.plans p",
                     NULL, 0);
}

void admin_get_plan(struct admin_call *call)
{
    struct str name = str_of(call->name);
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_ask(call, "SELECT row_to_json(p) FROM maas.plans p WHERE p.name = $1", &name, 1,
                  "plan", &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

void admin_change_plan(struct admin_call *call)
{
    char text[NUMBERS][24];
    struct str v[NUMBERS + 2] = { str_of(call->name) };
    if (!admin_fields(call, plan_members + 1, COUNT_OF(plan_members) - 1) ||
        !read_plan(call, text, v))
        return;
    admin_reply_change(
        call, 200,
        "UPDATE maas.plans p SET rate = coalesce($2::bigint, p.rate), window_ms = coalesce("
        "$3::integer, p.window_ms), burst = coalesce($4::bigint, p.burst), body_max = coalesce("
        "$5::bigint, p.body_max), v2_body_max = coalesce($6::bigint, p.v2_body_max), max_rows = "
        "coalesce($7::integer, p.max_rows), weight = coalesce($8::integer, p.weight), keys_max = "
        "coalesce($9::integer, p.keys_max), models_max = coalesce($10::integer, p.models_max), "
        "storage_max_bytes = coalesce($11::bigint, p.storage_max_bytes), away = coalesce($12, "
        "p.away) WHERE p.name = $1 RETURNING row_to_json(p)",
        v, COUNT_OF(v), "plan.change", "plan", "these numbers contradict each other");
}

void admin_delete_plan(struct admin_call *call)
{
    struct str name = str_of(call->name);
    admin_reply_change(call, 200,
                       "DELETE FROM maas.plans p WHERE p.name = $1 RETURNING row_to_json(p)", &name,
                       1, "plan.delete", "plan", "tenants have this plan");
}
