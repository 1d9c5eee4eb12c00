/*
 * app.h: the parts of a running gateway, as the way of a request sees them: one struct app per
 * process, one struct app_loop per event loop. Everything is made before the loops run and freed
 * after they stopped, so none of these pointers changes while requests are served.
 */
#ifndef MAAS_API_APP_H
#define MAAS_API_APP_H

#include <stdatomic.h>

#include "auth/key.h"
#include "base/config.h"
#include "fleet/fleet.h"
#include "limits/limits.h"
#include "meter/maintain.h"
#include "meter/meter.h"
#include "net/server.h"
#include "registry/registry.h"
#include "store/pg.h"
#include "store/redis.h"

#define LOOPS_MAX CHANNEL_LOOPS_MAX

struct call;
struct app;

struct app_loop { /* [loop] but for the counters */
    struct app *app;
    struct loop *loop;
    struct server *server;
    struct pg *pg;
    struct pg *once_pg; /* of requests with an Idempotency-Key */
    struct redis *redis;
    struct registry_view *view;
    struct key_checker *checker;
    struct limits_port *limits;
    struct meter_tap *tap;
    struct fleet_port *fleet;
    uint64_t once_bytes;     /* of answers on their way to be kept (idempotency.c) */
    uint32_t releases;       /* rows being given back (idempotency.c) */
    struct call *idle_calls; /* recycled, so that a request costs no malloc */
    /* [any] relaxed counters, by hundreds of the HTTP status: [2] is 2xx … */
    _Atomic uint64_t answers[6], gone, unbilled;
    _Atomic uint64_t replayed, lost; /* kept answers sent again; tries that were taken over */
};

struct app {
    const struct config *config;
    struct key_ring *keys;
    struct registry *registry;
    struct limiter *limiter;
    struct meter *meter;
    struct maintain *maintain;
    struct presence *presence;
    struct fleet *fleet;
    uint32_t loop_count;
    struct app_loop loops[LOOPS_MAX];
    uint64_t started_us;
    _Atomic bool draining;
};

/* Whether bounds that depend on each other fit together. [any] */
maas_status MUST_USE app_check_bounds(const struct config *config, maas_error *error);
/* Why the gateway is not ready, or NULL when it is. Static text. [any] */
const char *app_not_ready(const struct app *app);

#endif
