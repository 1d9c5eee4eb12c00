/*
 * handlers.c: the admin API's routes, one table, and what it does with models. A statement gives
 * its row as JSON, so what is stored, audited and answered is the same text. All of it runs on the
 * control thread, inside one transaction that the caller commits when status is 2xx.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/workers.h"
#include "fleet/artifact.h"

#define ARTIFACT_MAX ((uint32_t)256 << 20)
#define ROWS         "LIMIT " ADMIN_ROWS_MAX

/* ---- models, versions, deployments */

/* What a plan lets a tenant own: one more model, or an artifact of so many bytes. */
static bool may_own_more(struct admin_call *call, struct str tenant, const char *bytes)
{
    const struct str v[] = { tenant, bytes ? str_of(bytes) : (struct str){ NULL, 0 } };
    struct buf answer;
    if (!tenant.len)
        return true;
    buf_init(&answer, 64);
    bool asked = admin_ask(
        call,
        "SELECT (CASE WHEN $2::bigint IS NULL THEN coalesce((SELECT count(*) FROM maas.models m "
        "WHERE m.tenant_id = t.id) < p.models_max, true) ELSE coalesce((SELECT coalesce(sum("
        "a.bytes), 0) FROM (SELECT DISTINCT v.artifact_sha256 AS sha FROM maas.model_versions v "
        "WHERE v.tenant_id = t.id) d JOIN maas.artifacts a ON a.sha256 = d.sha) + $2::bigint <= "
        "p.storage_max_bytes, true) END)::text FROM maas.tenants t JOIN maas.plans p ON p.id = "
        "t.plan_id WHERE t.slug = $1",
        v, COUNT_OF(v), "tenant", &answer);
    bool good = asked && str_eq(buf_view(&answer), STR("true"));
    buf_release(&answer);
    if (asked && !good)
        admin_problem(call, 422, bytes ? "body" : "tenant",
                      bytes ? "the tenant's plan has no room for an artifact of %s bytes"
                            : "the tenant has as many models as its plan allows%s",
                      bytes ? bytes : "");
    return good;
}

static void create_model(struct admin_call *call)
{
    static const char *const known[] = { "name", "task", "tenant" };
    struct str v[3];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "name", NULL, &v[0]) ||
        !admin_text(call, "task", NULL, &v[1]) || !admin_text(call, "tenant", "", &v[2]))
        return;
    if (!may_own_more(call, v[2], NULL))
        return;
    admin_reply_change(
        call, 201,
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
    admin_reply_rows(
        call,
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
    char hex[67], bytes[24];
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
    snprintf(bytes, sizeof(bytes), "%zu", call->body_len);
    if (!may_own_more(call, tenant.data ? tenant : STR(""), bytes) || !store_artifact(call, hex))
        return;
    const struct str v[] = {
        str_of(call->name), plugin, { hex, 66 }, tenant.data ? tenant : STR("")
    };
    admin_reply_change(
        call, 201,
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
    admin_reply_change(
        call, 200,
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
    admin_reply_rows(
        call,
        "SELECT json_build_object('data', coalesce(json_agg(a), '[]')) FROM (SELECT seq, at, "
        "actor, action, object, after, request_id"
        " FROM maas.audit_log ORDER BY seq DESC " ROWS ") a",
        NULL, 0);
}

#define SMALL 65536
const struct admin_route admin_routes[] = {
    { "POST", "/admin/v1/tenants", ROLE_OPERATOR, SMALL, admin_create_tenant },
    { "GET", "/admin/v1/tenants", ROLE_VIEWER, 0, admin_list_tenants },
    { "GET", "/admin/v1/tenants/{}", ROLE_VIEWER, 0, admin_get_tenant },
    { "PATCH", "/admin/v1/tenants/{}", ROLE_OPERATOR, SMALL, admin_change_tenant },
    { "POST", "/admin/v1/tenants/{}/keys", ROLE_OPERATOR, SMALL, admin_create_key },
    { "GET", "/admin/v1/tenants/{}/keys", ROLE_VIEWER, 0, admin_list_keys },
    { "GET", "/admin/v1/keys/{}", ROLE_VIEWER, 0, admin_get_key },
    { "PATCH", "/admin/v1/keys/{}", ROLE_OPERATOR, SMALL, admin_change_key },
    { "DELETE", "/admin/v1/keys/{}", ROLE_OPERATOR, 0, admin_revoke_key },
    { "POST", "/admin/v1/keys/{}/rotate", ROLE_OPERATOR, SMALL, admin_rotate_key },
    { "GET", "/admin/v1/peppers", ROLE_VIEWER, 0, admin_list_peppers },
    { "POST", "/admin/v1/plans", ROLE_OPERATOR, SMALL, admin_create_plan },
    { "GET", "/admin/v1/plans", ROLE_VIEWER, 0, admin_list_plans },
    { "GET", "/admin/v1/plans/{}", ROLE_VIEWER, 0, admin_get_plan },
    { "PATCH", "/admin/v1/plans/{}", ROLE_OPERATOR, SMALL, admin_change_plan },
    { "DELETE", "/admin/v1/plans/{}", ROLE_OPERATOR, 0, admin_delete_plan },
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
