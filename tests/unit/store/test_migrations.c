/*
 * test_migrations.c: the runner (once, in order, whole or not at all) and what migrations/
 * promises: rights, row-level security, the audit chain, the order of the change log, idempotent
 * usage.
 */
#include "store/migrate.h"
#include "support/pg_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pg_private *server;

static struct sql *open_as(const char *role)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct sql *sql = NULL;
    assert_int_equal(sql_open(pg_private_conninfo(server, role, conninfo), 5000, &sql, NULL),
                     MAAS_OK);
    return sql;
}

static maas_status run(struct sql *sql, const char *statement)
{
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec(sql, statement, NULL, 0, NULL, &error);
    if (status != MAAS_OK)
        print_message("%s -> %s\n", statement, error.text);
    return status;
}

static void assert_answer(const char *statement, const char *expected)
{
    char *got = pg_private_ask(server, statement);
    if (strcmp(got, expected) != 0)
        print_message("%s\n", statement);
    assert_string_equal(got, expected);
    free(got);
}

static void assert_answer_of(struct sql *sql, const char *statement, const char *expected)
{
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (sql_exec(sql, statement, NULL, 0, &result, &error) != MAAS_OK)
        fail_msg("%s: %s", statement, error.text);
    assert_string_equal(sql_rows(result) ? sql_cell(result, 0, 0).data : "", expected);
    sql_result_free(result);
}

/* ---- the runner, on a folder of its own in a second database */

struct sandbox {
    char dir[64];
    struct sql *sql;
};

static void put_file(const struct sandbox *s, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void take_file(const struct sandbox *s, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    assert_int_equal(unlink(path), 0);
}

static struct sandbox sandbox_open(void)
{
    struct sandbox s = { .dir = "/tmp/maas-mig-XXXXXX" };
    assert_non_null(mkdtemp(s.dir));
    pg_private_run(server, "DROP DATABASE IF EXISTS sandbox");
    pg_private_run(server, "CREATE DATABASE sandbox");
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    snprintf(conninfo, sizeof conninfo, "host=%s dbname=sandbox user=postgres",
             pg_private_dir(server));
    assert_int_equal(sql_open(conninfo, 5000, &s.sql, NULL), MAAS_OK);
    put_file(&s, "0001_a.sql", "CREATE TABLE a (n int);\n");
    put_file(&s, "0002_b.sql", "INSERT INTO a VALUES (1);\n");
    return s;
}

static void sandbox_close(struct sandbox *s)
{
    sql_close(s->sql);
    char command[160];
    snprintf(command, sizeof command, "rm -r '%s'", s->dir);
    assert_int_equal(system(command), 0);
}

static void assert_refused(struct sandbox *s, maas_status expected, const char *word)
{
    maas_error error = MAAS_ERROR_INIT;
    unsigned applied = 99;
    assert_int_equal(migrate_run(s->sql, s->dir, &applied, &error), expected);
    if (!strstr(error.text, word))
        fail_msg("\"%s\" lacks \"%s\"", error.text, word);
    assert_int_equal(applied, 99);
}

static void a_second_run_does_nothing(void **state)
{
    (void)state;
    struct sandbox s = sandbox_open();
    unsigned applied = 0;
    put_file(&s, "README.md", "not a migration");
    assert_int_equal(migrate_run(s.sql, s.dir, &applied, NULL), MAAS_OK);
    assert_int_equal(applied, 2);
    assert_int_equal(migrate_run(s.sql, s.dir, &applied, NULL), MAAS_OK);
    assert_int_equal(applied, 0);
    put_file(&s, "0003_c.sql", "INSERT INTO a VALUES (2);");
    assert_int_equal(migrate_run(s.sql, s.dir, &applied, NULL), MAAS_OK);
    assert_int_equal(applied, 1);
    assert_answer_of(s.sql, "SELECT string_agg(n::text, ',' ORDER BY n) FROM a", "1,2");
    sandbox_close(&s);
}

static void a_failed_file_leaves_nothing_and_what_stood_before_it(void **state)
{
    (void)state;
    struct sandbox s = sandbox_open();
    put_file(&s, "0003_c.sql", "INSERT INTO a VALUES (3);\nINSERT INTO nix VALUES (1);\n");
    assert_refused(&s, MAAS_E_INTERNAL, "0003_c.sql: line 2: relation \"nix\" does not exist");
    assert_answer_of(s.sql, "SELECT string_agg(n::text, ',') FROM a", "1");
    assert_answer_of(s.sql, "SELECT max(number) FROM maas.schema_migrations", "2");
    unsigned applied = 0;
    put_file(&s, "0003_c.sql", "INSERT INTO a VALUES (3);\n");
    assert_int_equal(migrate_run(s.sql, s.dir, &applied, NULL), MAAS_OK);
    assert_int_equal(applied, 1);
    sandbox_close(&s);
}

static void a_changed_missing_or_late_file_is_an_error(void **state)
{
    (void)state;
    struct sandbox s = sandbox_open();
    unsigned applied = 0;
    put_file(&s, "0004_d.sql", "SELECT 1;");
    assert_int_equal(migrate_run(s.sql, s.dir, &applied, NULL), MAAS_OK);
    put_file(&s, "0004_d.sql", "SELECT 2;");
    assert_refused(&s, MAAS_E_PRECONDITION, "0004_d.sql\" was applied and has changed");
    take_file(&s, "0004_d.sql");
    assert_refused(&s, MAAS_E_PRECONDITION, "0004_d.sql\" was applied and its file is missing");
    put_file(&s, "0004_d.sql", "SELECT 1;");
    put_file(&s, "0003_c.sql", "SELECT 1;");
    assert_refused(&s, MAAS_E_PRECONDITION, "0003_c.sql\" is new but a higher number");
    put_file(&s, "0003_x.sql", "SELECT 1;");
    assert_refused(&s, MAAS_E_INVALID, "two migrations");
    sandbox_close(&s);
}

/* ---- rights */

static void no_login_role_is_superuser_owner_or_bypasses_row_security(void **state)
{
    (void)state;
    assert_answer("SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles "
                  "WHERE rolname LIKE 'maas%' AND rolcanlogin",
                  "maas_admin,maas_gateway");
    assert_answer("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'maas%' AND rolcanlogin AND "
                  "(rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
                  "0");
    assert_answer("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
                  "WHERE r.rolname IN ('maas_gateway', 'maas_admin', 'maas_system')",
                  "0");
    assert_answer("SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member "
                  "WHERE r.rolname LIKE 'maas%'",
                  "0");
    assert_answer("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'maas%' "
                  "AND rolbypassrls",
                  "maas_system");
}

static void every_table_with_a_tenant_forces_row_security(void **state)
{
    (void)state;
#define TENANT_TABLES                                                                              \
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "                               \
    "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p') "     \
    "AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid "   \
    "AND a.attname = 'tenant_id' AND NOT a.attisdropped)) "
    assert_answer("SELECT count(*) >= 9 " TENANT_TABLES, "t");
    assert_answer("SELECT string_agg(c.relname, ',') " TENANT_TABLES
                  "AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS "
                  "(SELECT FROM pg_policy p WHERE p.polrelid = c.oid))",
                  "");
    /* No policy lets the gateway through without a tenant. */
    assert_answer("SELECT string_agg(c.relname, ',') " TENANT_TABLES
                  "AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND "
                  "(p.polroles @> '{0}' OR 'maas_gateway'::regrole = ANY (p.polroles)) AND "
                  "pg_get_expr(p.polqual, p.polrelid) NOT LIKE '%current_tenant()%')",
                  "");
}

static void the_gateway_without_a_tenant_sees_no_row(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    char *tables =
        pg_private_ask(server, "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) " TENANT_TABLES
                               "AND has_any_column_privilege('maas_gateway', c.oid, 'SELECT')");
    assert_string_equal(tables, "api_keys deployments limits model_grants model_versions models "
                                "quota_pots tenants usage_daily usage_events usage_hourly");
    char *rest = tables;
    for (char *table; (table = strsep(&rest, " "));) {
        char statement[128];
        snprintf(statement, sizeof statement, "SELECT count(*) > 0 FROM maas.%s", table);
        assert_answer(statement, "t"); /* there is something to hide */
        snprintf(statement, sizeof statement, "SELECT count(*) FROM maas.%s", table);
        assert_answer_of(gateway, statement, "0");
        /* nor after a transaction of a tenant left the setting behind as an empty string */
        assert_int_equal(run(gateway, "BEGIN"), MAAS_OK);
        assert_int_equal(
            run(gateway, "SELECT set_config('maas.tenant', gen_random_uuid()::text, true)"),
            MAAS_OK);
        assert_answer_of(gateway, statement, "0");
        assert_int_equal(run(gateway, "COMMIT"), MAAS_OK);
        assert_answer_of(gateway, statement, "0");
    }
    free(tables);
    sql_close(gateway);
}

static void a_tenant_sees_its_own_rows_only(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    char *id = pg_private_ask(server, "SELECT id FROM maas.tenants WHERE slug = 'acme'");
    struct uuid acme;
    assert_true(uuid_parse(str_of(id), &acme));
    assert_int_equal(sql_begin(gateway, &acme, NULL), MAAS_OK);
    assert_answer_of(gateway, "SELECT string_agg(key_id, ',') FROM api_keys", "AcmeKey1");
    assert_answer_of(gateway, "SELECT string_agg(slug, ',') FROM tenants", "acme");
    assert_answer_of(gateway, "SELECT string_agg(DISTINCT tenant_id::text, ',') FROM usage_events",
                     id);
    assert_int_equal(run(gateway, "SELECT mac FROM api_keys"), MAAS_E_DENIED);
    sql_rollback(gateway);
    free(id);
    sql_close(gateway);
}

static void functions_are_granted_by_name_and_definers_fix_their_path(void **state)
{
    (void)state;
    assert_answer("SELECT string_agg(p.proname, ',') FROM pg_proc p "
                  "WHERE p.pronamespace = 'maas'::regnamespace AND "
                  "has_function_privilege('public', p.oid, 'EXECUTE')",
                  "");
    assert_answer(
        "SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p "
        "WHERE p.pronamespace = 'maas'::regnamespace AND p.prosecdef AND "
        "p.proowner = 'maas_system'::regrole",
        "artifact_part artifact_read audit_append audit_verify gateway_gone gateway_heard "
        "gateway_lives idempotency_begin idempotency_finish idempotency_purge idempotency_release "
        "key_lookup key_resign key_rotate key_used limits_note limits_of own_key_change "
        "own_key_create own_key_json own_key_rotate own_keys quota_billed quota_close quota_end "
        "quota_lease quota_limit quota_return quota_settle registry_deployments registry_limits "
        "registry_note registry_plugins registry_seq registry_since usage_append usage_append "
        "usage_cursor usage_findings usage_maintain usage_rebuild usage_reconcile usage_total");
    assert_answer("SELECT string_agg(p.proname, ' ') FROM pg_proc p "
                  "WHERE p.pronamespace = 'maas'::regnamespace AND p.prosecdef AND "
                  "p.proowner <> 'maas_system'::regrole",
                  "usage_partition");
    assert_answer("SELECT string_agg(p.proname, ' ') FROM pg_proc p "
                  "WHERE p.pronamespace = 'maas'::regnamespace AND p.prosecdef AND NOT "
                  "coalesce(p.proconfig, '{}') @> '{\"search_path=pg_catalog, pg_temp\"}'",
                  "");
    assert_answer(
        "SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p "
        "WHERE p.pronamespace = 'maas'::regnamespace AND "
        "has_function_privilege('maas_gateway', p.oid, 'EXECUTE')",
        "artifact_part artifact_read current_tenant gateway_gone gateway_heard idempotency_begin "
        "idempotency_finish idempotency_purge idempotency_release key_lookup key_resign key_used "
        "limits_of own_key_change own_key_create own_key_rotate own_keys quota_close quota_end "
        "quota_lease quota_return registry_deployments registry_limits registry_plugins "
        "registry_seq registry_since usage_append usage_append usage_cursor usage_maintain");
}

static void the_login_roles_cannot_write_where_they_must_not(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway"), *admin = open_as("maas_admin");
    assert_int_equal(run(gateway, "INSERT INTO usage_events (day) VALUES (now())"), MAAS_E_DENIED);
    assert_int_equal(run(gateway, "UPDATE tenants SET state = 'closed'"), MAAS_E_DENIED);
    assert_int_equal(run(gateway, "SELECT * FROM audit_log"), MAAS_E_DENIED);
    assert_int_equal(run(gateway, "SELECT * FROM admin_tokens"), MAAS_E_DENIED);
    assert_int_equal(run(gateway, "CREATE TEMP TABLE tenants (a int)"), MAAS_E_DENIED);
    assert_int_equal(run(gateway, "CREATE TABLE maas.x (a int)"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "INSERT INTO audit_log (seq) VALUES (1)"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "UPDATE audit_log SET actor = 'x'"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "DELETE FROM audit_log"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "TRUNCATE audit_log"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "DELETE FROM usage_events"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "UPDATE api_keys SET tenant_id = tenant_id"), MAAS_E_DENIED);
    assert_int_equal(run(admin, "DELETE FROM tenants"), MAAS_E_DENIED);
    sql_close(gateway);
    sql_close(admin);
}

/* ---- audit */

static void the_audit_chain_shows_a_changed_row(void **state)
{
    (void)state;
    struct sql *admin = open_as("maas_admin");
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            run(admin,
                "SELECT audit_append('me', 'do', 'x', NULL, '{\"a\": [1, \"\\u00e9\"]}', 'r1')"),
            MAAS_OK);
    assert_answer_of(admin, "SELECT audit_verify()", "");
    assert_int_equal(run(admin, "SET TimeZone = 'Asia/Tokyo'"), MAAS_OK);
    assert_answer_of(admin, "SELECT audit_verify()", "");
    assert_answer("SELECT count(*) = max(seq) FROM maas.audit_log", "t");
    pg_private_run(server, "ALTER TABLE maas.audit_log DISABLE TRIGGER append_only;"
                           "UPDATE maas.audit_log SET after = '{\"a\": 2}' WHERE seq = 3;");
    assert_answer_of(admin, "SELECT audit_verify()", "3");
    /* A forger who makes the row and the link after it agree shows one row later: a digest covers
     * the link, so all that follow would have to be forged. */
    pg_private_run(server, "UPDATE maas.audit_log a SET hash = maas.audit_hash(a) WHERE seq = 3;"
                           "UPDATE maas.audit_log SET prev_hash = "
                           "(SELECT hash FROM maas.audit_log WHERE seq = 3) WHERE seq = 4;");
    assert_answer_of(admin, "SELECT audit_verify()", "4");
    pg_private_run(server, "DELETE FROM maas.audit_log WHERE seq = 3;"
                           "ALTER TABLE maas.audit_log ENABLE TRIGGER append_only;");
    assert_answer_of(admin, "SELECT audit_verify()", "4");
    sql_close(admin);
}

static void even_the_superuser_trips_over_the_append_only_trigger(void **state)
{
    (void)state;
    struct sql *super = open_as("postgres");
    assert_int_equal(run(super, "UPDATE maas.audit_log SET actor = 'x'"), MAAS_E_DENIED);
    assert_int_equal(run(super, "DELETE FROM maas.audit_log"), MAAS_E_DENIED);
    assert_int_equal(run(super, "TRUNCATE maas.audit_log"), MAAS_E_DENIED);
    sql_close(super);
}

/* ---- the change log */

static void every_cached_table_notes_its_changes(void **state)
{
    (void)state;
    static const struct {
        const char *statement, *kind;
    } changes[] = {
        { "UPDATE api_keys SET name = name WHERE key_id = 'AcmeKey1'", "key" },
        { "UPDATE tenants SET name = name WHERE slug = 'acme'", "tenant" },
        { "UPDATE plans SET rate = rate", "plan" },
        { "UPDATE deployments SET cost_base = 2 WHERE name = 'house'", "deployment" },
        { "DELETE FROM model_grants", "grant" },
        { "INSERT INTO model_grants SELECT d.id, t.id FROM deployments d, tenants t "
          "WHERE d.name = 'house' AND t.slug = 'acme'",
          "grant" },
        { "UPDATE models SET task = task", "model" },
        { "UPDATE limits SET amount = amount WHERE scope = 'global'", "limits" },
        { "UPDATE limits SET amount = amount WHERE scope = 'tenant' AND plan_id IS NULL",
          "tenant" },
        { "UPDATE limits SET amount = amount WHERE scope = 'tenant' AND tenant_id IS NULL",
          "plan" },
        { "UPDATE limits SET amount = amount WHERE scope = 'key'", "key" },
        { "DELETE FROM limits WHERE scope = 'model'", "limits" },
    };
    struct sql *admin = open_as("maas_admin");
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        char *before = pg_private_ask(server, "SELECT maas.registry_seq()");
        assert_int_equal(run(admin, changes[i].statement), MAAS_OK);
        char statement[128];
        snprintf(statement, sizeof statement, "SELECT min(kind) FROM maas.registry_since(%s)",
                 before);
        assert_answer(statement, changes[i].kind);
        free(before);
    }
    sql_close(admin);
}

static void changes_become_visible_in_the_order_of_their_numbers(void **state)
{
    (void)state;
    struct sql *slow = open_as("maas_admin"), *quick = open_as("maas_admin");
    char *before = pg_private_ask(server, "SELECT maas.registry_seq()");
    assert_int_equal(sql_begin(slow, NULL, NULL), MAAS_OK);
    assert_int_equal(run(slow, "UPDATE tenants SET name = 'slow' WHERE slug = 'acme'"), MAAS_OK);
    assert_int_equal(run(quick, "UPDATE tenants SET name = 'quick' WHERE slug = 'other'"), MAAS_OK);
    char *middle = pg_private_ask(server, "SELECT maas.registry_seq()");
    assert_int_equal(strtol(middle, NULL, 10), strtol(before, NULL, 10) + 1);
    assert_int_equal(sql_commit(slow, NULL), MAAS_OK);
    char statement[128];
    snprintf(
        statement, sizeof statement,
        "SELECT t.slug FROM maas.registry_since(%s) s JOIN maas.tenants t ON t.id::text = s.id",
        middle);
    assert_answer(statement, "acme");
    free(before);
    free(middle);
    sql_close(slow);
    sql_close(quick);
}

struct commit {
    struct sql *sql;
    pthread_t thread;
    _Atomic bool done;
};

static void *run_commit(void *arg)
{
    struct commit *c = arg;
    assert_int_equal(sql_commit(c->sql, NULL), MAAS_OK);
    atomic_store(&c->done, true);
    return NULL;
}

static void commit_start(struct commit *c, const char *statement)
{
    *c = (struct commit){ .sql = open_as("maas_admin") };
    assert_int_equal(sql_begin(c->sql, NULL, NULL), MAAS_OK);
    assert_int_equal(run(c->sql, statement), MAAS_OK);
    assert_int_equal(pthread_create(&c->thread, NULL, run_commit, c), 0);
    usleep(150000);
}

static void commit_end(struct commit *c)
{
    pthread_join(c->thread, NULL);
    sql_close(c->sql);
}

/* A trigger of the test's own holds the first commit after its change got a number. */
static void a_change_is_not_overtaken_between_its_number_and_its_commit(void **state)
{
    (void)state;
    struct sql *holder = open_as("postgres");
    assert_int_equal(run(holder, "SELECT pg_advisory_lock(42)"), MAAS_OK);
    pg_private_run(server,
                   "CREATE FUNCTION maas.hold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
                   "AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';"
                   "CREATE CONSTRAINT TRIGGER z_hold AFTER UPDATE ON maas.plans DEFERRABLE "
                   "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.hold()");
    char *before = pg_private_ask(server, "SELECT maas.registry_seq()");
    struct commit held, other;
    commit_start(&held, "UPDATE plans SET burst = burst");
    commit_start(&other, "UPDATE tenants SET name = name WHERE slug = 'other'");
    assert_false(atomic_load(&held.done));
    assert_false(atomic_load(&other.done));
    assert_answer("SELECT maas.registry_seq()", before);
    sql_close(holder); /* and its lock */
    commit_end(&held);
    commit_end(&other);
    pg_private_run(server, "DROP TRIGGER z_hold ON maas.plans; DROP FUNCTION maas.hold()");
    char statement[128];
    snprintf(statement, sizeof statement,
             "SELECT string_agg(kind, ',' ORDER BY seq) FROM maas.registry_since(%s)", before);
    assert_answer(statement, "plan,tenant");
    free(before);
}

/* ---- usage */

/* Rows and both totals say the same of every tenant, key and deployment. */
static void assert_totals(void)
{
    static const char *const totals[] = { "usage_hourly", "usage_daily" };
    for (size_t i = 0; i < COUNT_OF(totals); i++) {
        char statement[600];
        snprintf(
            statement, sizeof statement,
            "WITH e AS (SELECT tenant_id, key_id, deployment_id, count(*), sum(rows), "
            "sum(units), sum(compute_us) FROM maas.usage_events GROUP BY 1, 2, 3), "
            "t AS (SELECT tenant_id, key_id, deployment_id, sum(requests), sum(rows), "
            "sum(units), sum(compute_us) FROM maas.%s GROUP BY 1, 2, 3) "
            "SELECT count(*) FROM ((TABLE e EXCEPT TABLE t) UNION ALL (TABLE t EXCEPT TABLE e)) d",
            totals[i]);
        assert_answer(statement, "0");
    }
}

#define APPEND(first, count, at)                                                                   \
    "SELECT usage_append('00000000-0000-0000-0000-0000000000aa', 3, " #first ", "                  \
    "array_fill(" at "::bigint, ARRAY[" #count "]), "                                              \
    "array_fill('" TENANT "'::uuid, ARRAY[" #count "]), " ID(count) ID(count) ID(count) ID(count)  \
        ONES(count) ONES(count) "array_fill(5::bigint, ARRAY[" #count "]), " ONES(count)           \
            ONES(count) ONES(count) "array_fill(2, ARRAY[" #count "]))"
#define TENANT      "11111111-1111-1111-1111-111111111111"
#define ID(count)   "array_fill(gen_random_uuid(), ARRAY[" #count "]), "
#define ONES(count) "array_fill(1, ARRAY[" #count "]), "
#define NOW         "(extract(epoch FROM now()) * 1000000)"

static void a_batch_sent_again_is_billed_once(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    assert_answer_of(gateway, APPEND(1, 10, NOW), "10");
    assert_answer_of(gateway, APPEND(1, 10, NOW), "10");
    assert_answer_of(gateway, APPEND(6, 10, NOW), "15"); /* overlaps by five */
    assert_answer_of(gateway, APPEND(2, 3, NOW), "15");
    assert_answer_of(gateway,
                     "SELECT loop || '/' || seq FROM "
                     "usage_cursor('00000000-0000-0000-0000-0000000000aa')",
                     "3/15");
    assert_answer("SELECT count(*) || ' ' || sum(units) || ' ' || max(seq) FROM maas.usage_events "
                  "WHERE tenant_id = '" TENANT "'",
                  "15 75 15");
    assert_totals();
    sql_close(gateway);
}

static void a_batch_sent_again_after_its_cursor_was_lost_is_billed_once(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    free(pg_private_ask(server, "DELETE FROM maas.spool_cursors RETURNING 1"));
    assert_answer_of(gateway, APPEND(11, 5, NOW), "15"); /* all of them are there */
    assert_answer("SELECT count(*) || ' ' || max(seq) FROM maas.usage_events "
                  "WHERE tenant_id = '" TENANT "'",
                  "15 15");
    assert_totals();
    sql_close(gateway);
}

static void a_rolled_back_batch_moves_no_cursor(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    assert_int_equal(sql_begin(gateway, NULL, NULL), MAAS_OK);
    assert_answer_of(gateway, APPEND(16, 4, NOW), "19");
    sql_rollback(gateway);
    assert_answer_of(gateway, APPEND(16, 4, NOW), "19");
    assert_answer("SELECT count(*) FROM maas.usage_events WHERE tenant_id = '" TENANT "'", "19");
    assert_totals();
    sql_close(gateway);
}

static void a_mad_clock_neither_stops_billing_nor_makes_odd_partitions(void **state)
{
    (void)state;
    struct sql *gateway = open_as("maas_gateway");
    assert_answer_of(gateway, APPEND(20, 1, "-9223372036854775807"), "20");
    assert_answer_of(gateway, APPEND(21, 1, "9223372036854775807"), "21");
    assert_answer("SELECT bool_and(day BETWEEN current_date - 401 AND current_date + 2) "
                  "FROM maas.usage_events WHERE seq IN (20, 21)",
                  "t");
    assert_int_equal(run(gateway, "SELECT usage_append(gen_random_uuid(), 0, 1, '{1}', '{}', '{}', "
                                  "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')"),
                     MAAS_E_INVALID);
    assert_answer_of(gateway,
                     "SELECT usage_append(gen_random_uuid(), 0, 1, '{}', '{}', '{}', "
                     "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
                     "0");
    sql_close(gateway);
}

/* ---- models */

static void nobody_deploys_another_tenants_model(void **state)
{
    (void)state;
    struct sql *admin = open_as("maas_admin");
    assert_int_equal(run(admin,
                         "INSERT INTO deployments (tenant_id, name, model_version_id, visibility) "
                         "SELECT t.id, 'theft', v.id, 'private' FROM tenants t, model_versions v "
                         "WHERE t.slug = 'other' AND v.tenant_id IS NOT NULL"),
                     MAAS_E_PRECONDITION);
    assert_int_equal(
        run(admin, "INSERT INTO deployments (name, model_version_id, visibility) "
                   "SELECT 'house', model_version_id, 'all' FROM deployments WHERE name = 'house'"),
        MAAS_E_EXISTS);
    assert_int_equal(
        run(admin,
            "INSERT INTO deployments (name, model_version_id, visibility) "
            "SELECT 'mine', model_version_id, 'private' FROM deployments WHERE name = 'house'"),
        MAAS_E_PRECONDITION);
    assert_int_equal(
        run(admin, "INSERT INTO artifacts (sha256, bytes, content) VALUES (sha256('a'), 1, 'b')"),
        MAAS_E_PRECONDITION);
    assert_int_equal(
        run(admin,
            "INSERT INTO artifacts (sha256, bytes, content) VALUES (sha256('abcd'), 4, 'abcd')"),
        MAAS_OK);
    struct sql *gateway = open_as("maas_gateway");
    assert_answer_of(gateway, "SELECT artifact_read(sha256('abcd'))", "\\x61626364");
    assert_answer_of(gateway, "SELECT artifact_part(sha256('abcd'), 1, 2)", "\\x6263");
    assert_answer_of(gateway, "SELECT artifact_part(sha256('abcd'), 4, 2)", "\\x");
    assert_answer_of(gateway, "SELECT artifact_read(sha256('nix')) IS NULL", "t");
    sql_close(gateway);
    sql_close(admin);
}

static int start(void **state)
{
    (void)state;
    server = pg_private_start();
    pg_private_migrate(server);
    pg_private_run(
        server,
        "INSERT INTO maas.tenants (slug, name, plan_id) SELECT s, s, id FROM maas.plans, "
        "  unnest(ARRAY['acme', 'other']) s;"
        "INSERT INTO maas.api_keys (key_id, tenant_id, name, mac, pepper_version) "
        "  SELECT 'AcmeKey1', id, 'k', sha256('k'), 1 FROM maas.tenants WHERE slug = 'acme';"
        "INSERT INTO maas.api_keys (key_id, tenant_id, name, mac, pepper_version) "
        "  SELECT 'OtherKey', id, 'k', sha256('k'), 1 FROM maas.tenants WHERE slug = 'other';"
        "INSERT INTO maas.models (name, task) VALUES ('m', 'regression');"
        "INSERT INTO maas.models (tenant_id, name, task) SELECT id, 'm', 'regression' FROM "
        "maas.tenants WHERE slug = 'acme';"
        "INSERT INTO maas.model_versions (model_id, plugin) SELECT id, 'maas.linreg' FROM "
        "maas.models;"
        "INSERT INTO maas.deployments (name, model_version_id, visibility) "
        "  SELECT 'house', id, 'granted' FROM maas.model_versions WHERE tenant_id IS NULL;"
        "INSERT INTO maas.model_grants SELECT d.id, t.id FROM maas.deployments d, maas.tenants t "
        "WHERE t.slug = 'acme';"
        "INSERT INTO maas.limits (scope, measure, amount) VALUES ('global', 'month', 1000);"
        "INSERT INTO maas.limits (scope, tenant_id, measure, amount) "
        "  SELECT 'tenant', id, 'day', 100 FROM maas.tenants WHERE slug = 'acme';"
        "INSERT INTO maas.limits (scope, plan_id, measure, amount) "
        "  SELECT 'tenant', id, 'concurrency', 9 FROM maas.plans;"
        "INSERT INTO maas.limits (scope, tenant_id, key_id, measure, amount, window_ms, burst) "
        "  SELECT 'key', tenant_id, id, 'units', 9, 1000, 9 FROM maas.api_keys LIMIT 1;"
        "INSERT INTO maas.limits (scope, deployment_id, measure, amount) "
        "  SELECT 'model', id, 'concurrency', 3 FROM maas.deployments;"
        "SELECT maas.quota_lease(gen_random_uuid(), 1, 1, id, "
        "  '00000000-0000-0000-0000-000000000000', 3, "
        "  (extract(epoch FROM now()) * 1000000)::bigint, NULL, 0, 5, 1) FROM maas.tenants "
        "  WHERE slug = 'acme';"
        "SELECT maas.usage_append(gen_random_uuid(), 0, 1, ARRAY[1], ARRAY[id], ARRAY[id], "
        "ARRAY[id], ARRAY[id], ARRAY[id], "
        "  '{1}', '{1}', '{1}', '{1}', '{1}', '{200}', '{1}') FROM maas.tenants;");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    pg_private_stop(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_run_does_nothing),
        cmocka_unit_test(a_failed_file_leaves_nothing_and_what_stood_before_it),
        cmocka_unit_test(a_changed_missing_or_late_file_is_an_error),
        cmocka_unit_test(no_login_role_is_superuser_owner_or_bypasses_row_security),
        cmocka_unit_test(every_table_with_a_tenant_forces_row_security),
        cmocka_unit_test(the_gateway_without_a_tenant_sees_no_row),
        cmocka_unit_test(a_tenant_sees_its_own_rows_only),
        cmocka_unit_test(functions_are_granted_by_name_and_definers_fix_their_path),
        cmocka_unit_test(the_login_roles_cannot_write_where_they_must_not),
        cmocka_unit_test(the_audit_chain_shows_a_changed_row),
        cmocka_unit_test(even_the_superuser_trips_over_the_append_only_trigger),
        cmocka_unit_test(every_cached_table_notes_its_changes),
        cmocka_unit_test(changes_become_visible_in_the_order_of_their_numbers),
        cmocka_unit_test(a_change_is_not_overtaken_between_its_number_and_its_commit),
        cmocka_unit_test(a_batch_sent_again_is_billed_once),
        cmocka_unit_test(a_batch_sent_again_after_its_cursor_was_lost_is_billed_once),
        cmocka_unit_test(a_rolled_back_batch_moves_no_cursor),
        cmocka_unit_test(a_mad_clock_neither_stops_billing_nor_makes_odd_partitions),
        cmocka_unit_test(nobody_deploys_another_tenants_model),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
