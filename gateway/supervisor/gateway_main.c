/*
 * gateway_main.c: maas-gateway, the server.
 *
 *     maas-gateway --config FILE [--listen-fd N --admin-fd N]      serve (the supervisor hands over
 * its sockets) maas-gateway --config FILE --check                           validate the
 * configuration and say what is wrong maas-gateway --config FILE --create-admin-token NAME --role
 * ROLE maas-gateway --print-config | --routes
 *
 * The main thread is the workers' parent and runs the fleet; every event loop and the admin plane
 * have threads of their own; one thread waits for signals. SIGTERM: stop accepting, let what is in
 * flight finish (drain_ms), ship the spool, end.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "admin/admin.h"
#include "api/call.h"
#include "api/check.h"
#include "api/gateway.h"
#include "base/log.h"
#include "supervisor/listen.h"

struct arguments {
    const char *config, *token_name, *role;
    int listen_fd, admin_fd;
    bool check, print_config, routes;
};

static bool parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){ .listen_fd = -1, .admin_fd = -1, .role = "owner" };
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--check") == 0)
            a->check = true;
        else if (strcmp(argv[i], "--print-config") == 0)
            a->print_config = true;
        else if (strcmp(argv[i], "--routes") == 0)
            a->routes = true;
        else if (!value)
            return false;
        else if (strcmp(argv[i], "--config") == 0)
            a->config = argv[++i];
        else if (strcmp(argv[i], "--create-admin-token") == 0)
            a->token_name = argv[++i];
        else if (strcmp(argv[i], "--role") == 0)
            a->role = argv[++i];
        else if (strcmp(argv[i], "--listen-fd") == 0)
            a->listen_fd = (int)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--admin-fd") == 0)
            a->admin_fd = (int)strtol(argv[++i], NULL, 10);
        else
            return false;
    }
    return true;
}

/* ---- signals and the drain */

struct gateway {
    struct app app;
    struct admin *admin;
    pthread_t loops[LOOPS_MAX], signals;
    uint32_t loops_started;
    _Atomic uint32_t draining;
    struct drain_post {
        struct loop_post post;
        struct gateway *gateway;
        uint32_t index;
    } drains[LOOPS_MAX];
};

static void on_drained(void *arg)
{
    struct drain_post *d = arg;
    loop_stop(d->gateway->app.loops[d->index].loop);
    if (atomic_fetch_sub(&d->gateway->draining, 1) == 1)
        fleet_stop(d->gateway->app.fleet);
}

static void drain_loop(struct loop_post *post)
{
    struct drain_post *d = (struct drain_post *)(void *)post;
    server_drain(d->gateway->app.loops[d->index].server, (uint32_t)d->gateway->app.config->drain_ms,
                 on_drained, d);
}

static void *signal_thread(void *arg)
{
    struct gateway *g = arg;
    sigset_t set;
    int number;
    thread_name("signals");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    while (sigwait(&set, &number) != 0)
        ;
    LOG(LOG_INFO, "gateway.drains", F_INT("signal", number));
    atomic_store(&g->app.draining, true);
    atomic_store(&g->draining, g->app.loop_count);
    for (uint32_t i = 0; i < g->app.loop_count; i++) {
        g->drains[i] =
            (struct drain_post){ .post = { .run = drain_loop }, .gateway = g, .index = i };
        loop_post(g->app.loops[i].loop, &g->drains[i].post);
    }
    return NULL;
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- loops */

static void pin(const char *cpus, uint32_t index)
{
    cpu_set_t set;
    uint32_t count = 0;
    int list[LOOPS_MAX];
    for (const char *at = cpus; *at && count < LOOPS_MAX;) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 0 || n >= CPU_SETSIZE)
            return;
        list[count++] = (int)n;
        at = *end == ',' ? end + 1 : end;
    }
    if (!count)
        return;
    CPU_ZERO(&set);
    CPU_SET(list[index % count], &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/*
 * The library keeps the start of every socket's buffer in thread-local memory of the thread that
 * made the socket. So the loops' threads stay until the main thread has freed what is on the loops.
 */
static pthread_barrier_t loops_ended, loops_freed;

static void *loop_thread(void *arg)
{
    struct app_loop *at = arg;
    sigset_t set;
    char name[16];
    snprintf(name, sizeof(name), "loop-%u", loop_index(at->loop));
    thread_name(name);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD); /* the main thread's */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pin(at->app->config->cpus, loop_index(at->loop));
    loop_run(at->loop);
    pthread_barrier_wait(&loops_ended);
    pthread_barrier_wait(&loops_freed);
    return NULL;
}

static maas_status run_threads(struct gateway *g, maas_error *error)
{
    pthread_barrier_init(&loops_ended, NULL, g->app.loop_count + 1);
    pthread_barrier_init(&loops_freed, NULL, g->app.loop_count + 1);
    for (; g->loops_started < g->app.loop_count; g->loops_started++)
        if (pthread_create(&g->loops[g->loops_started], NULL, loop_thread,
                           &g->app.loops[g->loops_started]))
            return fail(error, MAAS_E_EXHAUSTED, "no thread for an event loop");
    if (pthread_create(&g->signals, NULL, signal_thread, g))
        return fail(error, MAAS_E_EXHAUSTED, "no thread for signals");
    return MAAS_OK;
}

static char *worker_path(const struct config *config)
{
    char self[4096];
    char *path = NULL;
    if (config->worker_binary[0])
        return strdup(config->worker_binary);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHECK(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    CHECK(asprintf(&path, "%s/maas-worker", self) > 0);
    return path;
}

/* Big bodies would be mapped and unmapped each time: two to three times their cost. */
static void tune_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 128 << 20);
    mallopt(M_TOP_PAD, 1 << 20);
}

static maas_status sockets(struct arguments *a, const struct config *config, maas_error *error)
{
    maas_status status = MAAS_OK;
    if (a->listen_fd < 0)
        status = listen_on(config->listen, &a->listen_fd, error);
    if (!status && a->admin_fd < 0)
        status = listen_on(config->admin_listen, &a->admin_fd, error);
    return status;
}

static maas_status serve(struct arguments *a, const struct config *config, maas_error *error)
{
    static struct gateway g; /* large, and as long-lived as the process */
    struct tls *tls = NULL, *admin_tls = NULL;
    char *worker = worker_path(config);
    bool h2 = guard_self_test(error) == MAAS_OK;
    if (!h2)
        LOG(LOG_ERROR, "guard.dead", F_STR("reason", error->text),
            F_STR("means", "HTTP/2 is refused"));
    block_signals();
    tune_malloc();
    maas_status status = sockets(a, config, error);
    if (!status)
        status = tls_new(config->tls_cert, config->tls_key, "maas-public", h2, &tls, error);
    if (!status)
        status = tls_new(config->tls_cert, config->tls_key, "maas-admin", h2, &admin_tls, error);
    if (!status)
        status = app_start(&g.app, config, a->listen_fd, tls, worker, error);
    if (!status)
        status = admin_start(&g.app, a->admin_fd, admin_tls, &g.admin, error);
    if (!status)
        status = run_threads(&g, error);
    if (status)
        return status; /* the process ends: nothing was served */
    LOG(LOG_INFO, "gateway.serves", F_STR("listen", config->listen),
        F_STR("admin", config->admin_listen), F_UINT("loops", g.app.loop_count), F_INT("h2", h2));
    fleet_run(g.app.fleet);
    pthread_barrier_wait(&loops_ended);
    pthread_join(g.signals, NULL);
    admin_stop(g.admin);
    app_end(&g.app);
    pthread_barrier_wait(&loops_freed);
    for (uint32_t i = 0; i < g.loops_started; i++)
        pthread_join(g.loops[i], NULL);
    tls_free(tls);
    tls_free(admin_tls);
    free(worker);
    return MAAS_OK;
}

static enum log_level level_of(const char *name)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(names[i], name) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

static maas_status create_token(const struct arguments *a, const struct config *config,
                                maas_error *error)
{
    char text[64];
    maas_status status = admin_token_create(config->pg_admin, a->token_name, a->role, text, error);
    if (!status)
        printf("%s\n", text);
    explicit_bzero(text, sizeof(text));
    return status;
}

static maas_status check(const struct config *config, maas_error *error)
{
    char *worker = worker_path(config);
    log_start("gateway", LOG_ERROR); /* the list says what is wrong */
    unsigned failed = gateway_check(config, worker);
    log_stop();
    free(worker);
    return failed ? fail(error, MAAS_E_PRECONDITION, "%u parts failed", failed) : MAAS_OK;
}

static maas_status run(struct arguments *a, const struct config *config, maas_error *error)
{
    if (a->print_config) {
        config_print(config);
        return MAAS_OK;
    }
    if (a->token_name)
        return create_token(a, config, error);
    if (a->check)
        return check(config, error);
    log_start("gateway", level_of(config->log_level));
    prctl(PR_SET_DUMPABLE, 0);
    maas_status status = serve(a, config, error);
    log_stop();
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a;
    struct config *config = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (!parse(&a, argc, argv) || (!a.config && !a.print_config && !a.routes)) {
        fprintf(
            stderr,
            "usage: maas-gateway --config FILE [--check | --create-admin-token NAME --role ROLE]\n"
            "       maas-gateway --print-config | --routes\n");
        return 2;
    }
    if (a.routes) {
        routes_print();
        return 0;
    }
    maas_status status = config_load(a.config, &config, &error);
    if (!status)
        status = run(&a, config, &error);
    config_free(config);
    if (status)
        fprintf(stderr, "maas-gateway: %s\n", error.text);
    return status ? 1 : 0;
}
