/*
 * host.c: see host.h. An old kernel is played by a filter that is older than the worker: this
 * program starts itself, takes Landlock's first call away, and becomes the worker.
 */
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD_KERNEL "--old-kernel"

void host_maybe_old_kernel(int argc, char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { COUNT_OF(code), code };
    if (argc < 3 || strcmp(argv[1], OLD_KERNEL) != 0)
        return;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
        _exit(100);
    execv(argv[2], argv + 2);
    _exit(101);
}

static void pass(posix_spawn_file_actions_t *actions, int fd, int target)
{
    assert_int_equal(
        posix_spawn_file_actions_adddup2(actions, fcntl(fd, F_DUPFD_CLOEXEC, 100), target), 0);
}

/* Descriptors 3 memfd, 4 event, 5 ready, 6.. loops, as the gateway passes them. */
static void pass_all(posix_spawn_file_actions_t *actions, const struct channel *ch, int ready)
{
    posix_spawn_file_actions_init(actions);
    pass(actions, channel_memfd(ch), 3);
    pass(actions, channel_worker_eventfd(ch), 4);
    pass(actions, ready, 5);
    for (uint32_t i = 0; i < HOST_LOOPS; i++)
        pass(actions, channel_loop_eventfd(ch, i), 6 + (int)i);
}

/* What the gateway tells of the file that it found. */
static void digest_of(const struct host *host, const char *plugin, char hex[65])
{
    uint8_t digest[32] = { 0 };
    char *data = NULL;
    size_t len = 0;
    if (file_read(plugin, (size_t)64 << 20, &data, &len, NULL) == MAAS_OK)
        SHA256((const unsigned char *)data, len, digest);
    free(data);
    digest[31] ^= host->other_file;
    hex_encode(digest, sizeof(digest), hex);
}

static void spawn(const struct host *host, int ready, const char *plugin, const char *options,
                  pid_t *out_pid)
{
    char parent[16], sha256[65];
    digest_of(host, plugin, sha256);
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    const char *argv[] = { "test",
                           OLD_KERNEL,
                           MAAS_WORKER,
                           "serve",
                           "--memfd",
                           "3",
                           "--event",
                           "4",
                           "--ready",
                           "5",
                           "--loops",
                           "2",
                           "--root",
                           MAAS_SOURCE_DIR "/tests/unit/worker",
                           "--parent",
                           parent,
                           "--plugin",
                           plugin,
                           "--options",
                           options,
                           "--loop-events",
                           "6,7",
                           "--sha256",
                           sha256,
                           "--memory-max",
                           "4294967296",
                           NULL };
    union {
        const char **from;
        char *const *to;
    } args = { .from = host->without_landlock ? argv : argv + 2 };
    static char *const environment[] = { NULL };
    posix_spawn_file_actions_t actions;
    pass_all(&actions, host->channel, ready);
    assert_int_equal(posix_spawn(out_pid, host->without_landlock ? "/proc/self/exe" : MAAS_WORKER,
                                 &actions, NULL, args.to, environment),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    for (int fd = 100; fd < 100 + 3 + HOST_LOOPS; fd++)
        close(fd);
}

void host_start(struct host *host, const char *plugin, const char *options)
{
    maas_error error = MAAS_ERROR_INIT;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(channel_create(HOST_LOOPS, 65536, 4096, &host->channel, &error), MAAS_OK);
    spawn(host, pipe_fds[1], plugin, options, &host->pid);
    close(pipe_fds[1]);
    struct pollfd fd = { .fd = pipe_fds[0], .events = POLLIN };
    assert_int_equal(poll(&fd, 1, 20000), 1);
    ssize_t n = read(pipe_fds[0], host->ready, sizeof(host->ready) - 1);
    assert_true(n >= 0);
    host->ready[n] = 0;
    close(pipe_fds[0]);
}

int host_wait(struct host *host)
{
    int status = 0;
    assert_int_equal(waitpid(host->pid, &status, 0), host->pid);
    host->pid = 0;
    return status;
}

void host_stop(struct host *host)
{
    if (host->pid) {
        kill(host->pid, SIGKILL);
        (void)host_wait(host);
    }
    channel_free(host->channel);
    *host = (struct host){ .without_landlock = host->without_landlock };
}

/* ---- requests and answers */

bool host_send_of(struct host *host, uint8_t tenant, uint32_t loop, uint64_t job, const char *body,
                  uint64_t deadline_ns)
{
    struct submit_frame frame = { .kind = SUBMIT_INFER,
                                  .tenant = { { tenant } },
                                  .surface = SURFACE_REGRESSION,
                                  .job = job,
                                  .deadline_ns = deadline_ns,
                                  .max_rows = 1000,
                                  .json_len = UINT32_MAX,
                                  .name_len = 5,
                                  .version_len = 1,
                                  .request_id_len = 3,
                                  .body_len = (uint32_t)strlen(body) };
    const struct channel_part parts[] = {
        { &frame, sizeof(frame) }, { "probe", 5 }, { "1", 1 }, { "r-1", 3 }, { body, strlen(body) }
    };
    return channel_submit(host->channel, loop, parts, 5);
}

bool host_send(struct host *host, uint32_t loop, uint64_t job, const char *body,
               uint64_t deadline_ns)
{
    return host_send_of(host, 1, loop, job, body, deadline_ns);
}

void host_submit(struct host *host, uint32_t loop, uint64_t job, const char *body)
{
    assert_true(host_send(host, loop, job, body, 0));
    channel_wake_worker(host->channel);
}

static bool take_answer(struct host *host, uint32_t loop, struct answer *out)
{
    size_t len;
    const char *at = channel_peek_complete(host->channel, loop, &len);
    if (!at)
        return false;
    memset(out, 0, sizeof(*out));
    assert_true(len >= sizeof(out->frame));
    memcpy(&out->frame, at, sizeof(out->frame));
    const struct complete_frame *f = &out->frame;
    assert_int_equal(len, sizeof(*f) + f->param_len + f->text_len + f->body_len);
    assert_true(f->param_len < sizeof(out->param) && f->text_len < sizeof(out->text) &&
                f->body_len < sizeof(out->body));
    at += sizeof(*f);
    memcpy(out->param, at, f->param_len);
    memcpy(out->text, at + f->param_len, f->text_len);
    memcpy(out->body, at + f->param_len + f->text_len, f->body_len);
    channel_consume_complete(host->channel, loop);
    return true;
}

bool host_receive(struct host *host, uint32_t loop, struct answer *out, int timeout_ms)
{
    struct pollfd fd = { .fd = channel_loop_eventfd(host->channel, loop), .events = POLLIN };
    uint64_t count;
    for (;;) {
        if (take_answer(host, loop, out))
            return true;
        channel_loop_sleeps(host->channel, loop, true);
        bool there = take_answer(host, loop, out);
        if (!there && poll(&fd, 1, timeout_ms) != 1)
            return false;
        channel_loop_sleeps(host->channel, loop, false);
        if (there)
            return true;
        (void)!read(fd.fd, &count, sizeof(count));
    }
}

struct answer host_ask(struct host *host, uint32_t loop, uint64_t job, const char *body)
{
    struct answer answer;
    host_submit(host, loop, job, body);
    assert_true(host_receive(host, loop, &answer, 20000));
    assert_int_equal(answer.frame.job, job);
    return answer;
}
