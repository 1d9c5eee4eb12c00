/*
 * registry.c: the thread that keeps snapshot and views true.
 *
 * One round: wait for a notification, at most poll_ms; ask for the newest number of the change log;
 * when it moved, read what changed, tell the views, and load the snapshot anew if a deployment was
 * among it. A notification only ends the wait: what it says is not used, so a lost one costs one
 * poll. The views hear of a change before `seq` says that it is in force.
 *
 * Changes are numbered in the order they become visible (migrations/0006), so a number that was
 * reached is never followed by an older one. A number below ours means another database (a restored
 * backup): everything is forgotten and read again.
 *
 * The snapshot has a connection of its own with ten times the patience: a big one must not make the
 * polls late, and a poll's deadline must not cut it off.
 */
#include "registry/registry_private.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MISSES_AWAY  2
#define CHANGES_STEP 1000 /* what registry_since gives at most */
#define LOADER_TIMES 10

/* ---- telling */

static void tell_views(struct registry *r, const struct change *changes, size_t count)
{
    atomic_fetch_add_explicit(&r->notices, count, memory_order_relaxed);
    pthread_mutex_lock(&r->lock);
    for (struct registry_view *v = r->views; v; v = *view_next(v))
        view_notify(v, changes, count, NULL);
    pthread_mutex_unlock(&r->lock);
}

static void forget_all(struct registry *r, uint64_t seq)
{
    tell_views(r, &(struct change){ .kind = CHANGE_ALL }, 1);
    atomic_store(&r->seq, seq);
    r->reload = true;
}

/* Under one lock, so that a view made meanwhile has either been told or starts with it. */
static void install(struct registry *r, struct snapshot *snapshot)
{
    pthread_mutex_lock(&r->lock);
    for (struct registry_view *v = r->views; v; v = *view_next(v))
        view_notify(v, NULL, 0, snapshot);
    struct snapshot *old = r->snapshot;
    r->snapshot = snapshot;
    void (*fn)(void *arg, struct snapshot *s) = r->on_snapshot;
    void *arg = r->on_snapshot_arg;
    pthread_mutex_unlock(&r->lock);
    snapshot_unref(old);
    atomic_fetch_add_explicit(&r->snapshots, 1, memory_order_relaxed);
    LOG(LOG_INFO, "registry.snapshot", F_UINT("seq", snapshot->seq),
        F_UINT("deployments", snapshot->count));
    if (fn)
        fn(arg, snapshot);
}

/* ---- one round */

static maas_status load_snapshot(struct registry *r, maas_error *error)
{
    struct snapshot *snapshot = NULL;
    maas_status status =
        snapshot_load(r->loader, atomic_load(&r->seq), r->config.limiter, &snapshot, error);
    if (status == MAAS_OK) {
        r->reload = false;
        install(r, snapshot);
    }
    return status;
}

/* False for kinds that the views need not hear of. */
static bool read_change(struct registry *r, struct str kind, struct str id, struct change *out)
{
    if (str_eq(kind, STR("key"))) {
        out->kind = CHANGE_KEY;
        if (id.len != KEY_ID_LEN)
            return false;
        memcpy(out->key_id, id.data, KEY_ID_LEN);
        return true;
    }
    if (str_eq(kind, STR("tenant")) || str_eq(kind, STR("plan"))) {
        out->kind = str_eq(kind, STR("plan")) ? CHANGE_PLAN : CHANGE_TENANT;
        return uuid_parse(id, &out->id);
    }
    r->reload = true; /* deployment, grant, model, plugin */
    return false;
}

/* Reads and tells one batch; *out_rows says how many there were. */
static maas_status follow_batch(struct registry *r, int *out_rows, maas_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)atomic_load(&r->seq));
    struct str since = str_of(text);
    struct sql_result *rows = NULL;
    maas_status status = sql_exec(r->sql, "SELECT seq, kind, id FROM maas.registry_since($1)",
                                  &since, 1, &rows, error);
    if (status != MAAS_OK)
        return status;
    struct change changes[CHANGES_STEP];
    size_t count = 0;
    int n = sql_rows(rows);
    CHECK(n <= CHANGES_STEP);
    for (int row = 0; row < n; row++)
        count += read_change(r, sql_cell(rows, row, 1), sql_cell(rows, row, 2), &changes[count]);
    if (count > 0)
        tell_views(r, changes, count);
    if (n > 0)
        atomic_store(&r->seq, strtoull(sql_cell(rows, n - 1, 0).data, NULL, 10));
    sql_result_free(rows);
    *out_rows = n;
    return MAAS_OK;
}

static maas_status follow(struct registry *r, uint64_t newest, maas_error *error)
{
    uint64_t seq = atomic_load(&r->seq);
    if (newest < seq) {
        LOG(LOG_WARN, "registry.backwards", F_UINT("from", seq), F_UINT("to", newest));
        forget_all(r, newest);
    }
    maas_status status = MAAS_OK;
    int rows = CHANGES_STEP;
    while (newest > seq && rows == CHANGES_STEP && status == MAAS_OK)
        status = follow_batch(r, &rows, error);
    return status;
}

static maas_status read_newest(struct registry *r, uint64_t *out, maas_error *error)
{
    struct sql_result *row = NULL;
    maas_status status = sql_exec(r->sql, "SELECT maas.registry_seq()", NULL, 0, &row, error);
    if (status != MAAS_OK)
        return status;
    *out = strtoull(sql_cell(row, 0, 0).data, NULL, 10);
    sql_result_free(row);
    return MAAS_OK;
}

/* After a reconnect the session does not listen any more. Before the poll, so nothing falls
 * between. */
static maas_status listen_again(struct registry *r, maas_error *error)
{
    if (sql_is_up(r->sql) && sql_connects(r->sql) == r->listening)
        return MAAS_OK;
    maas_status status = sql_exec(r->sql, "LISTEN maas_registry", NULL, 0, NULL, error);
    if (status == MAAS_OK)
        r->listening = sql_connects(r->sql);
    return status;
}

static maas_status poll_once(struct registry *r, maas_error *error)
{
    uint64_t newest = 0;
    bool first = atomic_load(&r->heard_ns) == 0;
    maas_status status = listen_again(r, error);
    if (status == MAAS_OK)
        status = read_newest(r, &newest, error);
    if (status == MAAS_OK && first) /* the log's past is of no interest */
        forget_all(r, newest);
    if (status == MAAS_OK)
        status = follow(r, newest, error);
    if (status == MAAS_OK && r->reload)
        status = load_snapshot(r, error);
    return status;
}

static void note_failure(struct registry *r, const maas_error *error)
{
    atomic_fetch_add_explicit(&r->poll_failures, 1, memory_order_relaxed);
    uint32_t missed = atomic_fetch_add(&r->missed, 1) + 1;
    if (missed == MISSES_AWAY)
        LOG(LOG_WARN, "registry.away", F_STR("why", error->text));
    pthread_mutex_lock(&r->lock);
    snprintf(r->reason, sizeof r->reason, "%s", error->text);
    pthread_mutex_unlock(&r->lock);
}

static void round_once(struct registry *r)
{
    uint64_t sent_ns = clock_mono_ns();
    maas_error error = MAAS_ERROR_INIT;
    if (poll_once(r, &error) != MAAS_OK) {
        note_failure(r, &error);
        return;
    }
    if (atomic_exchange(&r->missed, 0) >= MISSES_AWAY)
        LOG(LOG_INFO, "registry.back", F_UINT("seq", atomic_load(&r->seq)));
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->heard_ns, sent_ns);
    pthread_cond_broadcast(&r->heard);
    pthread_mutex_unlock(&r->lock);
}

static void wait_for_news(struct registry *r)
{
    if (sql_wait_notify(r->sql, r->wake_fd, r->config.poll_ms) >= 0)
        return;
    struct pollfd fd = { .fd = r->wake_fd, .events = POLLIN };
    (void)poll(&fd, 1, (int)r->config.poll_ms);
}

static void *run(void *arg)
{
    struct registry *r = arg;
    thread_name("registry");
    while (!atomic_load(&r->stopping)) {
        round_once(r);
        used_flush(r);
        wait_for_news(r);
    }
    return NULL;
}

/* ---- life */

static void registry_free(struct registry *r)
{
    sql_close(r->sql);
    sql_close(r->loader);
    snapshot_unref(r->snapshot);
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    pthread_cond_destroy(&r->heard);
    pthread_mutex_destroy(&r->used.lock);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void registry_unref(struct registry *r)
{
    if (atomic_fetch_sub(&r->refs, 1) == 1)
        registry_free(r);
}

static void init_locks(struct registry *r)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->heard, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->used.lock, NULL);
}

/* For the first good round, which has loaded a snapshot. False when there was none in time. */
static bool wait_for_boot(struct registry *r, uint32_t boot_ms)
{
    uint64_t until_ns = clock_mono_ns() + (uint64_t)boot_ms * 1000000;
    struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000),
                              .tv_nsec = (long)(until_ns % 1000000000) };
    pthread_mutex_lock(&r->lock);
    while (atomic_load(&r->heard_ns) == 0 &&
           pthread_cond_timedwait(&r->heard, &r->lock, &until) != ETIMEDOUT)
        ;
    bool there = atomic_load(&r->heard_ns) != 0;
    pthread_mutex_unlock(&r->lock);
    return there;
}

maas_status registry_start(const struct registry_config *config, uint32_t boot_ms,
                           struct registry **out, maas_error *error)
{
    struct registry *r = calloc(1, sizeof *r);
    if (!r)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the registry");
    r->config = *config;
    r->config.conninfo = NULL; /* not kept: the connections have their own */
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&r->refs, 1);
    init_locks(r);
    budget_init(&r->budget, config->misses_per_s);
    maas_status status =
        r->wake_fd >= 0 ? MAAS_OK : fail(error, MAAS_E_INTERNAL, "no eventfd for the registry");
    if (status == MAAS_OK)
        status = sql_open(config->conninfo, config->call_timeout_ms, &r->sql, error);
    if (status == MAAS_OK)
        status =
            sql_open(config->conninfo, LOADER_TIMES * config->call_timeout_ms, &r->loader, error);
    if (status == MAAS_OK && pthread_create(&r->thread, NULL, run, r) != 0)
        status = fail(error, MAAS_E_EXHAUSTED, "no thread for the registry");
    if (status != MAAS_OK) {
        registry_free(r);
        return status;
    }
    *out = r;
    if (wait_for_boot(r, boot_ms))
        return MAAS_OK;
    pthread_mutex_lock(&r->lock);
    status = fail(error, MAAS_E_UNAVAILABLE, "no deployments could be read: %s", r->reason);
    pthread_mutex_unlock(&r->lock);
    return status;
}

void registry_stop(struct registry *r)
{
    if (!r)
        return;
    atomic_store(&r->stopping, true);
    uint64_t one = 1;
    CHECK(write(r->wake_fd, &one, sizeof one) == sizeof one);
    pthread_join(r->thread, NULL);
    registry_unref(r);
}

/* ---- what others ask */

bool registry_is_fresh(const struct registry *r)
{
    return atomic_load(&r->heard_ns) != 0 && atomic_load(&r->missed) < MISSES_AWAY;
}

bool registry_usable_at(const struct registry *r, uint64_t now_ns)
{
    uint64_t heard = atomic_load_explicit(&r->heard_ns, memory_order_relaxed);
    return heard != 0 &&
           (now_ns < heard || now_ns - heard <= (uint64_t)r->config.stale_max_ms * 1000000);
}

bool registry_is_usable(const struct registry *r)
{
    return registry_usable_at(r, clock_mono_ns());
}

uint64_t registry_seq(const struct registry *r)
{
    return atomic_load(&r->seq);
}

struct snapshot *registry_snapshot(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    struct snapshot *snapshot = r->snapshot ? snapshot_ref(r->snapshot) : NULL;
    pthread_mutex_unlock(&r->lock);
    return snapshot;
}

void registry_on_snapshot(struct registry *r, void (*fn)(void *arg, struct snapshot *s), void *arg)
{
    pthread_mutex_lock(&r->lock);
    r->on_snapshot = fn;
    r->on_snapshot_arg = arg;
    pthread_mutex_unlock(&r->lock);
}

void registry_counts(const struct registry *registry, struct registry_counts *out)
{
    /* The lock is not part of what const promises. */
    struct registry *r = (struct registry *)(uintptr_t)registry;
    pthread_mutex_lock(&r->lock);
    *out = r->gone;
    for (struct registry_view *v = r->views; v; v = *view_next(v))
        view_add_counts(v, out);
    out->deployments = r->snapshot ? r->snapshot->count : 0;
    pthread_mutex_unlock(&r->lock);
    out->snapshots = atomic_load_explicit(&r->snapshots, memory_order_relaxed);
    out->notices = atomic_load_explicit(&r->notices, memory_order_relaxed);
    out->poll_failures = atomic_load_explicit(&r->poll_failures, memory_order_relaxed);
}
