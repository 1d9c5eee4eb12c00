/*
 * served.c: starts maas-worker as the gateway does: descriptors by number, an empty environment,
 * the sandbox on.
 */
#include "served.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 30000
#define AWAY        100 /* copies of descriptors stand from here on, out of the way of 3 to 6 */

struct served {
    struct channel *channel;
    pid_t pid;
    uint32_t turn;
};

/* As the gateway tells it of a file that is allowed. */
static void digest_of(const char *plugin, char hex[65])
{
    uint8_t digest[32];
    char *data;
    size_t len;
    CHECK(file_read(plugin, (size_t)64 << 20, &data, &len, NULL) == MAAS_OK);
    SHA256((const unsigned char *)data, len, digest);
    free(data);
    hex_encode(digest, sizeof(digest), hex);
}

static void spawn(struct served *s, int ready, const char *plugin, const char *root)
{
    char parent[16], sha256[65];
    posix_spawn_file_actions_t actions;
    const int from[] = { channel_memfd(s->channel), channel_worker_eventfd(s->channel), ready,
                         channel_loop_eventfd(s->channel, 0) };
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    digest_of(plugin, sha256);
    const char *argv[] = {
        WORKER,         "serve",      "--memfd",       "3",    "--event",  "4",    "--ready", "5",
        "--loops",      "1",          "--loop-events", "6",    "--plugin", plugin, "--root",  root,
        "--memory-max", "4294967296", "--parent",      parent, "--sha256", sha256, NULL
    };
    union {
        const char **from;
        char *const *to;
    } args = { .from = argv };
    static char *const environment[] = { NULL };
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 4; i++)
        posix_spawn_file_actions_adddup2(&actions, fcntl(from[i], F_DUPFD_CLOEXEC, AWAY), 3 + i);
    CHECK(posix_spawn(&s->pid, WORKER, &actions, NULL, args.to, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int fd = AWAY; fd < AWAY + 4; fd++)
        close(fd);
}

struct served *served_start(const char *plugin, const char *root, char *out_line, size_t line_size)
{
    int ready[2];
    struct served *s = calloc(1, sizeof(*s));
    CHECK(s && pipe2(ready, O_CLOEXEC) == 0);
    CHECK(channel_create(1, 65536, 65536, &s->channel, NULL) == MAAS_OK);
    spawn(s, ready[1], plugin, root);
    close(ready[1]);
    struct pollfd fd = { .fd = ready[0], .events = POLLIN };
    ssize_t n = poll(&fd, 1, PATIENCE_MS) == 1 ? read(ready[0], out_line, line_size - 1) : 0;
    out_line[n > 0 ? n : 0] = '\0';
    close(ready[0]);
    if (strncmp(out_line, "ready ", 6) == 0)
        return s;
    served_stop(s);
    return NULL;
}

void served_stop(struct served *s)
{
    if (!s)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    channel_free(s->channel);
    free(s);
}

static void submit(struct served *s, uint16_t surface, const char *body)
{
    const struct submit_frame frame = { .kind = SUBMIT_INFER,
                                        .surface = surface,
                                        .job = job_id(1, ++s->turn),
                                        .json_len = UINT32_MAX,
                                        .name_len = 1,
                                        .version_len = 1,
                                        .request_id_len = 1,
                                        .body_len = (uint32_t)strlen(body) };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { "m1r", 3 },
                                          { body, strlen(body) } };
    CHECK(channel_submit(s->channel, 0, parts, 3));
    channel_wake_worker(s->channel);
}

static bool take_answer(struct served *s, maas_status *out_status, char *out, size_t out_size)
{
    size_t len;
    struct complete_frame f;
    const char *at = channel_peek_complete(s->channel, 0, &len);
    if (!at)
        return false;
    memcpy(&f, at, sizeof(f));
    CHECK(len == sizeof(f) + f.param_len + f.text_len + f.body_len);
    const char *text = at + sizeof(f) + f.param_len;
    size_t size = f.status ? f.text_len : f.body_len;
    CHECK(size < out_size);
    memcpy(out, f.status ? text : text + f.text_len, size);
    out[size] = '\0';
    *out_status = f.status;
    channel_consume_complete(s->channel, 0);
    return true;
}

maas_status served_ask(struct served *s, uint16_t surface, const char *body, char *out,
                       size_t out_size)
{
    maas_status status;
    submit(s, surface, body);
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        if (take_answer(s, &status, out, out_size))
            return status;
        usleep(1000);
    }
    snprintf(out, out_size, "the worker gives no answer");
    return MAAS_E_UNAVAILABLE;
}
