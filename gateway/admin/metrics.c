/*
 * metrics.c: health and Prometheus text. /healthz says that every event loop has turned since it
 * was last asked, or within LIVE_MS.
 */
#include "admin/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#define LIVE_MS 5000

/* [loop] of the admin listener only: what was seen at the last look. */
static struct {
    uint64_t turns, at_ns;
} seen[LOOPS_MAX];

static bool loops_turn(const struct app *app, uint64_t now)
{
    bool all = true;
    for (uint32_t i = 0; i < app->loop_count; i++) {
        uint64_t turns = loop_turns(app->loops[i].loop);
        if (turns != seen[i].turns || seen[i].at_ns == 0) {
            seen[i].turns = turns;
            seen[i].at_ns = now;
        }
        all &= now - seen[i].at_ns < (uint64_t)LIVE_MS * 1000000;
    }
    return all;
}

static void counter(struct buf *b, const char *name, uint64_t value)
{
    buf_fmt(b, "# TYPE %s counter\n%s %" PRIu64 "\n", name, name, value);
}

static void gauge(struct buf *b, const char *name, uint64_t value)
{
    buf_fmt(b, "# TYPE %s gauge\n%s %" PRIu64 "\n", name, name, value);
}

static void write_answers(struct buf *b, const struct app *app)
{
    buf_str(b, STR("# TYPE maas_answers_total counter\n"));
    for (uint32_t class = 2; class < 6; class ++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < app->loop_count; i++)
            sum += atomic_load_explicit(&app->loops[i].answers[class], memory_order_relaxed);
        buf_fmt(b, "maas_answers_total{status=\"%uxx\"} %" PRIu64 "\n", class, sum);
    }
    uint64_t unbilled = 0, gone = 0, replayed = 0, lost = 0;
    for (uint32_t i = 0; i < app->loop_count; i++) {
        unbilled += atomic_load_explicit(&app->loops[i].unbilled, memory_order_relaxed);
        gone += atomic_load_explicit(&app->loops[i].gone, memory_order_relaxed);
        replayed += atomic_load_explicit(&app->loops[i].replayed, memory_order_relaxed);
        lost += atomic_load_explicit(&app->loops[i].lost, memory_order_relaxed);
    }
    counter(b, "maas_unbilled_total", unbilled);
    counter(b, "maas_clients_gone_total", gone);
    counter(b, "maas_idempotency_replayed_total", replayed);
    counter(b, "maas_idempotency_lost_total", lost);
}

static void write_net(struct buf *b)
{
    struct server_counts n;
    server_counts(&n);
    gauge(b, "maas_connections_open", n.connections_open);
    counter(b, "maas_connections_total", n.connections_total);
    counter(b, "maas_requests_total", n.requests_total);
    gauge(b, "maas_requests_open", n.requests_open);
    counter(b, "maas_guard_closed_cancel_total", n.closed_by_guard_cancel);
    counter(b, "maas_guard_closed_control_total", n.closed_by_guard_control);
    counter(b, "maas_guard_closed_headers_total", n.closed_by_guard_headers);
    counter(b, "maas_guard_closed_framing_total", n.closed_by_guard_framing);
    counter(b, "maas_guard_closed_stall_total", n.closed_by_guard_stall);
    counter(b, "maas_guard_closed_body_total", n.closed_by_guard_body);
}

static void write_limits(struct buf *b, const struct app *app)
{
    struct limits_counts l;
    limits_counts(app->limiter, &l);
    counter(b, "maas_limits_admitted_total", l.admitted);
    counter(b, "maas_limits_rejected_total", l.rejected);
    counter(b, "maas_limits_waited_total", l.waited);
    counter(b, "maas_limits_refills_total", l.refills);
    counter(b, "maas_limits_refill_timeouts_total", l.refill_timeouts);
    counter(b, "maas_limits_local_total", l.local_decisions);
    counter(b, "maas_limits_quota_calls_total", l.quota_calls);
    counter(b, "maas_redis_calls_total", l.redis_calls);
}

static void write_loops(struct buf *b, const struct app *app)
{
    uint64_t slow = 0;
    for (uint32_t i = 0; i < app->loop_count; i++)
        slow += loop_slow_turns(app->loops[i].loop);
    counter(b, "maas_loop_slow_turns_total", slow);
}

static void write_planes(struct buf *b, const struct app *app)
{
    struct meter_counts m;
    struct registry_counts r;
    struct fleet_counts f;
    meter_counts(app->meter, &m);
    registry_counts(app->registry, &r);
    fleet_counts(app->fleet, &f);
    counter(b, "maas_usage_appended_total", m.appended);
    counter(b, "maas_usage_shipped_total", m.shipped);
    gauge(b, "maas_usage_pending", m.pending);
    gauge(b, "maas_spool_bytes", m.bytes);
    counter(b, "maas_spool_sync_failures_total", m.sync_failures);
    counter(b, "maas_usage_ship_failures_total", m.ship_failures);
    gauge(b, "maas_registry_fresh", registry_is_fresh(app->registry));
    gauge(b, "maas_registry_seq", registry_seq(app->registry));
    gauge(b, "maas_deployments", r.deployments);
    gauge(b, "maas_keys_cached", r.keys_cached);
    counter(b, "maas_key_lookups_total", r.key_lookups);
    gauge(b, "maas_workers_ready", f.workers_ready);
    gauge(b, "maas_workers_wanted", f.workers_wanted);
    gauge(b, "maas_deployments_resident", f.resident);
    gauge(b, "maas_workers_memory_bytes", f.memory_bytes);
    gauge(b, "maas_workers_memory_max_bytes", f.memory_max);
    counter(b, "maas_deployment_swaps_total", f.swaps);
    counter(b, "maas_deployment_swap_failures_total", f.swap_failures);
    counter(b, "maas_deployment_unloads_total", f.evictions);
    counter(b, "maas_group_splits_total", f.splits);
    counter(b, "maas_worker_answers_total", f.answers);
    counter(b, "maas_worker_merged_answers_total", f.merged);
    counter(b, "maas_worker_rows_total", f.rows);
    counter(b, "maas_worker_calls_total", f.calls);
    counter(b, "maas_worker_late_total", f.late);
    counter(b, "maas_worker_exhausted_total", f.exhausted);
    counter(b, "maas_requests_crowded_total", f.crowded);
    counter(b, "maas_requests_condemned_total", f.condemned);
    counter(b, "maas_worker_starts_total", f.starts);
    counter(b, "maas_worker_crashes_total", f.crashes);
    counter(b, "maas_worker_kills_total", f.kills);
    counter(b, "maas_worker_hostile_frames_total", f.hostile_frames);
    counter(b, "maas_worker_load_failures_total", f.load_failures);
    counter(b, "maas_worker_sandbox_kills_total", f.sandbox_kills);
    counter(b, "maas_plugins_refused_total", f.plugins_refused);
    counter(b, "maas_plugins_revoked_total", f.plugins_revoked);
    counter(b, "maas_log_dropped_total", log_dropped());
}

static void send_text(struct exchange *ex, int status, struct str text)
{
    exchange_send(ex, status, STR("text/plain; version=0.0.4; charset=utf-8"), text);
}

bool metrics_serve(struct exchange *ex, struct app *app)
{
    struct str path = exchange_request(ex)->path;
    if (str_eq(path, STR("/healthz"))) {
        bool live = loops_turn(app, clock_mono_ns());
        send_text(ex, live ? 200 : 503, live ? STR("ok\n") : STR("an event loop does not turn\n"));
        return true;
    }
    if (str_eq(path, STR("/readyz"))) {
        const char *why = app_not_ready(app);
        send_text(ex, why ? 503 : 200, why ? str_of(why) : STR("ok\n"));
        return true;
    }
    if (!str_eq(path, STR("/metrics")))
        return false;
    struct buf b;
    buf_init(&b, 1 << 20);
    write_answers(&b, app);
    write_net(&b);
    write_limits(&b, app);
    write_loops(&b, app);
    write_planes(&b, app);
    send_text(ex, b.failed ? 500 : 200, buf_view(&b));
    buf_release(&b);
    return true;
}
