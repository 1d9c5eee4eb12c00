/*
 * migrate.h: applies the numbered SQL files of a folder to a database, in order, once. [control]
 *
 * Forward only: see docs/database.md for the rules of a file. The connection must be a superuser's.
 */
#ifndef MAAS_STORE_MIGRATE_H
#define MAAS_STORE_MIGRATE_H

#include "store/sql.h"

enum migration_state {
    MIGRATION_APPLIED,
    MIGRATION_PENDING,
    MIGRATION_CHANGED, /* applied, and the file is not what it was */
    MIGRATION_MISSING, /* applied, and there is no such file */
    MIGRATION_LATE,    /* not applied, but a higher number is */
};

struct migration {
    unsigned number;
    char name[128];  /* of the file, "0001_roles.sql" */
    char digest[65]; /* SHA-256 of the file (of what was applied, when the file is missing) */
    enum migration_state state;
    char *text; /* NULL when the file is missing */
};

struct migrations {
    struct migration *items; /* by number */
    size_t count;
};
void migrations_release(struct migrations *m);

/* What the folder and the database say of each file. A database never migrated has all pending. */
maas_status MUST_USE migrate_look(struct sql *sql, const char *dir, struct migrations *out,
                                  maas_error *error);

/*
 * Applies what is pending under an advisory lock, each file in its transaction, and says how many
 * were. MAAS_E_PRECONDITION, with nothing applied, when a file is changed, missing or late; the
 * server's error names the file and line that failed, and what stood before it stays applied.
 */
maas_status MUST_USE migrate_run(struct sql *sql, const char *dir, unsigned *out_applied,
                                 maas_error *error);

#endif
