/* test_sql.c: the blocking connection, against a PostgreSQL that is stopped, killed and frozen. */
#include "store/sql.h"
#include "support/pg_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 700

static struct pg_private *server;

static struct sql *open_sql(void)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct sql *sql = NULL;
    assert_int_equal(
        sql_open(pg_private_conninfo(server, "postgres", conninfo), TIMEOUT_MS, &sql, NULL),
        MAAS_OK);
    return sql;
}

static maas_status run(struct sql *sql, const char *statement)
{
    return sql_exec(sql, statement, NULL, 0, NULL, NULL);
}

static uint64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static void a_statement_with_parameters_gives_its_rows(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    struct sql_result *result = NULL;
    /* not NUL-terminated on purpose */
    const struct str values[] = { { "41xx", 2 }, { NULL, 0 }, STR("h\xc3\xa9") };
    assert_int_equal(sql_exec(sql,
                              "SELECT $1::int + 1, $2::text, $3::text UNION ALL SELECT 7, 'x', ''",
                              values, 3, &result, NULL),
                     MAAS_OK);
    assert_int_equal(sql_rows(result), 2);
    assert_true(str_eq(sql_cell(result, 0, 0), STR("42")));
    assert_true(sql_is_null(result, 0, 1));
    assert_true(str_eq(sql_cell(result, 0, 2), STR("h\xc3\xa9")));
    assert_false(sql_is_null(result, 1, 2));
    sql_result_free(result);
    assert_true(sql_is_up(sql));
    sql_close(sql);
}

static void binary_parameters_and_bytea_cells_cross_unchanged(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    uint8_t bytes[256], *back = NULL;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    const struct sql_param param = { .type_oid = 17,
                                     .binary = true,
                                     .value = { (char *)bytes, 256 } };
    struct sql_result *result = NULL;
    size_t len = 0;
    assert_int_equal(sql_exec_params(sql, "SELECT $1, 'text'", &param, 1, &result, NULL), MAAS_OK);
    assert_int_equal(sql_cell_bytes(result, 0, 0, &back, &len), MAAS_OK);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(back, bytes, sizeof bytes);
    free(back);
    assert_int_equal(sql_cell_bytes(result, 0, 1, &back, &len), MAAS_E_INVALID);
    sql_result_free(result);
    const struct str zero = { "a\0b", 3 };
    assert_int_equal(sql_exec(sql, "SELECT $1::text", &zero, 1, NULL, NULL), MAAS_E_INVALID);
    sql_close(sql);
}

static void the_servers_errors_become_statuses(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    assert_int_equal(run(sql, "CREATE TABLE t (a int PRIMARY KEY CHECK (a > 0))"), MAAS_OK);
    assert_int_equal(run(sql, "INSERT INTO t VALUES (1)"), MAAS_OK);
    assert_int_equal(run(sql, "INSERT INTO t VALUES (1)"), MAAS_E_EXISTS);
    assert_int_equal(run(sql, "INSERT INTO t VALUES (0)"), MAAS_E_PRECONDITION);
    assert_int_equal(run(sql, "INSERT INTO t VALUES ('x')"), MAAS_E_INVALID);
    assert_int_equal(run(sql, "SELECT 1 FROM nix"), MAAS_E_INTERNAL);
    assert_int_equal(run(sql, "COPY t TO STDOUT"), MAAS_E_UNIMPLEMENTED);
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(sql_script(sql, "SELECT 1;\n\nSELECT nix;", &error), MAAS_E_INTERNAL);
    assert_string_equal(error.text, "line 3: column \"nix\" does not exist");
    assert_int_equal(run(sql, "SET ROLE pg_monitor"), MAAS_OK);
    assert_int_equal(run(sql, "INSERT INTO t VALUES (2)"), MAAS_E_DENIED);
    sql_close(sql);
}

static void a_statement_that_takes_too_long_is_cut_off(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    uint64_t start = now_ms();
    maas_status status = run(sql, "SELECT pg_sleep(5)");
    assert_true(status == MAAS_E_DEADLINE || status == MAAS_E_UNAVAILABLE);
    assert_in_range(now_ms() - start, TIMEOUT_MS - 100, TIMEOUT_MS + 300);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    sql_close(sql);
}

static void a_frozen_server_costs_one_timeout(void **state)
{
    (void)state;
    struct sql *sql = open_sql(), *fresh = open_sql();
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    pg_private_freeze(server);
    uint64_t start = now_ms();
    assert_int_equal(run(sql, "SELECT 1"), MAAS_E_UNAVAILABLE);
    assert_false(sql_is_up(sql));
    assert_int_equal(run(fresh, "SELECT 1"), MAAS_E_UNAVAILABLE); /* hangs in the connect */
    assert_in_range(now_ms() - start, 2 * TIMEOUT_MS - 100, 2 * TIMEOUT_MS + 400);
    pg_private_thaw(server);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    assert_int_equal(run(fresh, "SELECT 1"), MAAS_OK);
    sql_close(sql);
    sql_close(fresh);
}

static void the_second_host_is_reached_when_the_first_hangs(void **state)
{
    (void)state;
    struct pg_private *other = pg_private_start();
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct sql *sql = NULL;
    snprintf(conninfo, sizeof conninfo, "host=%s,%s dbname=maas user=postgres",
             pg_private_dir(server), pg_private_dir(other));
    assert_int_equal(sql_open(conninfo, TIMEOUT_MS, &sql, NULL), MAAS_OK);
    pg_private_freeze(server);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_E_UNAVAILABLE);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    pg_private_thaw(server);
    sql_close(sql);
    pg_private_stop(other);
}

static void a_connection_killed_while_idle_is_replaced_unseen(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    assert_int_equal(sql_connects(sql), 1);
    pg_private_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    usleep(100000);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    assert_int_equal(sql_connects(sql), 2);
    sql_close(sql);
}

static void a_lost_transaction_is_not_continued_outside_of_it(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    assert_int_equal(run(sql, "CREATE TABLE lost (a int)"), MAAS_OK);
    assert_int_equal(sql_begin(sql, NULL, NULL), MAAS_OK);
    pg_private_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    usleep(100000);
    assert_int_equal(run(sql, "INSERT INTO lost VALUES (1)"), MAAS_E_UNAVAILABLE);
    assert_int_equal(run(sql, "INSERT INTO lost VALUES (2)"), MAAS_E_UNAVAILABLE);
    assert_int_equal(sql_commit(sql, NULL), MAAS_E_UNAVAILABLE);
    assert_int_equal(run(sql, "INSERT INTO lost VALUES (3)"), MAAS_OK);
    char *rows = pg_private_ask(server, "SELECT string_agg(a::text, ',') FROM lost");
    assert_string_equal(rows, "3");
    free(rows);
    sql_close(sql);
}

static void a_transaction_with_a_failed_statement_does_not_commit(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    assert_int_equal(run(sql, "CREATE TABLE half (a int)"), MAAS_OK);
    assert_int_equal(sql_begin(sql, NULL, NULL), MAAS_OK);
    assert_int_equal(run(sql, "INSERT INTO half VALUES (1)"), MAAS_OK);
    assert_int_equal(run(sql, "INSERT INTO half VALUES ('x')"), MAAS_E_INVALID);
    assert_int_equal(sql_commit(sql, NULL), MAAS_E_ABORTED);
    struct uuid tenant;
    uuid_random(&tenant);
    char text[UUID_TEXT_MAX];
    uuid_format(&tenant, text);
    assert_int_equal(sql_begin(sql, &tenant, NULL), MAAS_OK);
    struct sql_result *result = NULL;
    assert_int_equal(sql_exec(sql, "SELECT current_setting('maas.tenant'), count(*) FROM half",
                              NULL, 0, &result, NULL),
                     MAAS_OK);
    assert_true(str_eq(sql_cell(result, 0, 0), str_of(text)));
    assert_true(str_eq(sql_cell(result, 0, 1), STR("0")));
    sql_result_free(result);
    assert_int_equal(sql_commit(sql, NULL), MAAS_OK);
    sql_close(sql);
}

static void a_notification_ends_the_wait_and_so_does_the_wake_descriptor(void **state)
{
    (void)state;
    struct sql *sql = open_sql();
    int wake[2];
    assert_int_equal(pipe(wake), 0);
    assert_int_equal(sql_wait_notify(sql, -1, 10), -1); /* not connected yet */
    assert_int_equal(run(sql, "LISTEN news"), MAAS_OK);
    assert_int_equal(sql_wait_notify(sql, wake[0], 20), 0);
    pg_private_run(server, "NOTIFY news; NOTIFY news, 'x'");
    assert_int_equal(sql_wait_notify(sql, wake[0], 2000), 1);
    assert_int_equal(sql_wait_notify(sql, wake[0], 20), 0);
    assert_int_equal(write(wake[1], "x", 1), 1);
    uint64_t start = now_ms();
    assert_int_equal(sql_wait_notify(sql, wake[0], 2000), 0);
    assert_in_range(now_ms() - start, 0, 200);
    pg_private_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    assert_int_equal(sql_wait_notify(sql, -1, 2000), -1);
    close(wake[0]);
    close(wake[1]);
    sql_close(sql);
}

static void a_bad_address_is_refused_and_a_stopped_server_is_away(void **state)
{
    (void)state;
    struct sql *sql = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(sql_open("hst=nowhere", 100, &sql, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "hst"));
    sql = open_sql();
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    pg_private_down(server);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_E_UNAVAILABLE);
    pg_private_up(server);
    assert_int_equal(run(sql, "SELECT 1"), MAAS_OK);
    sql_close(sql);
}

static int start(void **state)
{
    (void)state;
    server = pg_private_start();
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
        cmocka_unit_test(a_statement_with_parameters_gives_its_rows),
        cmocka_unit_test(binary_parameters_and_bytea_cells_cross_unchanged),
        cmocka_unit_test(the_servers_errors_become_statuses),
        cmocka_unit_test(a_statement_that_takes_too_long_is_cut_off),
        cmocka_unit_test(a_frozen_server_costs_one_timeout),
        cmocka_unit_test(the_second_host_is_reached_when_the_first_hangs),
        cmocka_unit_test(a_connection_killed_while_idle_is_replaced_unseen),
        cmocka_unit_test(a_lost_transaction_is_not_continued_outside_of_it),
        cmocka_unit_test(a_transaction_with_a_failed_statement_does_not_commit),
        cmocka_unit_test(a_notification_ends_the_wait_and_so_does_the_wake_descriptor),
        cmocka_unit_test(a_bad_address_is_refused_and_a_stopped_server_is_away),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
