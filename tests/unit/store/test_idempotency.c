/*
 * test_idempotency.c: the functions of requests that are done once: who may begin, who may finish,
 * and what happens when two transactions meet at a row.
 */
#include "store/sql.h"
#include "support/pg_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A      "'11111111-1111-4111-8111-111111111111'::uuid" /* gateways */
#define B      "'22222222-2222-4222-8222-222222222222'::uuid"
#define TENANT "'33333333-3333-4333-8333-333333333333'::uuid"
#define TRY(n) "'aaaaaaaa-0000-4000-8000-00000000000" #n "'::uuid"

static struct pg_private *server;
static struct sql *gateway, *other;

static struct sql *open_as(const char *role)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct sql *sql = NULL;
    assert_int_equal(sql_open(pg_private_conninfo(server, role, conninfo), 5000, &sql, NULL),
                     MAAS_OK);
    return sql;
}

static void says(struct sql *sql, const char *statement, const char *expected)
{
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (sql_exec(sql, statement, NULL, 0, &result, &error))
        fail_msg("%s: %s", statement, error.text);
    if (strcmp(sql_cell(result, 0, 0).data, expected) != 0)
        print_message("%s\n", statement);
    assert_string_equal(sql_cell(result, 0, 0).data, expected);
    sql_result_free(result);
}

static void super(const char *statement, const char *expected)
{
    char *got = pg_private_ask(server, statement);
    if (strcmp(got, expected) != 0)
        print_message("%s\n", statement);
    assert_string_equal(got, expected);
    free(got);
}

static void begin(struct sql *sql, char key, const char *owner, const char *try, char print,
                  const char *expected)
{
    char text[512];
    snprintf(text, sizeof(text),
             "SELECT verdict FROM maas.idempotency_begin(sha256('%c'), " TENANT ","
             " sha256('%c'), %s, %s, 60000)",
             key, print, owner, try);
    says(sql, text, expected);
}

static void finish_as(const char *tenant, char key, const char *owner, const char *try, int seq,
                      const char *expected, struct sql *sql)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "SELECT maas.idempotency_finish(sha256('%c'), %s, %s, 200, 'sealed', -1, %d,"
             " (extract(epoch FROM now()) * 1000000)::bigint, %s, gen_random_uuid(),"
             " gen_random_uuid(), gen_random_uuid(), 1, 1, 1, 1, 1, 0,"
             " (extract(epoch FROM now()) * 1000000)::bigint)",
             key, owner, try, seq, tenant);
    says(sql, text, expected);
}

static void finish(struct sql *sql, char key, const char *owner, const char *try, int seq,
                   const char *expected)
{
    finish_as(TENANT, key, owner, try, seq, expected, sql);
}

static const char bills[] = "SELECT count(*) FROM maas.usage_events WHERE request_id = ";

static void a_request_is_begun_once_and_finished_once(void **state)
{
    (void)state;
    begin(gateway, 'a', A, TRY(1), 'x', "begun");
    begin(other, 'a', B, TRY(2), 'x', "running");
    begin(other, 'a', B, TRY(2), 'y', "reused");
    finish_as("gen_random_uuid()", 'a', A, TRY(1), 1, "lost", gateway);
    finish(other, 'a', B, TRY(1), 1, "lost");
    finish(other, 'a', A, TRY(2), 1, "lost");
    finish(gateway, 'a', A, TRY(1), 1, "done");
    finish(gateway, 'a', A, TRY(1), 1, "done"); /* again, after a doubt */
    begin(other, 'a', B, TRY(2), 'x', "done");
    begin(other, 'a', B, TRY(2), 'y', "reused");
    says(gateway, "SELECT maas.idempotency_release(sha256('a'), " TRY(1) ")", "");
    begin(other, 'a', B, TRY(2), 'x', "done");
    char text[256];
    snprintf(text, sizeof(text), "%s%s", bills, TRY(1));
    super(text, "1");
}

static void what_was_taken_over_cannot_be_finished_or_released_by_the_first(void **state)
{
    (void)state;
    begin(gateway, 'b', A, TRY(3), 'x', "begun");
    super("SELECT count(*) FROM maas.gateways", "0"); /* unheard, but young */
    begin(other, 'b', B, TRY(4), 'x', "running");
    super("WITH u AS (UPDATE maas.idempotency SET started_at = now() - interval '11 s'"
          " WHERE scope = sha256('b') RETURNING 1) SELECT count(*) FROM u",
          "1");
    says(gateway, "SELECT maas.gateway_heard(" A ")", "");
    begin(other, 'b', B, TRY(4), 'x', "running");
    super("WITH u AS (UPDATE maas.gateways SET heard_at = now() - interval '11 s' RETURNING 1)"
          " SELECT count(*) FROM u",
          "1");
    begin(other, 'b', B, TRY(4), 'x', "begun");
    finish(gateway, 'b', A, TRY(3), 2, "lost");
    says(gateway, "SELECT maas.idempotency_release(sha256('b'), " TRY(3) ")", "");
    finish(other, 'b', B, TRY(4), 2, "done");
    super("SELECT count(*) FROM maas.usage_events WHERE request_id IN (" TRY(3) ", " TRY(4) ")",
          "1");
}

static void the_dead_stay_dead_and_lose_their_rows_at_once(void **state)
{
    (void)state;
    says(gateway, "SELECT maas.gateway_heard(" A ")", "");
    begin(gateway, 'c', A, TRY(5), 'x', "begun");
    begin(other, 'c', B, TRY(6), 'x', "running");
    says(other, "SELECT maas.gateway_gone(" A ")", "");
    says(gateway, "SELECT maas.gateway_heard(" A ")", "");
    begin(other, 'c', B, TRY(6), 'y', "begun"); /* and for another request */
}

static void a_locked_row_is_waited_for_by_nobody(void **state)
{
    (void)state;
    begin(gateway, 'd', A, TRY(7), 'x', "begun");
    assert_int_equal(sql_begin(gateway, NULL, NULL), MAAS_OK);
    finish(gateway, 'd', A, TRY(7), 3, "done"); /* not committed */
    begin(other, 'd', B, TRY(8), 'x', "running");
    finish(other, 'd', A, TRY(7), 3, "wait");
    finish(other, 'd', B, TRY(8), 3, "lost");
    assert_int_equal(sql_commit(gateway, NULL), MAAS_OK);
    finish(other, 'd', A, TRY(7), 3, "done");
    super("SELECT count(*) FROM maas.usage_events WHERE request_id = " TRY(7), "1");
}

static void what_expired_is_absent_and_is_removed_later(void **state)
{
    (void)state;
    super("SELECT count(*) FROM maas.idempotency WHERE scope = sha256('a') AND state = 'done'",
          "1");
    says(gateway, "SELECT maas.idempotency_purge(100)", "0");
    free(pg_private_ask(server,
                        "UPDATE maas.idempotency SET expires_at = now() - interval '2 min'"));
    begin(gateway, 'a', A, TRY(9), 'z', "begun");
    says(gateway, "SELECT maas.idempotency_purge(2)", "2");
    says(gateway, "SELECT maas.idempotency_purge(100) > 0", "t");
    super("SELECT count(*) FROM maas.idempotency", "1");
    says(gateway, "SELECT maas.idempotency_release(sha256('a'), " TRY(9) ")", "");
    super("SELECT count(*) FROM maas.idempotency", "0");
}

static void no_role_reads_the_rows_of_tenants(void **state)
{
    (void)state;
    struct sql *admin = open_as("maas_admin");
    begin(gateway, 'e', A, TRY(1), 'x', "begun");
    assert_int_equal(sql_exec(gateway, "SELECT 1 FROM maas.idempotency", NULL, 0, NULL, NULL),
                     MAAS_E_DENIED);
    assert_int_equal(sql_exec(gateway, "SELECT 1 FROM maas.gateways", NULL, 0, NULL, NULL),
                     MAAS_E_DENIED);
    says(admin, "SELECT count(*) FROM maas.idempotency", "0");
    assert_int_equal(
        sql_exec(
            admin,
            "INSERT INTO maas.idempotency (scope, tenant_id, fingerprint, state, owner, attempt,"
            " expires_at) VALUES (sha256('f'), gen_random_uuid(), sha256('f'), 'running', " A ", " A
            ", now())",
            NULL, 0, NULL, NULL),
        MAAS_E_DENIED);
    sql_close(admin);
}

static int group_setup(void **state)
{
    (void)state;
    server = pg_private_start();
    pg_private_migrate(server);
    gateway = open_as("maas_gateway");
    other = open_as("maas_gateway");
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    sql_close(gateway);
    sql_close(other);
    pg_private_stop(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_begun_once_and_finished_once),
        cmocka_unit_test(what_was_taken_over_cannot_be_finished_or_released_by_the_first),
        cmocka_unit_test(the_dead_stay_dead_and_lose_their_rows_at_once),
        cmocka_unit_test(a_locked_row_is_waited_for_by_nobody),
        cmocka_unit_test(what_expired_is_absent_and_is_removed_later),
        cmocka_unit_test(no_role_reads_the_rows_of_tenants),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
