/*
 * arguments.h: the command line of `maas-worker serve`, checked.
 */
#ifndef MAAS_WORKER_ARGUMENTS_H
#define MAAS_WORKER_ARGUMENTS_H

#include <sys/types.h>

#include "channel/channel.h"
#include "engine/engine.h"

#define OPTIONS_MAX 64

struct model_arguments {
    const char *root;
    struct engine_option options[OPTIONS_MAX];
    size_t option_count;
};

struct serve_arguments { /* strings point into argv or live as long as the process */
    int memfd, event, ready;
    uint32_t loops;
    int loop_events[CHANNEL_LOOPS_MAX];
    const char *plugin;
    uint8_t sha256[32];
    bool has_sha256;
    struct model_arguments models[CHANNEL_MODELS_MAX]; /* each --root begins one */
    uint32_t model_count;
    uint64_t memory_max;
    pid_t parent;
};

/* argv[0] is "serve". Large: not for the stack. */
maas_status MUST_USE arguments_parse(int argc, char **argv, struct serve_arguments *out,
                                     maas_error *error);

#endif
