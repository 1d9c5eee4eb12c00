/*
 * redis_private.h: a Redis of the test's own: on a Unix socket in a short temporary folder, without
 * persistence, gone with the test (it is killed when the test dies). Whatever goes wrong here ends
 * the test program. Header only. [one owner]
 */
#ifndef MAAS_TESTS_REDIS_PRIVATE_H
#define MAAS_TESTS_REDIS_PRIVATE_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

struct redis_private {
    char dir[32], path[48], address[56]; /* address: "unix:/…" */
    pid_t pid;                           /* 0: down */
};

static inline void redis_private_init(struct redis_private *r)
{
    *r = (struct redis_private){ .dir = "/tmp/maas-redis-XXXXXX" };
    CHECK(mkdtemp(r->dir));
    (void)snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
    (void)snprintf(r->address, sizeof(r->address), "unix:%s", r->path);
}

static inline int redis_private_connect(const struct redis_private *r)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, r->path, strlen(r->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends one inline command; the first bytes of the raw answer, or "" when Redis is not there. */
static inline const char *redis_private_ask(const struct redis_private *r, const char *command,
                                            char *out, size_t size)
{
    int fd = redis_private_connect(r);
    out[0] = 0;
    if (fd < 0)
        return out;
    char line[512];
    int len = snprintf(line, sizeof(line), "%s\r\n", command);
    CHECK(write(fd, line, (size_t)len) == len);
    ssize_t n = read(fd, out, size - 1);
    out[n > 0 ? n : 0] = 0;
    close(fd);
    return out;
}

static inline void redis_private_up(struct redis_private *r)
{
    char answer[64];
    r->pid = fork();
    CHECK(r->pid >= 0);
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->path, "--save", "",
               "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", r->dir,
               "--loglevel", "warning", "--logfile", "/dev/null", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        if (strncmp(redis_private_ask(r, "PING", answer, sizeof(answer)), "+PONG", 5) == 0)
            return;
        usleep(10000);
    }
    CHECK(!"redis-server started");
}

static inline void redis_private_down(struct redis_private *r)
{
    if (r->pid == 0)
        return;
    kill(r->pid, SIGKILL);
    CHECK(waitpid(r->pid, NULL, 0) == r->pid);
    r->pid = 0;
    unlink(r->path);
}

static inline void redis_private_freeze(const struct redis_private *r)
{
    int status;
    kill(r->pid, SIGSTOP);
    CHECK(waitpid(r->pid, &status, WUNTRACED) == r->pid);
}

static inline void redis_private_thaw(const struct redis_private *r)
{
    kill(r->pid, SIGCONT);
}

static inline void redis_private_release(struct redis_private *r)
{
    redis_private_down(r);
    CHECK(rmdir(r->dir) == 0);
}

#endif
