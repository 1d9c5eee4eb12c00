/*
 * migrate.c: the runner behind maas-migrate.
 *
 * Folder and table are read into one list with a state for each number; only a list of applied and
 * then pending files may run. The list is read again under the lock, so of two runners the second
 * finds nothing left to do. Digests are computed by the server, which spares this layer a
 * dependency.
 *
 * Rejected: down migrations. A step back is a new file, or a restored backup.
 */
#include "store/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  ((size_t)1 << 20)
#define FILES_MAX 9999
#define LOCK_NAME "'maas.migrate'"
#define MAKE_TABLE                                                                                 \
    "CREATE SCHEMA IF NOT EXISTS maas;"                                                            \
    "CREATE TABLE IF NOT EXISTS maas.schema_migrations ("                                          \
    " number integer PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL,"                      \
    " applied_at timestamptz NOT NULL DEFAULT now())"

void migrations_release(struct migrations *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->items[i].text);
    free(m->items);
    *m = (struct migrations){ 0 };
}

static maas_status add(struct migrations *m, unsigned number, const char *name,
                       struct migration **out, maas_error *error)
{
    if (m->count >= FILES_MAX || strlen(name) >= sizeof m->items->name)
        return fail(error, MAAS_E_INVALID, "too many migrations, or too long a name: \"%s\"", name);
    struct migration *items = reallocarray(m->items, m->count + 1, sizeof *items);
    if (!items)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for migrations");
    m->items = items;
    struct migration *item = &items[m->count++];
    *item = (struct migration){ .number = number, .state = MIGRATION_PENDING };
    memcpy(item->name, name, strlen(name) + 1);
    *out = item;
    return MAAS_OK;
}

/* ---- the folder */

/* "NNNN_name.sql" gives NNNN; anything else 0. */
static unsigned number_of(const char *name)
{
    size_t digits = strspn(name, "0123456789"), len = strlen(name);
    if (digits != 4 || name[4] != '_' || len < 10 || strcmp(name + len - 4, ".sql") != 0)
        return 0;
    return (unsigned)strtoul(name, NULL, 10);
}

static int is_migration(const struct dirent *entry)
{
    return number_of(entry->d_name) != 0;
}

static maas_status read_folder(const char *dir, struct migrations *m, maas_error *error)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_migration, alphasort);
    if (n < 0)
        return fail(error, MAAS_E_NOT_FOUND, "cannot read the folder \"%s\": %s", dir,
                    strerror(errno));
    maas_status status =
        n > 0 ? MAAS_OK : fail(error, MAAS_E_NOT_FOUND, "no migrations in \"%s\"", dir);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        struct migration *item = NULL;
        char path[PATH_MAX];
        size_t len = 0;
        int path_len = snprintf(path, sizeof path, "%s/%s", dir, name);
        if (status == MAAS_OK && (path_len < 0 || (size_t)path_len >= sizeof path))
            status = fail(error, MAAS_E_INVALID, "too long a path");
        if (status == MAAS_OK && m->count && m->items[m->count - 1].number == number_of(name))
            status = fail(error, MAAS_E_INVALID, "two migrations have the number of \"%s\"", name);
        if (status == MAAS_OK)
            status = add(m, number_of(name), name, &item, error);
        if (status == MAAS_OK)
            status = file_read(path, FILE_MAX, &item->text, &len, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static maas_status digest(struct sql *sql, struct migration *item, maas_error *error)
{
    struct sql_result *result = NULL;
    struct str text = str_of(item->text);
    maas_status status = sql_exec(sql, "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')",
                                  &text, 1, &result, error);
    if (status != MAAS_OK)
        return status;
    struct str hex = sql_cell(result, 0, 0);
    CHECK(hex.len == sizeof item->digest - 1);
    memcpy(item->digest, hex.data, hex.len);
    sql_result_free(result);
    return MAAS_OK;
}

/* ---- the table */

/* Compares one row of the table with the folder's list. */
static maas_status mark_applied(struct migrations *m, unsigned number, const char *name,
                                const char *hex, maas_error *error)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].number != number)
            continue;
        bool same = strcmp(m->items[i].digest, hex) == 0;
        m->items[i].state = same ? MIGRATION_APPLIED : MIGRATION_CHANGED;
        return MAAS_OK;
    }
    struct migration *item = NULL;
    maas_status status = add(m, number, name, &item, error);
    if (status != MAAS_OK)
        return status;
    item->state = MIGRATION_MISSING;
    snprintf(item->digest, sizeof item->digest, "%s", hex);
    return MAAS_OK;
}

static maas_status read_table(struct sql *sql, struct migrations *m, maas_error *error)
{
    struct sql_result *result = NULL;
    maas_status status = sql_exec(sql, "SELECT to_regclass('maas.schema_migrations') IS NOT NULL",
                                  NULL, 0, &result, error);
    if (status != MAAS_OK)
        return status;
    bool there = str_eq(sql_cell(result, 0, 0), STR("t"));
    sql_result_free(result);
    if (!there)
        return MAAS_OK;
    status = sql_exec(sql,
                      "SELECT number, name, encode(sha256, 'hex') FROM maas.schema_migrations "
                      "ORDER BY number",
                      NULL, 0, &result, error);
    if (status != MAAS_OK)
        return status;
    for (int row = 0; status == MAAS_OK && row < sql_rows(result); row++)
        status = mark_applied(m, (unsigned)strtoul(sql_cell(result, row, 0).data, NULL, 10),
                              sql_cell(result, row, 1).data, sql_cell(result, row, 2).data, error);
    sql_result_free(result);
    return status;
}

static int by_number(const void *a, const void *b)
{
    const struct migration *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Sorted; whoever waits below one that was applied came too late. */
static void order(struct migrations *m)
{
    qsort(m->items, m->count, sizeof *m->items, by_number);
    bool above = false;
    for (size_t i = m->count; i-- > 0;) {
        if (m->items[i].state != MIGRATION_PENDING)
            above = true;
        else if (above)
            m->items[i].state = MIGRATION_LATE;
    }
}

maas_status migrate_look(struct sql *sql, const char *dir, struct migrations *out,
                         maas_error *error)
{
    struct migrations m = { 0 };
    maas_status status = read_folder(dir, &m, error);
    for (size_t i = 0; status == MAAS_OK && i < m.count; i++)
        status = digest(sql, &m.items[i], error);
    if (status == MAAS_OK)
        status = read_table(sql, &m, error);
    if (status != MAAS_OK) {
        migrations_release(&m);
        return status;
    }
    order(&m);
    *out = m;
    return MAAS_OK;
}

/* ---- running */

static maas_status refuse(const struct migrations *m, maas_error *error)
{
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->items[i].name;
        switch (m->items[i].state) {
        case MIGRATION_CHANGED:
            return fail(error, MAAS_E_PRECONDITION,
                        "\"%s\" was applied and has changed since: write a new migration", name);
        case MIGRATION_MISSING:
            return fail(error, MAAS_E_PRECONDITION,
                        "\"%s\" was applied and its file is missing: this folder is too old", name);
        case MIGRATION_LATE:
            return fail(error, MAAS_E_PRECONDITION,
                        "\"%s\" is new but a higher number was applied: renumber it", name);
        case MIGRATION_APPLIED:
        case MIGRATION_PENDING:
            break;
        }
    }
    return MAAS_OK;
}

static maas_status record(struct sql *sql, const struct migration *item, maas_error *error)
{
    char number[16];
    snprintf(number, sizeof number, "%u", item->number);
    const struct str values[] = { str_of(number), str_of(item->name), str_of(item->digest) };
    return sql_exec(sql,
                    "INSERT INTO maas.schema_migrations (number, name, sha256) "
                    "VALUES ($1, $2, decode($3, 'hex'))",
                    values, COUNT_OF(values), NULL, error);
}

static maas_status apply(struct sql *sql, const struct migration *item, maas_error *error)
{
    maas_error reason = MAAS_ERROR_INIT;
    maas_status status = sql_begin(sql, NULL, &reason);
    if (status == MAAS_OK) {
        status = sql_script(sql, item->text, &reason);
        if (status == MAAS_OK)
            status = record(sql, item, &reason);
        if (status == MAAS_OK)
            status = sql_commit(sql, &reason);
        else
            sql_rollback(sql);
    }
    return status == MAAS_OK ? MAAS_OK : fail(error, status, "%s: %s", item->name, reason.text);
}

static maas_status run_locked(struct sql *sql, const char *dir, unsigned *out_applied,
                              maas_error *error)
{
    struct migrations m = { 0 };
    maas_status status = sql_script(sql, MAKE_TABLE, error);
    if (status == MAAS_OK)
        status = migrate_look(sql, dir, &m, error);
    if (status == MAAS_OK)
        status = refuse(&m, error);
    unsigned applied = 0;
    for (size_t i = 0; status == MAAS_OK && i < m.count; i++) {
        if (m.items[i].state != MIGRATION_PENDING)
            continue;
        status = apply(sql, &m.items[i], error);
        applied += status == MAAS_OK;
    }
    migrations_release(&m);
    if (status == MAAS_OK)
        *out_applied = applied;
    return status;
}

maas_status migrate_run(struct sql *sql, const char *dir, unsigned *out_applied, maas_error *error)
{
    maas_status status = sql_exec(
        sql, "SELECT pg_advisory_lock(hashtextextended(" LOCK_NAME ", 0))", NULL, 0, NULL, error);
    if (status != MAAS_OK)
        return status;
    uint64_t connects = sql_connects(sql);
    status = run_locked(sql, dir, out_applied, error);
    /* A lost connection has lost the lock with it. */
    if (sql_is_up(sql) && sql_connects(sql) == connects &&
        sql_exec(sql, "SELECT pg_advisory_unlock(hashtextextended(" LOCK_NAME ", 0))", NULL, 0,
                 NULL, NULL) != MAAS_OK)
        return status == MAAS_OK ? fail(error, MAAS_E_UNAVAILABLE, "lost the lock") : status;
    return status;
}
