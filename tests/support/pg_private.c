/*
 * pg_private.c: starts, crashes, freezes and removes a PostgreSQL for one test program.
 *
 * setpriv (util-linux) changes the user and asks for a signal at our death in one step, so nothing
 * has to run between fork and exec and no server outlives a test that crashed.
 */
#include "support/pg_private.h"

#include "store/migrate.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct pg_private {
    char dir[64];
    char bin[128];
    pid_t server; /* 0: not running */
    struct sql *super;
};

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "private PostgreSQL: %s: %s\n", what, why);
    abort();
}

static pid_t spawn(const struct pg_private *pg, const char *const *words)
{
    const char *argv[32] = { "setpriv", "--pdeathsig", "QUIT" };
    size_t n = 3;
    if (geteuid() == 0) {
        argv[n++] = "--reuid=postgres";
        argv[n++] = "--regid=postgres";
        argv[n++] = "--init-groups";
    }
    argv[n++] = "--";
    for (; *words && n < COUNT_OF(argv) - 1; words++)
        argv[n++] = *words;
    char log[128];
    snprintf(log, sizeof log, "%s/log", pg->dir);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid = 0;
    char *words_of_spawn[COUNT_OF(argv)];
    memcpy(words_of_spawn, argv, sizeof argv);
    if (posix_spawnp(&pid, "setpriv", &actions, NULL, words_of_spawn, environ) != 0)
        give_up("spawn", words[0]);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void make_folder(struct pg_private *pg)
{
    snprintf(pg->dir, sizeof pg->dir, "/tmp/maas-pg-XXXXXX");
    if (!mkdtemp(pg->dir))
        give_up("mkdtemp", pg->dir);
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (geteuid() == 0 && (!user || chown(pg->dir, user->pw_uid, user->pw_gid) != 0))
        give_up("chown", "is there a user postgres?");
}

static void find_programs(struct pg_private *pg)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) != 0 || found.gl_pathc == 0)
        give_up("not installed", "/usr/lib/postgresql/*/bin");
    const char *newest = found.gl_pathv[found.gl_pathc - 1];
    snprintf(pg->bin, sizeof pg->bin, "%.*s", (int)(strrchr(newest, '/') - newest), newest);
    globfree(&found);
}

static void init_cluster(const struct pg_private *pg)
{
    char program[160], data[80];
    snprintf(program, sizeof program, "%s/initdb", pg->bin);
    snprintf(data, sizeof data, "%s/data", pg->dir);
    const char *const words[] = { program,
                                  "-N",
                                  "-D",
                                  data,
                                  "-U",
                                  "postgres",
                                  "-A",
                                  "trust",
                                  "-E",
                                  "UTF8",
                                  "--locale=C.UTF-8",
                                  NULL };
    int status = 0;
    if (waitpid(spawn(pg, words), &status, 0) < 0 || status != 0)
        give_up("initdb", "see the log in its folder");
}

void pg_private_up(struct pg_private *pg)
{
    CHECK(pg->server == 0);
    char program[160], data[80], sockets[120];
    snprintf(program, sizeof program, "%s/postgres", pg->bin);
    snprintf(data, sizeof data, "%s/data", pg->dir);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", pg->dir);
    const char *const words[] = { program,
                                  "-D",
                                  data,
                                  "-c",
                                  "listen_addresses=",
                                  "-c",
                                  sockets,
                                  "-c",
                                  "fsync=off",
                                  "-c",
                                  "shared_buffers=16MB",
                                  "-c",
                                  "max_connections=60",
                                  NULL };
    pg->server = spawn(pg, words);
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    snprintf(conninfo, sizeof conninfo, "host=%s dbname=postgres user=postgres", pg->dir);
    struct sql *sql = NULL;
    if (sql_open(conninfo, 1000, &sql, NULL) != MAAS_OK)
        give_up("address", conninfo);
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = MAAS_E_UNAVAILABLE;
    for (int i = 0; i < 600 && status != MAAS_OK; i++) {
        if (i > 0)
            usleep(50000);
        status = sql_exec(sql, "SELECT 1", NULL, 0, NULL, &error);
    }
    sql_close(sql);
    if (status != MAAS_OK)
        give_up("start", error.text);
}

struct pg_private *pg_private_start(void)
{
    struct pg_private *pg = calloc(1, sizeof *pg);
    CHECK(pg);
    find_programs(pg);
    make_folder(pg);
    init_cluster(pg);
    pg_private_up(pg);
    char conninfo[PG_PRIVATE_CONNINFO_MAX];
    struct sql *sql = NULL;
    snprintf(conninfo, sizeof conninfo, "host=%s dbname=postgres user=postgres", pg->dir);
    CHECK(sql_open(conninfo, 20000, &sql, NULL) == MAAS_OK);
    CHECK(sql_exec(sql, "CREATE DATABASE maas", NULL, 0, NULL, NULL) == MAAS_OK);
    sql_close(sql);
    CHECK(sql_open(pg_private_conninfo(pg, "postgres", conninfo), 20000, &pg->super, NULL) ==
          MAAS_OK);
    return pg;
}

const char *pg_private_dir(const struct pg_private *pg)
{
    return pg->dir;
}

const char *pg_private_conninfo(const struct pg_private *pg, const char *role,
                                char out[PG_PRIVATE_CONNINFO_MAX])
{
    snprintf(out, PG_PRIVATE_CONNINFO_MAX, "host=%s dbname=maas user=%s", pg->dir, role);
    return out;
}

void pg_private_migrate(struct pg_private *pg)
{
    maas_error error = MAAS_ERROR_INIT;
    unsigned applied = 0;
    if (migrate_run(pg->super, MAAS_SOURCE_DIR "/migrations", &applied, &error) != MAAS_OK)
        give_up("migrations", error.text);
}

void pg_private_run(struct pg_private *pg, const char *script)
{
    maas_error error = MAAS_ERROR_INIT;
    if (sql_script(pg->super, script, &error) != MAAS_OK)
        give_up(script, error.text);
}

char *pg_private_ask(struct pg_private *pg, const char *statement)
{
    maas_error error = MAAS_ERROR_INIT;
    struct sql_result *result = NULL;
    if (sql_exec(pg->super, statement, NULL, 0, &result, &error) != MAAS_OK)
        give_up(statement, error.text);
    char *text = strdup(sql_rows(result) > 0 ? sql_cell(result, 0, 0).data : "");
    CHECK(text);
    sql_result_free(result);
    return text;
}

static void end_server(struct pg_private *pg, int signal_number)
{
    if (pg->server == 0)
        return;
    kill(pg->server, signal_number);
    waitpid(pg->server, NULL, 0);
    pg->server = 0;
}

void pg_private_down(struct pg_private *pg)
{
    end_server(pg, SIGQUIT);
}

static void signal_all(const struct pg_private *pg, int signal_number)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pg->server, pg->server);
    kill(pg->server, signal_number);
    FILE *children = fopen(path, "re");
    if (!children)
        give_up("read", path);
    for (int pid; fscanf(children, "%d", &pid) == 1;)
        kill(pid, signal_number);
    fclose(children);
}

void pg_private_freeze(struct pg_private *pg)
{
    signal_all(pg, SIGSTOP);
}

void pg_private_thaw(struct pg_private *pg)
{
    signal_all(pg, SIGCONT);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void pg_private_stop(struct pg_private *pg)
{
    sql_close(pg->super);
    end_server(pg, SIGQUIT);
    nftw(pg->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(pg);
}
