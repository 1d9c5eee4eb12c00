/*
 * serve.h: the worker's loop: takes jobs from the channel, runs them through decode, infer, encode,
 * what waits and is alike in one call, and puts the answers back. [main thread]
 */
#ifndef MAAS_WORKER_SERVE_H
#define MAAS_WORKER_SERVE_H

#include "channel/channel.h"
#include "engine/engine.h"

struct server;
/* models: lent; a frame names them by their place, 1 to CHANNEL_MODELS_MAX of them. */
maas_status MUST_USE server_new(struct channel *channel, struct engine_model *const *models,
                                uint32_t count, struct server **out, maas_error *error);
void server_free(struct server *server);
/* Until the channel breaks (false); the gateway ends a healthy worker by a signal. */
bool server_run(struct server *server);
/* One turn without sleeping: true when there was anything to do. For benches and tests. */
bool server_turn(struct server *server);

/* Since the start; for benches and tests. */
struct server_counts {
    uint64_t calls;        /* of the plugin's infer */
    uint64_t merged_calls; /* of these, for more than one request */
    uint64_t merged;       /* requests that were answered from such a call */
    uint64_t tenants;      /* merged calls for more than one tenant */
    uint64_t rows_most;    /* of a call for several requests, ended well or not */
    uint64_t split;        /* merged calls that failed: their members ran one by one */
    uint64_t refused;      /* over a tenant's cap */
    uint64_t late;         /* past their deadline, or sure to be */
};
const struct server_counts *server_counts(const struct server *server);

#endif
