/*
 * worker_proc.h: one worker process: its spawning and its first word. Private to fleet/. [control]
 */
#ifndef MAAS_FLEET_WORKER_PROC_H
#define MAAS_FLEET_WORKER_PROC_H

#include "channel/channel.h"

struct worker_spec {
    const char *binary, *plugin_file;
    const char *roots[CHANNEL_MODELS_MAX], *options_json[CHANNEL_MODELS_MAX]; /* of each model */
    uint32_t models;
    const uint8_t *sha256; /* of the plugin's file; the worker loads no other */
    uint64_t memory_max;
    uint32_t loops;
};

/*
 * Spawns maas-worker with the channel's descriptors as 3, 4, 5 … and a fixed environment;
 * out_ready_fd is the read end on which it says "ready …" or "failed …" once. posix_spawn: 0.7 ms
 * however large this process is.
 */
maas_status MUST_USE worker_spawn(const struct worker_spec *spec, const struct channel *channel,
                                  int *out_pid, int *out_ready_fd, maas_error *error);

#endif
