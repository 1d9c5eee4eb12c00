/*
 * handlers.c: the admin API's routes, one table and one short function each. A statement gives its
 * row as JSON, so what is stored, audited and answered is the same text. All of it runs on the
 * control thread, inside one transaction that the caller commits when status is 2xx.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/workers.h"
#include "fleet/artifact.h"

#define ARTIFACT_MAX ((uint32_t)256 << 20)
#define ROWS         "LIMIT 1000"

static void change(struct admin_call *call, int status, const char *sql, const struct str *values,
                   size_t count, const char *action, const char *object, const char *conflict)
{
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_change(call, sql, values, count, action, object, conflict, &row))
        admin_reply(call, status, buf_view(&row));
    buf_release(&row);
}

static void list(struct admin_call *call, const char *sql, const struct str *values, size_t count)
{
    struct buf rows;
    buf_init(&rows, 16 << 20);
    if (admin_ask(call, sql, values, count, "list", &rows))
        admin_reply(call, 200, buf_view(&rows));
    buf_release(&rows);
}

/* ---- tenants */

static void create_tenant(struct admin_call *call)
{
    static const char *const known[] = { "slug", "name", "plan" };
    struct str v[3];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "slug", NULL, &v[0]) ||
        !admin_text(call, "name", "", &v[1]) || !admin_text(call, "plan", "default", &v[2]))
        return;
    change(call, 201,
           "INSERT INTO maas.tenants AS t (slug, name, plan_id)"
           " SELECT $1, coalesce(nullif($2, ''), $1), id FROM maas.plans WHERE name = $3"
           " RETURNING json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'state', "
           "t.state, 'plan', $3::text)",
           v, 3, "tenant.create", "plan",
           "a tenant of that slug exists, or the slug is not [a-z0-9][a-z0-9-]{0,62}");
}

static void list_tenants(struct admin_call *call)
{
    list(call,
         "SELECT json_build_object('data', coalesce(json_agg(t), '[]')) FROM (SELECT t.id, t.slug, "
         "t.name, t.state, p.name AS plan"
         " FROM maas.tenants t JOIN maas.plans p ON p.id = t.plan_id ORDER BY t.slug " ROWS ") t",
         NULL, 0);
}

static void get_tenant(struct admin_call *call)
{
    struct str name = str_of(call->name);
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_ask(call,
                  "SELECT json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'state', "
                  "t.state, 'plan', p.name)"
                  " FROM maas.tenants t JOIN maas.plans p ON p.id = t.plan_id WHERE t.slug = $1",
                  &name, 1, "tenant", &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

/* ---- plans */

static void create_plan(struct admin_call *call)
{
    static const char *const known[] = { "name",     "rate",        "window_ms", "burst",
                                         "body_max", "v2_body_max", "max_rows",  "weight" };
    char n[7][24];
    struct str v[8];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "name", NULL, &v[0]) ||
        !admin_number(call, "rate", 1, 1000000000, 0, n[0]) ||
        !admin_number(call, "window_ms", 1, 86400000, 1000, n[1]) ||
        !admin_number(call, "burst", 1, 1000000000, 0, n[2]) ||
        !admin_number(call, "body_max", 1024, 67108864, 8388608, n[3]) ||
        !admin_number(call, "v2_body_max", 1024, 67108864, 67108864, n[4]) ||
        !admin_number(call, "max_rows", 1, 1000000, 10000, n[5]) ||
        !admin_number(call, "weight", 1, 1000, 1, n[6]))
        return;
    for (size_t i = 0; i < COUNT_OF(n); i++)
        v[1 + i] = str_of(n[i]);
    change(call, 201,
           "INSERT INTO maas.plans AS p (name, rate, window_ms, burst, body_max, v2_body_max, "
           "max_rows, weight)"
           " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING row_to_json(p)",
           v, COUNT_OF(v), "plan.create", "plan", "a plan of that name exists");
}

static void list_plans(struct admin_call *call)
{
    list(call,
         "SELECT json_build_object('data', coalesce(json_agg(p ORDER BY p.name), '[]')) FROM "
         "maas.plans p",
         NULL, 0);
}

/* ---- keys */

static bool scopes_text(struct admin_call *call, struct buf *out)
{
    struct scope_set set;
    maas_error error = MAAS_ERROR_INIT;
    json_t *list_of = json_object_get(call->json, "scopes"), *one;
    size_t i;
    memset(&set, 0, sizeof(set));
    if (!json_is_array(list_of) || json_array_size(list_of) == 0) {
        admin_problem(call, 422, "scopes", "a list of one scope at least is expected");
        return false;
    }
    buf_str(out, STR("{"));
    json_array_foreach(list_of, i, one)
    {
        struct str text =
            json_is_string(one) ? str_of(json_string_value(one)) : (struct str){ "", 0 };
        if (scope_add(&set, text, &error)) {
            admin_problem(call, 422, "scopes", "%s", error.text);
            return false;
        }
        buf_fmt(out, "%s\"%s\"", i ? "," : "",
                set.text[i]); /* a scope holds no quote and no backslash */
    }
    buf_str(out, STR("}"));
    return true;
}

static void insert_key(struct admin_call *call, struct str name, struct str scopes)
{
    struct key_new key;
    char mac[2 + 2 * KEY_MAC_LEN + 1] = "\\x", pepper[8];
    struct buf row;
    key_make(call->app->keys, &key);
    hex_encode(key.mac, KEY_MAC_LEN, mac + 2);
    snprintf(pepper, sizeof(pepper), "%u", key.pepper_version);
    const struct str v[] = { str_of(call->name), str_of(key.id), name,
                             str_of(mac),        str_of(pepper), scopes };
    buf_init(&row, 1 << 20);
    if (admin_change(
            call,
            "INSERT INTO maas.api_keys AS k (tenant_id, key_id, name, mac, pepper_version, scopes)"
            " SELECT id, $2, $3, $4::bytea, $5::int, $6::text[] FROM maas.tenants WHERE slug = $1"
            " RETURNING json_build_object('id', k.id, 'key_id', k.key_id, 'name', k.name, "
            "'scopes', k.scopes, 'state', k.state)",
            v, COUNT_OF(v), "key.create", "tenant", "such a key exists", &row)) {
        row.len--; /* the closing brace: the key itself is added to the answer only, never to the
                      audit log */
        buf_fmt(&row, ", \"key\" : \"%s\"}", key.text);
        admin_reply(call, 201, buf_view(&row));
    }
    explicit_bzero(row.data ? row.data : key.text, row.data ? row.len : sizeof(key.text));
    explicit_bzero(&key, sizeof(key));
    buf_release(&row);
}

static void create_key(struct admin_call *call)
{
    static const char *const known[] = { "name", "scopes" };
    struct str name;
    struct buf scopes;
    buf_init(&scopes, 4096);
    if (admin_fields(call, known, COUNT_OF(known)) && admin_text(call, "name", NULL, &name) &&
        scopes_text(call, &scopes))
        insert_key(call, name, buf_view(&scopes));
    buf_release(&scopes);
}

static void list_keys(struct admin_call *call)
{
    struct str name = str_of(call->name);
    list(call,
         "SELECT json_build_object('data', coalesce(json_agg(k), '[]')) FROM (SELECT k.id, "
         "k.key_id, k.name, k.scopes, k.state,"
         " k.created_at, k.expires_at FROM maas.api_keys k JOIN maas.tenants t ON t.id = "
         "k.tenant_id WHERE t.slug = $1"
         " ORDER BY k.created_at " ROWS ") k",
         &name, 1);
}

static void revoke_key(struct admin_call *call)
{
    struct str name = str_of(call->name);
    change(call, 200,
           "UPDATE maas.api_keys k SET state = 'revoked', revoked_at = coalesce(revoked_at, now()) "
           "WHERE key_id = $1"
           " RETURNING json_build_object('id', k.id, 'key_id', k.key_id, 'state', k.state)",
           &name, 1, "key.revoke", "key", NULL);
}

/* ---- models, versions, deployments */

static void create_model(struct admin_call *call)
{
    static const char *const known[] = { "name", "task", "tenant" };
    struct str v[3];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "name", NULL, &v[0]) ||
        !admin_text(call, "task", NULL, &v[1]) || !admin_text(call, "tenant", "", &v[2]))
        return;
    change(call, 201,
           "INSERT INTO maas.models AS m (name, task, tenant_id) SELECT $1, $2, t.id"
           " FROM (SELECT NULL::uuid AS id WHERE $3 = '' UNION ALL SELECT id FROM maas.tenants "
           "WHERE slug = $3) t"
           " RETURNING json_build_object('id', m.id, 'name', m.name, 'task', m.task, 'tenant_id', "
           "m.tenant_id)",
           v, 3, "model.create", "tenant",
           "a model of that name exists, or the name is not [a-z0-9][a-z0-9._-]{0,62}");
}

static void list_models(struct admin_call *call)
{
    list(call,
         "SELECT json_build_object('data', coalesce(json_agg(m), '[]')) FROM (SELECT m.id, m.name, "
         "m.task, m.tenant_id,"
         " (SELECT coalesce(json_agg(json_build_object('number', v.number, 'plugin', v.plugin) "
         "ORDER BY v.number), '[]')"
         " FROM maas.model_versions v WHERE v.model_id = m.id) AS versions FROM maas.models m "
         "ORDER BY m.name " ROWS ") m",
         NULL, 0);
}

static bool plugin_name_is_sane(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9') ||
              s.data[i] == '_' || (s.data[i] == '.' && i > 0 && s.data[i - 1] != '.')))
            return false;
    return s.len > 0 && s.len < 64;
}

/* Unpacks the upload once, so that a bad artifact is refused here and not by a worker later. */
static maas_status try_artifact(const struct admin_call *call, maas_error *error)
{
    char folder[] = "/tmp/maas-artifact-XXXXXX";
    if (!mkdtemp(folder))
        return fail(error, MAAS_E_UNAVAILABLE, "no temporary folder");
    maas_status status = artifact_unpack(call->body, call->body_len, folder, error);
    artifact_remove(folder);
    return status;
}

static bool store_artifact(struct admin_call *call, char hex[67])
{
    uint8_t digest[32];
    maas_error error = MAAS_ERROR_INIT;
    artifact_digest(call->body, call->body_len, digest);
    hex[0] = '\\';
    hex[1] = 'x';
    hex_encode(digest, 32, hex + 2);
    const struct sql_param params[] = {
        { .type_oid = 17, .binary = false, .value = { hex, 66 } },
        { .type_oid = 17, .binary = true, .value = { call->body, call->body_len } },
    };
    maas_status status =
        sql_exec_params(call->sql,
                        "INSERT INTO maas.artifacts (sha256, bytes, content, media_type)"
                        " VALUES ($1, length($2), $2, 'application/x-tar') ON CONFLICT DO NOTHING",
                        params, 2, NULL, &error);
    if (status)
        admin_sql_problem(call, status, &error, NULL);
    return status == MAAS_OK;
}

static void create_version(struct admin_call *call)
{
    char hex[67];
    maas_error error = MAAS_ERROR_INIT;
    struct str plugin = admin_query(call, "plugin"), tenant = admin_query(call, "tenant");
    if (!plugin_name_is_sane(plugin)) {
        admin_problem(call, 422, "plugin", "name the plugin in the query: ?plugin=maas.linreg");
        return;
    }
    if (call->body_len == 0 || try_artifact(call, &error)) {
        admin_problem(call, 422, "body", "a tar of the model's files is expected: %s", error.text);
        return;
    }
    if (!store_artifact(call, hex))
        return;
    const struct str v[] = {
        str_of(call->name), plugin, { hex, 66 }, tenant.data ? tenant : STR("")
    };
    change(call, 201,
           "INSERT INTO maas.model_versions AS v (model_id, plugin, artifact_sha256) SELECT m.id, "
           "$2, $3::bytea FROM maas.models m"
           " WHERE m.name = $1 AND m.tenant_id IS NOT DISTINCT FROM (SELECT id FROM maas.tenants "
           "WHERE slug = $4)"
           " RETURNING json_build_object('model', $1::text, 'number', v.number, 'plugin', "
           "v.plugin, 'sha256', encode(v.artifact_sha256, 'hex'))",
           v, COUNT_OF(v), "version.create", "model", "that version exists");
}

/* What is pinned takes a place for ever: one more than there are would never be loaded. */
static bool may_pin(struct admin_call *call, struct str pinned, struct str tenant)
{
    const uint64_t most = call->app->config->resident_max;
    const struct str v[] = { str_of(call->name), tenant };
    struct buf count;
    if (most == 0 || str_eq(pinned, STR("false")))
        return true;
    buf_init(&count, 64);
    bool asked = admin_ask(call,
                           "SELECT count(*)::text FROM maas.deployments d LEFT JOIN maas.tenants t "
                           "ON t.id = d.tenant_id WHERE d.pinned AND d.state = 'active' AND NOT "
                           "(d.name = $1 AND coalesce(t.slug, '') = $2)",
                           v, COUNT_OF(v), "deployment", &count);
    bool good = asked && strtoull(count.data, NULL, 10) < most;
    if (asked && !good)
        admin_problem(call, 422, "pinned",
                      "%.*s deployments are pinned, which is all that workers.resident_max lets be "
                      "loaded",
                      (int)count.len, count.data);
    buf_release(&count);
    return good;
}

static void put_deployment(struct admin_call *call)
{
    static const char *const known[] = { "model",     "version",      "visibility",    "tenant",
                                         "cost_base", "cost_per_row", "min_row_bytes", "pinned" };
    char n[4][24];
    struct str v[9];
    v[0] = str_of(call->name);
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "model", NULL, &v[1]) ||
        !admin_text(call, "tenant", "", &v[2]) || !admin_text(call, "visibility", "", &v[3]) ||
        !admin_number(call, "version", 1, INT32_MAX, 0, n[0]) ||
        !admin_number(call, "cost_base", 0, 1000000, 1, n[1]) ||
        !admin_number(call, "cost_per_row", 0, 1000000, 0, n[2]) ||
        !admin_number(call, "min_row_bytes", 1, 1000000, 1, n[3]) ||
        !admin_flag(call, "pinned", &v[8]) || !may_pin(call, v[8], v[2]))
        return;
    for (size_t i = 0; i < COUNT_OF(n); i++)
        v[4 + i] = str_of(n[i]);
    change(call, 200,
           "WITH o AS (SELECT (SELECT id FROM maas.tenants WHERE slug = $3) AS id),"
           " ver AS (SELECT v.id, m.tenant_id FROM maas.model_versions v JOIN maas.models m ON "
           "m.id = v.model_id, o"
           "  WHERE m.name = $2 AND v.number = $5::int AND m.tenant_id IS NOT DISTINCT FROM o.id "
           "AND ($3 = '' OR o.id IS NOT NULL)),"
           " vis AS (SELECT coalesce(nullif($4, ''), CASE WHEN $3 = '' THEN 'granted' ELSE "
           "'private' END) AS v),"
           " old AS (UPDATE maas.deployments d SET model_version_id = ver.id, visibility = vis.v, "
           "cost_base = $6::int,"
           "  cost_per_row = $7::int, min_row_bytes = $8::int, pinned = $9::bool FROM ver, vis"
           "  WHERE d.name = $1 AND d.state = 'active' AND d.tenant_id IS NOT DISTINCT FROM "
           "ver.tenant_id RETURNING d.*),"
           " new AS (INSERT INTO maas.deployments (tenant_id, name, model_version_id, visibility, "
           "cost_base, cost_per_row, min_row_bytes, pinned)"
           "  SELECT ver.tenant_id, $1, ver.id, vis.v, $6::int, $7::int, $8::int, $9::bool FROM "
           "ver, vis "
           "WHERE NOT EXISTS (SELECT 1 FROM old) RETURNING *)"
           " SELECT json_build_object('id', d.id, 'name', d.name, 'model', $2::text, 'version', "
           "$5::int, 'visibility', d.visibility,"
           "  'pinned', d.pinned, 'state', d.state) FROM (SELECT * FROM old UNION ALL SELECT * "
           "FROM new) d",
           v, COUNT_OF(v), "deployment.put", "model version",
           "the name, the visibility or the version does not fit");
}

/* ---- audit, workers */

static void list_audit(struct admin_call *call)
{
    list(call,
         "SELECT json_build_object('data', coalesce(json_agg(a), '[]')) FROM (SELECT seq, at, "
         "actor, action, object, after, request_id"
         " FROM maas.audit_log ORDER BY seq DESC " ROWS ") a",
         NULL, 0);
}

#define SMALL 65536
const struct admin_route admin_routes[] = {
    { "POST", "/admin/v1/tenants", ROLE_OPERATOR, SMALL, create_tenant },
    { "GET", "/admin/v1/tenants", ROLE_VIEWER, 0, list_tenants },
    { "GET", "/admin/v1/tenants/{}", ROLE_VIEWER, 0, get_tenant },
    { "POST", "/admin/v1/tenants/{}/keys", ROLE_OPERATOR, SMALL, create_key },
    { "GET", "/admin/v1/tenants/{}/keys", ROLE_VIEWER, 0, list_keys },
    { "DELETE", "/admin/v1/keys/{}", ROLE_OPERATOR, 0, revoke_key },
    { "POST", "/admin/v1/plans", ROLE_OPERATOR, SMALL, create_plan },
    { "GET", "/admin/v1/plans", ROLE_VIEWER, 0, list_plans },
    { "GET", "/admin/v1/limits", ROLE_VIEWER, 0, admin_get_limits },
    { "PUT", "/admin/v1/limits", ROLE_OPERATOR, SMALL, admin_put_limits },
    { "GET", "/admin/v1/plans/{}/limits", ROLE_VIEWER, 0, admin_get_limits },
    { "PUT", "/admin/v1/plans/{}/limits", ROLE_OPERATOR, SMALL, admin_put_limits },
    { "GET", "/admin/v1/tenants/{}/limits", ROLE_VIEWER, 0, admin_get_limits },
    { "PUT", "/admin/v1/tenants/{}/limits", ROLE_OPERATOR, SMALL, admin_put_limits },
    { "POST", "/admin/v1/tenants/{}/quota", ROLE_OPERATOR, SMALL, admin_extra_quota },
    { "GET", "/admin/v1/keys/{}/limits", ROLE_VIEWER, 0, admin_get_limits },
    { "PUT", "/admin/v1/keys/{}/limits", ROLE_OPERATOR, SMALL, admin_put_limits },
    { "GET", "/admin/v1/deployments/{}/limits", ROLE_VIEWER, 0, admin_get_limits },
    { "PUT", "/admin/v1/deployments/{}/limits", ROLE_OPERATOR, SMALL, admin_put_limits },
    { "POST", "/admin/v1/models", ROLE_OPERATOR, SMALL, create_model },
    { "GET", "/admin/v1/models", ROLE_VIEWER, 0, list_models },
    { "POST", "/admin/v1/models/{}/versions", ROLE_OPERATOR, ARTIFACT_MAX, create_version },
    { "PUT", "/admin/v1/deployments/{}", ROLE_OPERATOR, SMALL, put_deployment },
    { "GET", "/admin/v1/deployments", ROLE_VIEWER, 0, list_deployments },
    { "POST", "/admin/v1/deployments/{}/restart", ROLE_OPERATOR, 0, restart_deployment },
    { "POST", "/admin/v1/plugins", ROLE_OWNER, SMALL, admin_allow_plugin },
    { "GET", "/admin/v1/plugins", ROLE_VIEWER, 0, admin_list_plugins },
    { "DELETE", "/admin/v1/plugins/{}/{}", ROLE_OPERATOR, 0, admin_revoke_plugin },
    { "GET", "/admin/v1/usage", ROLE_VIEWER, 0, admin_list_usage },
    { "POST", "/admin/v1/usage/rebuild", ROLE_OWNER, SMALL, admin_rebuild_totals },
    { "POST", "/admin/v1/reconciliations", ROLE_OPERATOR, SMALL, admin_reconcile },
    { "GET", "/admin/v1/reconciliations", ROLE_VIEWER, 0, admin_list_reconciliations },
    { "GET", "/admin/v1/reconciliations/{}", ROLE_VIEWER, 0, admin_get_reconciliation },
    { "GET", "/admin/v1/audit", ROLE_VIEWER, 0, list_audit },
    { "GET", "/admin/v1/workers", ROLE_VIEWER, 0, list_workers },
};
const size_t admin_route_count = COUNT_OF(admin_routes);
