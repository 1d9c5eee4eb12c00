/*
 * worker_proc.c: spawns a worker. The child gets exactly: /dev/null, stderr, the memfd (3), the
 * worker's eventfd (4), the ready pipe (5) and one eventfd per loop (6 …); everything else is
 * close-on-exec. Its environment is fixed, so nothing of ours (passwords in MAAS_… variables)
 * reaches plugin code, and BLAS runs with one thread.
 *
 * posix_spawn's dup2 actions run in order and a source may stand where a target goes, so all
 * sources are first moved above the targets.
 */
#include "fleet/worker_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FD_MEMFD = 3,
    FD_EVENT = 4,
    FD_READY = 5,
    FD_LOOPS = 6,
    FD_MAX = FD_LOOPS + CHANNEL_LOOPS_MAX
};

static char *const worker_environment[] = {
    "PATH=/usr/bin:/bin",
    "LANG=C.UTF-8",
    "LC_ALL=C.UTF-8",
    "OPENBLAS_NUM_THREADS=1",
    "OMP_NUM_THREADS=1",
    "MKL_NUM_THREADS=1",
    "GOTO_NUM_THREADS=1",
#if MAAS_SANITIZED
    "ASAN_OPTIONS=abort_on_error=1:detect_leaks=0:handle_abort=0",
#endif
    NULL,
};

static maas_status add_move(posix_spawn_file_actions_t *actions, int *high, int fd, int target,
                            maas_error *error)
{
    *high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MAX + 1);
    if (*high < 0 || posix_spawn_file_actions_adddup2(actions, *high, target))
        return fail(error, MAAS_E_EXHAUSTED, "no descriptor for a worker: %s", strerror(errno));
    return MAAS_OK;
}

static maas_status add_moves(posix_spawn_file_actions_t *actions, const struct channel *ch,
                             uint32_t loops, int ready, int high[FD_MAX], maas_error *error)
{
    maas_status status = MAAS_OK;
    if (posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0))
        status = fail(error, MAAS_E_EXHAUSTED, "no memory to start a worker");
    if (!status)
        status = add_move(actions, &high[0], channel_memfd(ch), FD_MEMFD, error);
    if (!status)
        status = add_move(actions, &high[1], channel_worker_eventfd(ch), FD_EVENT, error);
    if (!status)
        status = add_move(actions, &high[2], ready, FD_READY, error);
    for (uint32_t i = 0; i < loops && !status; i++)
        status =
            add_move(actions, &high[3 + i], channel_loop_eventfd(ch, i), FD_LOOPS + (int)i, error);
    return status;
}

#define ARGUMENTS 20 /* before those of the models */

static maas_status spawn(const struct worker_spec *spec, posix_spawn_file_actions_t *actions,
                         int *out_pid, maas_error *error)
{
    char loops[16], fds[CHANNEL_LOOPS_MAX * 4 + 1] = "", memory[24], parent[16], sha256[65];
    size_t at = 0;
    for (uint32_t i = 0; i < spec->loops; i++)
        at += (size_t)snprintf(fds + at, sizeof(fds) - at, "%s%u", i ? "," : "", FD_LOOPS + i);
    hex_encode(spec->sha256, 32, sha256);
    snprintf(loops, sizeof(loops), "%u", spec->loops);
    snprintf(memory, sizeof(memory), "%" PRIu64, spec->memory_max);
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    const char *argv[ARGUMENTS + 4 * CHANNEL_MODELS_MAX + 1] = { spec->binary,    "serve",
                                                                 "--memfd",       "3",
                                                                 "--event",       "4",
                                                                 "--ready",       "5",
                                                                 "--loops",       loops,
                                                                 "--loop-events", fds,
                                                                 "--plugin",      spec->plugin_file,
                                                                 "--sha256",      sha256,
                                                                 "--memory-max",  memory,
                                                                 "--parent",      parent };
    for (uint32_t i = 0; i < spec->models; i++) {
        const char **more = argv + ARGUMENTS + 4 * i;
        more[0] = "--root";
        more[1] = spec->roots[i];
        more[2] = "--options";
        more[3] = spec->options_json[i];
    }
    union {
        const char **from;
        char *const *to;
    } args = { .from = argv }; /* posix_spawn does not write there */
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(
        &attributes); /* our threads block signals; a worker starts with none blocked */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(out_pid, spec->binary, actions, &attributes, args.to, worker_environment);
    posix_spawnattr_destroy(&attributes);
    return rc ? fail(error, MAAS_E_UNAVAILABLE, "cannot start '%s': %s", spec->binary, strerror(rc))
              : MAAS_OK;
}

maas_status worker_spawn(const struct worker_spec *spec, const struct channel *channel,
                         int *out_pid, int *out_ready_fd, maas_error *error)
{
    posix_spawn_file_actions_t actions;
    int pipe_fd[2], high[FD_MAX];
    for (size_t i = 0; i < COUNT_OF(high); i++)
        high[i] = -1;
    if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK))
        return fail(error, MAAS_E_EXHAUSTED, "no pipe for a worker: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    maas_status status = add_moves(&actions, channel, spec->loops, pipe_fd[1], high, error);
    if (!status)
        status = spawn(spec, &actions, out_pid, error);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i < COUNT_OF(high); i++)
        if (high[i] >= 0)
            close(high[i]);
    close(pipe_fd[1]);
    if (status)
        close(pipe_fd[0]);
    else
        *out_ready_fd = pipe_fd[0];
    return status;
}
