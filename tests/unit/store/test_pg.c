/* test_pg.c: the pipelined connection on a loop, against a PostgreSQL that hangs, dies and moves.
 */
#include "store/pg.h"
#include "support/pg_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 400

static struct pg_private *server;

struct bench {
    struct loop *loop;
    struct pg *pg;
    struct timer give_up;
    unsigned answered, wanted;
    bool timed_out;
};

/* What one query came to. */
struct outcome {
    struct bench *bench;
    bool done;
    maas_status status;
    int rows, columns;
    char cell[80];
    bool null;
};

static void on_give_up(struct timer *timer)
{
    struct bench *bench = (struct bench *)(void *)((char *)timer - offsetof(struct bench, give_up));
    bench->timed_out = true;
    loop_stop(bench->loop);
}

static void bench_run(struct bench *bench, uint64_t ms)
{
    timer_start(bench->loop, &bench->give_up, ms);
    loop_run(bench->loop);
    timer_stop(&bench->give_up);
}

/* Turns the loop until so many queries were answered in all. */
static void bench_wait(struct bench *bench, unsigned wanted)
{
    bench->wanted = wanted;
    bench->timed_out = false;
    if (bench->answered < wanted)
        bench_run(bench, 5000);
    assert_false(bench->timed_out);
}

static struct bench *bench_new(const char *conninfo)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    bench->give_up.fire = on_give_up;
    assert_int_equal(loop_new(0, &bench->loop, NULL), MAAS_OK);
    assert_int_equal(pg_new(bench->loop, conninfo, TIMEOUT_MS, &bench->pg, NULL), MAAS_OK);
    return bench;
}

static struct bench *bench_as(const char *role)
{
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    return bench_new(pg_private_conninfo(server, role, conninfo));
}

static void bench_free(struct bench *bench)
{
    pg_free(bench->pg);
    loop_free(bench->loop);
    free(bench);
}

static void on_done(void *arg, maas_status status, const struct pg_result *result)
{
    struct outcome *o = arg;
    assert_false(o->done);
    assert_int_equal(result != NULL, status == MAAS_OK);
    o->done = true;
    o->status = status;
    if (result) {
        o->rows = result->rows;
        o->columns = result->columns;
    }
    if (result && result->rows > 0) {
        struct str cell = pg_cell(result, 0, 0);
        snprintf(o->cell, sizeof o->cell, "%.*s", (int)cell.len, cell.data);
        o->null = pg_is_null(result, 0, 0);
    }
    if (++o->bench->answered == o->bench->wanted)
        loop_stop(o->bench->loop);
}

static void ask(struct bench *bench, struct outcome *o, const char *sql, struct str value)
{
    *o = (struct outcome){ .bench = bench };
    pg_query(bench->pg, NULL, sql, &value, 1, on_done, o);
    assert_false(o->done); /* never from inside the call */
}

static const char echo[] = "SELECT $1::text";
static const char sleep_for[] = "SELECT pg_sleep($1::float8)";

static uint64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static void queries_wait_for_the_first_connection_and_come_back_in_order(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o[500];
    for (unsigned i = 0; i < COUNT_OF(o); i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        ask(bench, &o[i], echo, str_of(text));
    }
    bench_wait(bench, COUNT_OF(o));
    assert_true(pg_is_up(bench->pg));
    for (unsigned i = 0; i < COUNT_OF(o); i++) {
        assert_int_equal(o[i].status, MAAS_OK);
        assert_int_equal(strtol(o[i].cell, NULL, 10), i);
    }
    ask(bench, &o[0], echo, (struct str){ 0 });
    bench_wait(bench, COUNT_OF(o) + 1);
    assert_true(o[0].null && o[0].rows == 1 && o[0].columns == 1);
    bench_free(bench);
}

static void an_error_spoils_its_own_query_only(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o[6];
    ask(bench, &o[0], echo, STR("a"));
    ask(bench, &o[1], "SELECT nix FROM nothing WHERE a = $1", STR("b")); /* fails to prepare */
    ask(bench, &o[2], echo, STR("c"));
    ask(bench, &o[3], "SELECT 1 / $1::int", STR("0")); /* prepares, then fails */
    ask(bench, &o[4], "SELECT 1 / $1::int", STR("1"));
    ask(bench, &o[5], echo, STR("f"));
    bench_wait(bench, 6);
    assert_int_equal(o[1].status, MAAS_E_INTERNAL);
    assert_int_equal(o[3].status, MAAS_E_INTERNAL);
    assert_string_equal(o[0].cell, "a");
    assert_string_equal(o[2].cell, "c");
    assert_string_equal(o[4].cell, "1");
    assert_string_equal(o[5].cell, "f");
    pg_private_run(server,
                   "CREATE TABLE nothing (a text, nix int); INSERT INTO nothing VALUES ('b', 5)");
    ask(bench, &o[1], "SELECT nix FROM nothing WHERE a = $1", STR("b"));
    bench_wait(bench, 7);
    assert_string_equal(o[1].cell, "5"); /* prepared anew */
    pg_private_run(server, "DROP TABLE nothing");
    bench_free(bench);
}

static void the_tenant_of_a_query_is_gone_with_it(void **state)
{
    (void)state;
    static const char show[] = "SELECT coalesce(current_setting('maas.tenant', true), '') || $1";
    static const char fail_it[] = "SELECT current_setting('maas.tenant')::uuid, 1 / $1::int";
    struct bench *bench = bench_as("postgres");
    struct outcome with = { .bench = bench }, failed = { .bench = bench }, without;
    struct uuid tenant;
    uuid_random(&tenant);
    char text[UUID_TEXT_MAX];
    uuid_format(&tenant, text);
    pg_query(bench->pg, &tenant, show, &STR(""), 1, on_done, &with);
    pg_query(bench->pg, &tenant, fail_it, &STR("0"), 1, on_done, &failed);
    ask(bench, &without, show, STR(""));
    bench_wait(bench, 3);
    assert_string_equal(with.cell, text);
    assert_int_equal(failed.status, MAAS_E_INTERNAL);
    assert_int_equal(without.status, MAAS_OK);
    assert_string_equal(without.cell, "");
    bench_free(bench);
}

static void a_failed_statement_under_a_tenant_changes_nothing(void **state)
{
    (void)state;
    static const char change[] = "WITH w AS (INSERT INTO changed VALUES (1) RETURNING a) "
                                 "SELECT a / $1::int FROM w";
    pg_private_run(server, "CREATE TABLE changed (a int)");
    struct bench *bench = bench_as("postgres");
    struct outcome bad = { .bench = bench }, good = { .bench = bench };
    struct uuid tenant;
    uuid_random(&tenant);
    pg_query(bench->pg, &tenant, change, &STR("0"), 1, on_done, &bad);
    pg_query(bench->pg, &tenant, change, &STR("1"), 1, on_done, &good);
    bench_wait(bench, 2);
    assert_int_equal(bad.status, MAAS_E_INTERNAL);
    assert_int_equal(good.status, MAAS_OK);
    char *rows = pg_private_ask(server, "SELECT count(*) FROM changed");
    assert_string_equal(rows, "1");
    free(rows);
    bench_free(bench);
}

static void a_late_query_is_answered_at_its_deadline_and_the_connection_is_replaced(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o[3];
    ask(bench, &o[0], echo, STR("warm"));
    bench_wait(bench, 1);
    pg_private_freeze(server);
    uint64_t start = now_ms();
    ask(bench, &o[0], echo, STR("x"));
    ask(bench, &o[1], echo, STR("y"));
    bench_wait(bench, 3);
    assert_in_range(now_ms() - start, TIMEOUT_MS - 5, TIMEOUT_MS + 150);
    assert_int_equal(o[0].status, MAAS_E_DEADLINE);
    assert_int_equal(o[1].status, MAAS_E_DEADLINE);
    assert_false(pg_is_up(bench->pg));
    start = now_ms();
    ask(bench, &o[2], echo, STR("z")); /* it is known to be away: no second wait */
    bench_wait(bench, 4);
    assert_int_equal(o[2].status, MAAS_E_UNAVAILABLE);
    assert_in_range(now_ms() - start, 0, 50);
    pg_private_thaw(server);
    bench_run(bench, 1500);
    assert_true(pg_is_up(bench->pg));
    ask(bench, &o[2], echo, STR("z"));
    bench_wait(bench, 5);
    assert_string_equal(o[2].cell, "z");
    bench_free(bench);
}

static void the_server_cuts_off_a_long_statement(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o;
    ask(bench, &o, sleep_for, STR("5"));
    bench_wait(bench, 1);
    assert_int_equal(o.status, MAAS_E_DEADLINE);
    bench_free(bench);
}

static void a_killed_connection_fails_what_was_sent_and_comes_back(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o[2];
    ask(bench, &o[0], echo, STR("warm"));
    bench_wait(bench, 1);
    ask(bench, &o[0], sleep_for, STR("0.3"));
    ask(bench, &o[1], echo, STR("behind"));
    bench_run(bench, 50);
    pg_private_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()");
    bench_wait(bench, 3);
    assert_int_equal(o[0].status, MAAS_E_UNAVAILABLE);
    assert_int_equal(o[1].status, MAAS_E_UNAVAILABLE);
    bench_run(bench, 300);
    ask(bench, &o[0], echo, STR("again"));
    bench_wait(bench, 4);
    assert_string_equal(o[0].cell, "again");
    bench_free(bench);
}

static void it_reconnects_for_ever(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o;
    ask(bench, &o, echo, STR("a"));
    bench_wait(bench, 1);
    pg_private_down(server);
    bench_run(bench, 1200);
    assert_false(pg_is_up(bench->pg));
    ask(bench, &o, echo, STR("b"));
    bench_wait(bench, 2);
    assert_int_equal(o.status, MAAS_E_UNAVAILABLE);
    pg_private_up(server);
    bench_run(bench, 1500);
    assert_true(pg_is_up(bench->pg));
    bench_free(bench);
}

static void more_than_the_queue_holds_is_refused(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome *o = calloc(1100, sizeof *o);
    assert_non_null(o);
    for (unsigned i = 0; i < 1100; i++)
        ask(bench, &o[i], echo, STR("x"));
    bench_wait(bench, 1100);
    unsigned ok = 0, full = 0;
    for (unsigned i = 0; i < 1100; i++) {
        ok += o[i].status == MAAS_OK;
        full += o[i].status == MAAS_E_EXHAUSTED;
    }
    assert_int_equal(ok, 1024);
    assert_int_equal(full, 76);
    free(o);
    bench_free(bench);
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void several_hosts_work_without_spinning(void **state)
{
    (void)state;
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    snprintf(conninfo, sizeof conninfo, "host=/nonexistent,%s dbname=maas user=postgres",
             pg_private_dir(server));
    struct bench *bench = bench_new(conninfo);
    struct outcome o;
    ask(bench, &o, echo, STR("a"));
    bench_wait(bench, 1);
    assert_string_equal(o.cell, "a");
    double before = cpu_seconds();
    bench_run(bench, 500);
    assert_true(cpu_seconds() - before < 0.1);
    bench_free(bench);
}

static void a_second_host_takes_over_when_the_first_hangs(void **state)
{
    (void)state;
    struct pg_private *other = pg_private_start();
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    snprintf(conninfo, sizeof conninfo, "host=%s,%s dbname=maas user=postgres",
             pg_private_dir(server), pg_private_dir(other));
    pg_private_freeze(server);
    struct bench *bench = bench_new(conninfo);
    bench_run(bench, TIMEOUT_MS + 500);
    assert_true(pg_is_up(bench->pg));
    pg_private_thaw(server);
    bench_free(bench);
    pg_private_stop(other);
}

/* A callback that asks again, and one that is told at the end. */
static void ask_again(void *arg, maas_status status, const struct pg_result *result)
{
    struct outcome *o = arg;
    bool first = !o->done;
    o->done = false;
    on_done(o, status, result);
    if (first)
        pg_query(o->bench->pg, NULL, echo, &STR("again"), 1, ask_again, o);
}

static void a_callback_may_ask_again_and_the_end_tells_who_waits(void **state)
{
    (void)state;
    struct bench *bench = bench_as("postgres");
    struct outcome o = { .bench = bench }, waiting;
    pg_query(bench->pg, NULL, echo, &STR("once"), 1, ask_again, &o);
    bench_wait(bench, 2);
    assert_string_equal(o.cell, "again");
    ask(bench, &waiting, sleep_for, STR("1"));
    struct outcome *told = &waiting;
    pg_free(bench->pg);
    bench->pg = NULL;
    assert_true(told->done);
    assert_int_equal(told->status, MAAS_E_UNAVAILABLE);
    bench_free(bench);
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
        cmocka_unit_test(queries_wait_for_the_first_connection_and_come_back_in_order),
        cmocka_unit_test(an_error_spoils_its_own_query_only),
        cmocka_unit_test(the_tenant_of_a_query_is_gone_with_it),
        cmocka_unit_test(a_failed_statement_under_a_tenant_changes_nothing),
        cmocka_unit_test(a_late_query_is_answered_at_its_deadline_and_the_connection_is_replaced),
        cmocka_unit_test(the_server_cuts_off_a_long_statement),
        cmocka_unit_test(a_killed_connection_fails_what_was_sent_and_comes_back),
        cmocka_unit_test(it_reconnects_for_ever),
        cmocka_unit_test(more_than_the_queue_holds_is_refused),
        cmocka_unit_test(several_hosts_work_without_spinning),
        cmocka_unit_test(a_second_host_takes_over_when_the_first_hangs),
        cmocka_unit_test(a_callback_may_ask_again_and_the_end_tells_who_waits),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
