/*
 * host.h: the gateway's part in the worker's tests: a real maas-worker behind a real channel of two
 * loops, requests of the regression surface, answers.
 */
#ifndef MAAS_TEST_HOST_H
#define MAAS_TEST_HOST_H

#include <sys/types.h>

#include "channel/channel.h"

#define HOST_LOOPS 2

struct host { /* what the gateway knows of one worker */
    struct channel *channel;
    pid_t pid;
    char ready[256];       /* its line on the ready pipe; empty when it ended without one */
    bool without_landlock; /* for the next start: on a kernel that has none */
    bool other_file;       /* for the next start: the plugin is not the file that was allowed */
};

struct answer {
    struct complete_frame frame;
    char param[65], text[253], body[4096];
};

/* Starts the worker and waits for its word. Fails the test when there is none within 20 s. */
void host_start(struct host *host, const char *plugin, const char *options);
int host_wait(struct host *host); /* the wait status */
void host_stop(struct host *host);

bool host_send_of(struct host *host, uint8_t tenant, uint32_t loop, uint64_t job, const char *body,
                  uint64_t deadline_ns);
bool host_send(struct host *host, uint32_t loop, uint64_t job, const char *body,
               uint64_t deadline_ns);
void host_submit(struct host *host, uint32_t loop, uint64_t job, const char *body);
/* Waits as a loop does; false when nothing came within the time. */
bool host_receive(struct host *host, uint32_t loop, struct answer *out, int timeout_ms);
struct answer host_ask(struct host *host, uint32_t loop, uint64_t job, const char *body);

/* At the top of main: when this program was started to play the old kernel, it becomes the worker
 * and does not return. */
void host_maybe_old_kernel(int argc, char **argv);

#endif
