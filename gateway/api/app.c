/*
 * app.c: makes and ends the parts of a gateway, in order and in reverse order.
 */
#include "api/gateway.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/call.h"
#include "api/keys.h"
#include "api/presence.h"
#include "base/log.h"
#include "store/sql.h"

#define BOOT_MS 10000

const char *app_not_ready(const struct app *app)
{
    if (atomic_load_explicit(&app->draining, memory_order_relaxed))
        return "draining";
    if (!registry_is_usable(app->registry))
        return "the registry is too old: PostgreSQL is away";
    if (!fleet_is_ready(app->fleet))
        return "models are being loaded";
    return NULL;
}

maas_status app_check_bounds(const struct config *config, maas_error *error)
{
    if (config->body_in_flight_conn_max / 2 >= config->body_max)
        return MAAS_OK;
    return fail(error, MAAS_E_INVALID,
                "requests.body_in_flight_connection must be at least twice requests.body_max");
}

static void on_snapshot(void *arg, struct snapshot *snapshot)
{
    fleet_want(arg, snapshot);
}

static maas_status planes_start(struct app *app, maas_error *error)
{
    const struct config *c = app->config;
    struct limiter_config limits = { .gateways_max = (uint32_t)c->gateways_max,
                                     .buckets_max = (uint32_t)c->buckets_max,
                                     .wait_ms = (uint32_t)c->redis_timeout_ms };
    struct meter_config meter = { .dir = c->spool_dir,
                                  .loops = app->loop_count,
                                  .bytes_max = c->spool_max,
                                  .segment_bytes = 4 << 20,
                                  .sync_ms = (uint32_t)c->spool_sync_ms,
                                  .call_timeout_ms = (uint32_t)c->sql_timeout_ms,
                                  .conninfo = c->pg };
    struct registry_config registry = { .conninfo = c->pg,
                                        .poll_ms = 250,
                                        .call_timeout_ms = 500,
                                        .stale_max_ms = (uint32_t)c->stale_max_ms,
                                        .keys_max = (uint32_t)c->keys_max,
                                        .miss_cache_ms = 10000,
                                        .misses_per_s = (uint32_t)c->misses_per_s };
    maas_status status = meter_start(&meter, &app->meter, error);
    if (!status) {
        limits.lessee = meter_spool(app->meter);
        status = limiter_new(&limits, &app->limiter, error);
    }
    if (!status)
        status = presence_start(c->pg, (uint32_t)c->sql_timeout_ms, &limits.lessee, &app->presence,
                                error);
    registry.limiter = app->limiter;
    if (!status)
        status = registry_start(&registry, BOOT_MS, &app->registry, error);
    if (!status)
        status = maintain_start(c->pg, &app->maintain, error);
    return status;
}

static maas_status fleet_make(struct app *app, const char *worker_binary, maas_error *error)
{
    const struct config *c = app->config;
    struct fleet_config fleet = { .worker_binary = worker_binary,
                                  .plugins_dir = c->plugins_dir,
                                  .cache_dir = c->cache_dir,
                                  .conninfo = c->pg,
                                  .loops = app->loop_count,
                                  .workers_per_model = (uint32_t)c->workers_per_model,
                                  .ring_bytes = (uint32_t)c->ring_bytes,
                                  .queue_max = (uint32_t)c->queue_max,
                                  .sql_timeout_ms = (uint32_t)c->sql_timeout_ms,
                                  .start_ms = (uint32_t)c->worker_start_ms,
                                  .hang_grace_ms = (uint32_t)c->hang_grace_ms,
                                  .tenant_queue_max = (uint32_t)c->tenant_queue_max,
                                  .resident_max = (uint32_t)c->resident_max,
                                  .resident_memory_max = c->resident_memory_max,
                                  .starts_max = (uint32_t)c->starts_max,
                                  .group_max = (uint32_t)c->group_max,
                                  .group_artifact_max = c->group_artifact_max,
                                  .memory_max = c->worker_memory_max };
    return fleet_new(&fleet, &app->fleet, error);
}

static struct server_limits server_limits_of(const struct config *c)
{
    return (struct server_limits){ .body_max = c->body_max,
                                   .body_in_flight_conn_max = c->body_in_flight_conn_max,
                                   .body_in_flight_max = c->body_in_flight_max,
                                   .answers_in_flight_conn_max = c->answers_in_flight_conn_max,
                                   .headers_max = (uint32_t)c->headers_max,
                                   .header_bytes_max = (uint32_t)c->header_bytes_max,
                                   .connections_max = (uint32_t)c->connections_max,
                                   .header_timeout_ms = (uint32_t)c->header_timeout_ms,
                                   .body_timeout_ms = (uint32_t)c->body_timeout_ms,
                                   .idle_timeout_ms = (uint32_t)c->idle_timeout_ms,
                                   .write_stall_ms = (uint32_t)c->write_stall_ms,
                                   .body_min_rate = (uint32_t)c->body_min_rate,
                                   .connection_age_ms = (uint32_t)c->connection_age_ms,
                                   .cancel_max = (uint32_t)c->cancel_max,
                                   .control_max = (uint32_t)c->control_max };
}

static maas_status loop_make(struct app *app, uint32_t index, int listen_fd, struct tls *tls,
                             maas_error *error)
{
    const struct config *c = app->config;
    struct app_loop *at = &app->loops[index];
    struct server_limits limits = server_limits_of(c);
    at->app = app;
    at->checker = key_checker_new(app->keys);
    at->tap = meter_tap(app->meter, index);
    maas_status status = loop_new(index, &at->loop, error);
    if (!status)
        status = pg_new(at->loop, c->pg, (uint32_t)c->sql_timeout_ms, &at->pg, error);
    if (!status)
        status = pg_new(at->loop, c->pg, (uint32_t)c->sql_timeout_ms, &at->once_pg, error);
    if (!status)
        status = redis_new(at->loop, c->redis, (uint32_t)c->redis_timeout_ms, &at->redis, error);
    if (!status)
        status = registry_view_new(app->registry, at->loop, at->pg, &at->view, error);
    if (!status)
        status = limits_port_new(app->limiter, at->loop, at->redis, at->pg, &at->limits, error);
    if (!status)
        status = fleet_port_new(app->fleet, at->loop, &at->fleet, error);
    if (!status)
        status =
            server_start(at->loop, listen_fd, tls, &limits, request_begin, at, &at->server, error);
    if (!status)
        server_set_gate(at->server, request_gate);
    return status;
}

static void loop_unmake(struct app_loop *at)
{
    server_free(at->server);
    pg_free(at->once_pg);
    request_loop_release(at);
    fleet_port_free(at->fleet);
    limits_port_free(at->limits);
    registry_view_free(at->view);
    redis_free(at->redis);
    pg_free(at->pg);
    key_checker_free(at->checker);
    loop_free(at->loop);
}

maas_status app_start(struct app *app, const struct config *config, int listen_fd, struct tls *tls,
                      const char *worker_binary, maas_error *error)
{
    memset(app, 0, sizeof(*app));
    app->config = config;
    app->started_us = clock_real_us();
    app->loop_count =
        config->loops ? (uint32_t)config->loops : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (app->loop_count > LOOPS_MAX)
        app->loop_count = LOOPS_MAX;
    maas_status status = app_check_bounds(config, error);
    if (!status)
        status = key_ring_from_files(config->id_key_file, config->pepper_file, &app->keys, error);
    if (!status)
        status = planes_start(app, error);
    if (!status)
        status = fleet_make(app, worker_binary, error);
    for (uint32_t i = 0; i < app->loop_count && !status; i++)
        status = loop_make(app, i, listen_fd, tls, error);
    if (status)
        return status;
    registry_on_snapshot(app->registry, on_snapshot, app->fleet);
    struct snapshot *first = registry_snapshot(app->registry);
    if (first) {
        fleet_want(app->fleet, first);
        snapshot_unref(first);
    }
    return MAAS_OK;
}

/* What is leased and not spent goes back; when that cannot be said now, whoever adopts the spool
 * finds out what was spent. */
static void return_leases(struct app *app)
{
    struct sql *sql = NULL;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status =
        sql_open(app->config->pg, (uint32_t)app->config->sql_timeout_ms, &sql, &error);
    if (!status)
        status = limits_return(app->limiter, sql, &error);
    if (status) {
        LOG(LOG_WARN, "limits.return", F_STR("reason", error.text));
        meter_leave(app->meter);
    }
    if (sql)
        sql_close(sql);
}

void app_end(struct app *app)
{
    maintain_stop(app->maintain);
    registry_stop(app->registry);
    for (uint32_t i = 0; i < app->loop_count; i++)
        loop_unmake(&app->loops[i]);
    fleet_free(app->fleet);
    presence_stop(app->presence);
    return_leases(app);
    meter_stop(app->meter, 5000);
    limiter_free(app->limiter);
    key_ring_free(app->keys);
}
