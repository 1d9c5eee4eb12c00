/*
 * migrate_main.c: maas-migrate, the command that applies migrations/ to a database.
 * Exit codes: 0 done, 1 failed, 2 wrong usage.
 */
#include "store/migrate.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define CALL_TIMEOUT_MS 600000 /* one migration, or the wait for another runner */

static int usage(void)
{
    fputs("usage: maas-migrate --conninfo ADDRESS --dir FOLDER [--status]\n"
          "  --conninfo  libpq address of the database, as a superuser of its cluster\n"
          "  --dir       folder of the NNNN_name.sql files\n"
          "  --status    list the files and what became of them; 0 when all are applied\n",
          stderr);
    return 2;
}

static int failed(const maas_error *error)
{
    fprintf(stderr, "maas-migrate: %s\n", error->text);
    return 1;
}

static int show(struct sql *sql, const char *dir)
{
    static const char *const words[] = {
        [MIGRATION_APPLIED] = "applied", [MIGRATION_PENDING] = "pending",
        [MIGRATION_CHANGED] = "changed", [MIGRATION_MISSING] = "missing",
        [MIGRATION_LATE] = "late",
    };
    maas_error error = MAAS_ERROR_INIT;
    struct migrations m = { 0 };
    if (migrate_look(sql, dir, &m, &error) != MAAS_OK)
        return failed(&error);
    bool all = true;
    for (size_t i = 0; i < m.count; i++) {
        printf("%s %s\n", words[m.items[i].state], m.items[i].name);
        all = all && m.items[i].state == MIGRATION_APPLIED;
    }
    migrations_release(&m);
    return all ? 0 : 1;
}

static int run(struct sql *sql, const char *dir)
{
    maas_error error = MAAS_ERROR_INIT;
    unsigned applied = 0;
    if (migrate_run(sql, dir, &applied, &error) != MAAS_OK)
        return failed(&error);
    printf("%u applied\n", applied);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "conninfo", required_argument, NULL, 'c' },
        { "dir", required_argument, NULL, 'd' },
        { "status", no_argument, NULL, 's' },
        { 0 },
    };
    const char *conninfo = NULL, *dir = NULL;
    bool status = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'c')
            conninfo = optarg;
        else if (c == 'd')
            dir = optarg;
        else if (c == 's')
            status = true;
        else
            return usage();
    }
    if (!conninfo || !dir || optind != argc)
        return usage();
    maas_error error = MAAS_ERROR_INIT;
    struct sql *sql = NULL;
    if (sql_open(conninfo, CALL_TIMEOUT_MS, &sql, &error) != MAAS_OK)
        return failed(&error);
    int code = status ? show(sql, dir) : run(sql, dir);
    sql_close(sql);
    return code;
}
