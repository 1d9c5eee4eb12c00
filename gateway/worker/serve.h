/*
 * serve.h: the worker's loop: takes jobs from the channel, runs them one after the other through
 * decode, infer, encode, and puts the answers back. [main thread]
 */
#ifndef MAAS_WORKER_SERVE_H
#define MAAS_WORKER_SERVE_H

#include "channel/channel.h"
#include "engine/engine.h"

struct server;
maas_status MUST_USE server_new(struct channel *channel, struct engine_model *model,
                                struct server **out, maas_error *error);
void server_free(struct server *server);
/* Until the channel breaks (false); the gateway ends a healthy worker by a signal. */
bool server_run(struct server *server);
/* One turn without sleeping: true when there was anything to do. For benches and tests. */
bool server_turn(struct server *server);

#endif
