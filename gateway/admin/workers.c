/*
 * workers.c: the admin routes that look at the fleet: deployments with what became of them, worker
 * processes, and the restart of a deployment's workers.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/workers.h"

/* ---- deployments: rows of the database, each with its member "fleet" */

struct fleet_list {
    struct fleet_deployment *rows;
    uint32_t count;
};

/* False: no memory. What is added between the two calls is left out. */
static bool fleet_list_read(struct fleet *fleet, struct fleet_list *out)
{
    struct fleet_deployment none;
    uint32_t room = fleet_deployments(fleet, &none, 0);
    out->rows = calloc((size_t)room + 1, sizeof(*out->rows));
    if (!out->rows)
        return false;
    uint32_t there = fleet_deployments(fleet, out->rows, room);
    out->count = there < room ? there : room;
    return true;
}

static const struct fleet_deployment *fleet_list_find(const struct fleet_list *list,
                                                      const char *id_text)
{
    struct uuid id;
    if (!id_text || !uuid_parse(str_of(id_text), &id))
        return NULL;
    for (uint32_t i = 0; i < list->count; i++)
        if (uuid_eq(&list->rows[i].id, &id))
            return &list->rows[i];
    return NULL;
}

static void add_state(json_t *deployment, const struct fleet_deployment *d)
{
    json_t *state = json_object();
    json_t *reason = d->reason[0] ? json_string(d->reason) : NULL; /* NULL, too: no UTF-8 */
    json_object_set_new(state, "state", json_string(d->state));
    json_object_set_new(state, "serving", d->serving ? json_integer(d->serving) : json_null());
    json_object_set_new(state, "wanted", json_integer(d->wanted));
    json_object_set_new(state, "generation", json_integer(d->generation));
    json_object_set_new(state, "attempts", json_integer(d->attempts));
    json_object_set_new(state, "reason", reason ? reason : json_null());
    json_object_set_new(deployment, "fleet", state);
}

/* NULL: no memory, or no JSON. */
static char *with_states(struct str rows, const struct fleet_list *list)
{
    json_t *answer = json_loadb(rows.data, rows.len, 0, NULL), *deployment;
    size_t i;
    json_array_foreach(json_object_get(answer, "data"), i, deployment)
    {
        const char *id = json_string_value(json_object_get(deployment, "id"));
        const struct fleet_deployment *d = fleet_list_find(list, id);
        if (d)
            add_state(deployment, d);
    }
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    return text;
}

void list_deployments(struct admin_call *call)
{
    struct fleet_list states = { 0 };
    struct buf rows;
    char *text = NULL;
    buf_init(&rows, 16 << 20);
    bool asked = admin_ask(
        call,
        "SELECT json_build_object('data', coalesce(json_agg(d), '[]')) FROM (SELECT d.id, d.name, "
        "d.tenant_id, m.name AS model,"
        " v.number AS version, v.plugin, d.visibility, d.pinned, d.state FROM maas.deployments d"
        " JOIN maas.model_versions v ON v.id = d.model_version_id JOIN maas.models m ON m.id = "
        "v.model_id ORDER BY d.name LIMIT 1000) d",
        NULL, 0, "list", &rows);
    if (asked && fleet_list_read(call->app->fleet, &states))
        text = with_states(buf_view(&rows), &states);
    if (text)
        admin_reply(call, 200, str_of(text));
    else if (asked)
        admin_problem(call, 503, NULL, "no memory for the list");
    free(text);
    free(states.rows);
    buf_release(&rows);
}

/* ---- restart */

static void restart_now(struct admin_call *call)
{
    fleet_restart(call->app->fleet, &call->object);
}

static bool read_id(struct str row, struct uuid *out)
{
    json_t *object = json_loadb(row.data, row.len, 0, NULL);
    const char *id = json_string_value(json_object_get(object, "id"));
    bool good = id && uuid_parse(str_of(id), out);
    json_decref(object);
    return good;
}

void restart_deployment(struct admin_call *call)
{
    struct str tenant = admin_query(call, "tenant");
    const struct str v[] = { str_of(call->name), tenant.data ? tenant : STR("") };
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_change(call,
                     "SELECT json_build_object('id', d.id, 'name', d.name, 'tenant_id', "
                     "d.tenant_id, 'version', v.number)"
                     " FROM maas.deployments d JOIN maas.model_versions v ON v.id = "
                     "d.model_version_id WHERE d.name = $1 AND d.state = 'active'"
                     " AND d.tenant_id IS NOT DISTINCT FROM (SELECT id FROM maas.tenants WHERE "
                     "slug = $2) AND ($2 = '' OR d.tenant_id IS NOT NULL)",
                     v, COUNT_OF(v), "deployment.restart", "deployment", NULL, &row)) {
        if (read_id(buf_view(&row), &call->object))
            call->committed = restart_now;
        admin_reply(call, 202, buf_view(&row));
    }
    buf_release(&row);
}

/* ---- workers */

void list_workers(struct admin_call *call)
{
    enum { MAX = 1024 };
    struct fleet_worker *rows = calloc(MAX, sizeof(*rows));
    struct fleet_counts counts;
    struct buf b;
    if (!rows) {
        admin_problem(call, 503, NULL, "no memory for the list");
        return;
    }
    uint32_t n = fleet_workers(call->app->fleet, rows, MAX);
    buf_init(&b, 4 << 20);
    buf_str(&b, STR("{\"data\":["));
    for (uint32_t i = 0; i < n && i < MAX; i++) {
        buf_fmt(&b,
                "%s{\"deployment\":\"%s\",\"version\":%u,\"plugin\":\"%s\",\"state\":\"%s\","
                "\"pid\":%d,\"restarts\":%u,\"models\":%u,\"memory_bytes\":%" PRIu64
                ",\"sha256\":\"%s\",\"sandbox\":",
                i ? "," : "", rows[i].deployment, rows[i].version, rows[i].plugin, rows[i].state,
                rows[i].pid, rows[i].restarts, rows[i].models, rows[i].memory_bytes,
                rows[i].sha256);
        buf_json(&b, str_of(rows[i].sandbox));
        buf_str(&b, STR(",\"reason\":"));
        buf_json(&b, str_of(rows[i].reason));
        buf_str(&b, STR("}"));
    }
    fleet_counts(call->app->fleet, &counts);
    buf_fmt(&b, "],\"memory_bytes\":%" PRIu64 ",\"memory_max_bytes\":%" PRIu64 "}",
            counts.memory_bytes, counts.memory_max);
    admin_reply(call, 200, buf_view(&b));
    buf_release(&b);
    free(rows);
}
