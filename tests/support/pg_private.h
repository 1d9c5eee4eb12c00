/*
 * pg_private.h: a PostgreSQL of the test's own: data and socket in a short temporary folder, no
 * network, trust for everybody, gone with the test (it is killed when the test dies). Whatever goes
 * wrong here ends the test program. [any, one owner]
 *
 * PostgreSQL refuses to run as root: then it runs as the user postgres, whom Debian's package
 * makes.
 */
#ifndef MAAS_TESTS_PG_PRIVATE_H
#define MAAS_TESTS_PG_PRIVATE_H

#include "store/sql.h"

struct pg_private;

/* Started, with an empty database "maas"; about 2 s. */
struct pg_private *pg_private_start(void);
void pg_private_stop(struct pg_private *pg); /* and removes the folder */

void pg_private_migrate(struct pg_private *pg); /* applies migrations/ */

/* "host=… dbname=maas user=<role>"; "postgres" is the superuser. */
#define PG_PRIVATE_CONNINFO_MAX 160
const char *pg_private_conninfo(const struct pg_private *pg, const char *role,
                                char out[PG_PRIVATE_CONNINFO_MAX]);
const char *pg_private_dir(const struct pg_private *pg);

/* A crash and the start after it. */
void pg_private_down(struct pg_private *pg);
void pg_private_up(struct pg_private *pg);

/* SIGSTOP and SIGCONT for the server and all its processes: it hangs. */
void pg_private_freeze(struct pg_private *pg);
void pg_private_thaw(struct pg_private *pg);

/* Runs statements as the superuser. */
void pg_private_run(struct pg_private *pg, const char *script);
/* The first cell of the first row as text, "" for NULL or no row; malloc'ed. */
char *pg_private_ask(struct pg_private *pg, const char *statement);

#endif
