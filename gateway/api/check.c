/*
 * check.c: one function a part, in the order in which a start would need them. Each opens what the
 * gateway would open and closes it again; a part that needs another one tries all the same, so one
 * run names everything that is wrong.
 */
#include "api/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/app.h"
#include "api/keys.h"
#include "fleet/plugin_file.h"
#include "store/redis.h"
#include "store/sql.h"

#define REDIS_WAIT_MS 2000
#define LOOK_MS       10

struct subject {
    const struct config *config;
    const char *worker_binary;
};

static maas_status check_guard(const struct subject *s, maas_error *error)
{
    (void)s;
    return guard_self_test(error);
}

static maas_status check_bounds(const struct subject *s, maas_error *error)
{
    return app_check_bounds(s->config, error);
}

static maas_status check_keys(const struct subject *s, maas_error *error)
{
    struct key_ring *ring = NULL;
    maas_status status =
        key_ring_from_files(s->config->id_key_file, s->config->pepper_file, &ring, error);
    key_ring_free(ring);
    return status;
}

static maas_status check_certificate(const struct subject *s, maas_error *error)
{
    struct tls *tls = NULL;
    maas_status status =
        tls_new(s->config->tls_cert, s->config->tls_key, "maas-check", true, &tls, error);
    tls_free(tls);
    return status;
}

/* ---- PostgreSQL: one connection per role, and that the schema is there */

static maas_status ask_sql(const struct subject *s, const char *conninfo, const char *statement,
                           maas_error *error)
{
    struct sql *sql = NULL;
    maas_status status = sql_open(conninfo, (uint32_t)s->config->sql_timeout_ms, &sql, error);
    if (status)
        return status;
    status = sql_exec(sql, statement, NULL, 0, NULL, error);
    sql_close(sql);
    return status;
}

static maas_status check_postgres(const struct subject *s, maas_error *error)
{
    return ask_sql(s, s->config->pg, "SELECT maas.registry_seq()", error);
}

static maas_status check_postgres_admin(const struct subject *s, maas_error *error)
{
    return ask_sql(s, s->config->pg_admin, "SELECT 1 FROM maas.tenants LIMIT 1", error);
}

/* ---- Redis: until it answered a PING */

struct look {
    struct timer timer; /* first */
    struct redis *redis;
    uint64_t end_ns;
};

static void on_look(struct timer *timer)
{
    struct look *look = (struct look *)timer;
    if (redis_is_up(look->redis) || loop_now_ns(timer->loop) >= look->end_ns)
        loop_stop(timer->loop);
    else
        timer_start(timer->loop, timer, LOOK_MS);
}

static maas_status wait_for_redis(struct loop *loop, struct redis *redis, const char *address,
                                  maas_error *error)
{
    struct look look = { .timer.fire = on_look,
                         .redis = redis,
                         .end_ns = loop_now_ns(loop) + REDIS_WAIT_MS * 1000000ull };
    timer_start(loop, &look.timer, 0);
    loop_run(loop);
    return redis_is_up(redis) ? MAAS_OK
                              : fail(error, MAAS_E_UNAVAILABLE, "no answer from '%s' within %d ms",
                                     address, REDIS_WAIT_MS);
}

static maas_status check_redis(const struct subject *s, maas_error *error)
{
    struct loop *loop = NULL;
    struct redis *redis = NULL;
    const struct config *c = s->config;
    maas_status status = loop_new(0, &loop, error);
    if (!status)
        status = redis_new(loop, c->redis, (uint32_t)c->redis_timeout_ms, &redis, error);
    if (!status)
        status = wait_for_redis(loop, redis, c->redis, error);
    redis_free(redis);
    loop_free(loop);
    return status;
}

/* ---- folders and programs */

static maas_status check_spool(const struct subject *s, maas_error *error)
{
    const char *dir = s->config->spool_dir;
    if (access(dir, R_OK | W_OK | X_OK) == 0 || errno == ENOENT)
        return MAAS_OK; /* a missing folder is made at the start */
    return fail(error, MAAS_E_UNAVAILABLE, "spool.dir: cannot write to '%s': %s", dir,
                strerror(errno));
}

/* The worker loads the plugin as it would to serve it, in its sandbox, and says what is wrong. */
static maas_status inspect(const struct subject *s, const char *file, maas_error *error)
{
    union {
        const char *from[5];
        char *to[5];
    } args = { .from = { s->worker_binary, "inspect", "--plugin", file, NULL } };
    static char nothing[] = "LC_ALL=C", *environment[] = { nothing, NULL };
    posix_spawn_file_actions_t actions;
    int pipe_fd[2], pid = -1, wait_status = 0;
    char said[256] = "";
    if (pipe2(pipe_fd, O_CLOEXEC))
        return fail(error, MAAS_E_EXHAUSTED, "no pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], STDERR_FILENO);
    int rc = posix_spawn(&pid, s->worker_binary, &actions, NULL, args.to, environment);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fd[1]);
    ssize_t n = rc ? 0 : read(pipe_fd[0], said, sizeof(said) - 1);
    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    close(pipe_fd[0]);
    if (rc)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot start '%s': %s", s->worker_binary,
                    strerror(rc));
    waitpid(pid, &wait_status, 0);
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0
               ? MAAS_OK
               : fail(error, MAAS_E_INVALID, "%s: %s", file,
                      said[0] ? said : "the worker ended without a word");
}

static bool is_plugin(const char *name)
{
    size_t len = strlen(name);
    return len > 3 && strcmp(name + len - 3, ".so") == 0;
}

/* How often the digest is allowed, and how many deployments want the plugin. */
static maas_status ask_allowed(struct sql *sql, struct str id, const uint8_t sha256[32],
                               bool *out_allowed, bool *out_wanted, maas_error *error)
{
    char hex[65];
    struct sql_result *rows = NULL;
    hex_encode(sha256, 32, hex);
    const struct str v[] = { id, { hex, 64 } };
    maas_status status =
        sql_exec(sql,
                 "SELECT EXISTS (SELECT FROM maas.registry_plugins() p WHERE p.id = $1 AND"
                 " p.sha256 = decode($2, 'hex')),"
                 " EXISTS (SELECT FROM maas.registry_deployments() d WHERE d.plugin = $1)",
                 v, COUNT_OF(v), &rows, error);
    if (status)
        return status;
    *out_allowed = str_eq(sql_cell(rows, 0, 0), STR("t"));
    *out_wanted = str_eq(sql_cell(rows, 0, 1), STR("t"));
    sql_result_free(rows);
    return MAAS_OK;
}

/* One line a file. A file that is not allowed is not loaded, here neither; it is a fault only when
 * a deployment wants it. */
static maas_status check_plugin(const struct subject *s, struct sql *sql, const char *name,
                                maas_error *error)
{
    char path[1024];
    uint8_t sha256[32];
    bool allowed = false, wanted = false;
    const struct str id = { name, strlen(name) - strlen(".so") };
    snprintf(path, sizeof(path), "%s/%s", s->config->plugins_dir, name);
    maas_status status = plugin_file_digest(path, sha256, error);
    if (!status)
        status = ask_allowed(sql, id, sha256, &allowed, &wanted, error);
    if (status)
        return status;
    printf("      plugin %.*s: %s\n", (int)id.len, id.data,
           allowed ? "its digest is allowed" : "its digest is not allowed, it will not be loaded");
    if (!allowed && wanted)
        return fail(error, MAAS_E_DENIED, "%s: a deployment wants it, and it is not allowed", path);
    return allowed ? inspect(s, path, error) : MAAS_OK;
}

static maas_status check_each_plugin(const struct subject *s, DIR *dir, maas_error *error)
{
    struct sql *sql = NULL;
    struct dirent *entry;
    unsigned found = 0;
    maas_status status = sql_open(s->config->pg, (uint32_t)s->config->sql_timeout_ms, &sql, error);
    while (sql && (entry = readdir(dir)))
        if (is_plugin(entry->d_name)) {
            maas_error why = MAAS_ERROR_INIT;
            maas_status one = check_plugin(s, sql, entry->d_name, &why);
            if (one && !status) /* the first is told, all are looked at */
                status = fail(error, one, "%s", why.text);
            found++;
        }
    sql_close(sql);
    return status || found ? status
                           : fail(error, MAAS_E_NOT_FOUND, "workers.plugins_dir: no plugin in '%s'",
                                  s->config->plugins_dir);
}

static maas_status check_plugins(const struct subject *s, maas_error *error)
{
    DIR *dir = opendir(s->config->plugins_dir);
    if (!dir)
        return fail(error, MAAS_E_UNAVAILABLE, "workers.plugins_dir: cannot open '%s': %s",
                    s->config->plugins_dir, strerror(errno));
    maas_status status = check_each_plugin(s, dir, error);
    closedir(dir);
    return status;
}

/* ---- the list */

static const struct {
    const char *name;
    maas_status (*check)(const struct subject *subject, maas_error *error);
} parts[] = {
    { "guard", check_guard },       { "bounds", check_bounds },
    { "keys", check_keys },         { "certificate", check_certificate },
    { "postgres", check_postgres }, { "postgres (admin)", check_postgres_admin },
    { "redis", check_redis },       { "spool", check_spool },
    { "plugins", check_plugins },
};

unsigned gateway_check(const struct config *config, const char *worker_binary)
{
    const struct subject subject = { config, worker_binary };
    unsigned failed = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        maas_error error = MAAS_ERROR_INIT;
        bool good = parts[i].check(&subject, &error) == MAAS_OK;
        failed += !good;
        printf("%-4s  %s%s%s\n", good ? "ok" : "FAIL", parts[i].name, good ? "" : ": ",
               good ? "" : error.text);
        fflush(stdout);
    }
    return failed;
}
