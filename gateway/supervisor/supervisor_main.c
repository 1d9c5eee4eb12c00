/*
 * supervisor_main.c: maas-supervisor holds the listening sockets and keeps one gateway running. It
 * reads no request.
 *
 *     maas-supervisor --config FILE
 *
 * The sockets outlive the gateway, so while it is restarted connections wait in the backlog and are
 * not refused. A gateway that ends is replaced at once; one that lives shorter than QUICK_MS is
 * replaced after a pause that doubles to 5 s. SIGTERM and SIGINT are passed on; after the gateway's
 * drain the supervisor ends too. SIGHUP restarts the gateway (it drains first).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "supervisor/listen.h"

#define QUICK_MS     2000
#define PAUSE_MAX_MS 5000

enum { FD_PUBLIC = 3, FD_ADMIN = 4 };

extern char **environ;

static char *gateway_path(void)
{
    char self[PATH_MAX];
    char *path = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHECK(n > 0);
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    CHECK(slash);
    *slash = '\0';
    CHECK(asprintf(&path, "%s/maas-gateway", self) > 0);
    return path;
}

/* Hundreds of requests are in flight at once, each a few blocks: more than glibc's cache of a
 * thread keeps by default, and what it does not keep costs a tenth of a request. */
static void tune_malloc(void)
{
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=1024:glibc.malloc.tcache_max=16384", 0);
}

static int start_gateway(const char *path, const char *config, const int high[2])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int pid = -1;
    union {
        const char *from[8];
        char *to[8];
    } args = { .from = { path, "--config", config, "--listen-fd", "3", "--admin-fd", "4", NULL } };
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, high[0], FD_PUBLIC);
    posix_spawn_file_actions_adddup2(&actions, high[1], FD_ADMIN);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(&pid, path, &actions, &attributes, args.to, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc)
        LOG(LOG_ERROR, "gateway.start", F_STR("path", path), F_STR("reason", strerror(rc)));
    return rc ? -1 : pid;
}

struct keeper {
    const char *path, *config;
    int high[2];
    int pid;
    uint64_t started_ns;
    uint32_t pause_ms;
    bool ending, asked; /* asked: its end was our wish */
};

static void pause_for(uint32_t ms)
{
    sigset_t set;
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (ms && sigtimedwait(&set, NULL, &t) > 0)
        kill(getpid(), SIGTERM); /* heard in the main wait */
}

static void on_child(struct keeper *k)
{
    int status, pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != k->pid)
            continue;
        uint64_t lived_ms = (clock_mono_ns() - k->started_ns) / 1000000;
        LOG(k->asked ? LOG_INFO : LOG_WARN, "gateway.exit", F_INT("pid", pid),
            F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
            F_INT("code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
            F_UINT("lived_ms", lived_ms));
        k->pid = -1;
        if (lived_ms >= QUICK_MS || k->asked)
            k->pause_ms = 0;
        else
            k->pause_ms = k->pause_ms ? k->pause_ms * 2 : 100;
        if (k->pause_ms > PAUSE_MAX_MS)
            k->pause_ms = PAUSE_MAX_MS;
    }
}

static void run(struct keeper *k)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    while (!k->ending || k->pid > 0) {
        if (k->pid <= 0) {
            pause_for(k->pause_ms);
            k->started_ns = clock_mono_ns();
            k->asked = false;
            k->pid = start_gateway(k->path, k->config, k->high);
            if (k->pid <= 0)
                k->pause_ms = PAUSE_MAX_MS;
            continue;
        }
        int signal_number = sigwaitinfo(&set, NULL);
        if (signal_number == SIGCHLD) {
            on_child(k);
        } else if (signal_number > 0) {
            k->ending |= signal_number != SIGHUP;
            k->asked = true;
            kill(k->pid, SIGTERM);
        }
    }
}

static maas_status prepare(struct keeper *k, const struct config *config, maas_error *error)
{
    int fds[2];
    maas_status status = listen_on(config->listen, &fds[0], error);
    if (!status)
        status = listen_on(config->admin_listen, &fds[1], error);
    if (status)
        return status;
    for (int i = 0; i < 2; i++) { /* away from the numbers they get in the gateway */
        k->high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
        close(fds[i]);
        if (k->high[i] < 0)
            return fail(error, MAAS_E_EXHAUSTED, "no descriptor: %s", strerror(errno));
    }
    return MAAS_OK;
}

int main(int argc, char **argv)
{
    maas_error error = MAAS_ERROR_INIT;
    struct config *config = NULL;
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        fprintf(stderr, "usage: maas-supervisor --config FILE\n");
        return 2;
    }
    struct keeper keeper = { .config = argv[2], .path = gateway_path(), .pid = -1 };
    maas_status status = config_load(argv[2], &config, &error);
    if (!status)
        status = prepare(&keeper, config, &error);
    if (status) {
        fprintf(stderr, "maas-supervisor: %s\n", error.text);
        return 1;
    }
    config_free(config);
    log_start("supervisor", LOG_INFO);
    prctl(PR_SET_DUMPABLE, 0);
    tune_malloc();
    run(&keeper);
    log_stop();
    return 0;
}
