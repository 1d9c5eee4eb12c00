/*
 * fleet.c: the control thread of the workers. It is the process' main thread and the workers'
 * parent (a parent-death signal follows the thread that made the child, so it must be the one that
 * lives longest).
 *
 * One pool per deployed version, `workers_per_model` workers each. A pool goes STARTING → READY →
 * RETIRING; the deployment is switched to it when its first worker is ready, and only then is the
 * old pool closed, drained and ended. A worker that dies is replaced at once; after three deaths in
 * a minute its pool waits (1 s, doubling to 30 s) and the loops refuse its requests meanwhile.
 *
 * The thread sleeps in poll on an eventfd (poked by loops, by the registry, by SIGCHLD's handler)
 * and on the ready pipes of the workers that are starting. All state but the wish, the counters and
 * the published rows is its own.
 */
#include "fleet/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "fleet/artifact.h"
#include "fleet/plugin_file.h"
#include "fleet/worker_proc.h"
#include "store/sql.h"

#define POOLS_MAX      1024
#define ROWS_MAX       4096
#define WORKERS_MAX    16 /* of one pool */
#define STORM_DEATHS   3
#define STORM_NS       ((uint64_t)60 * 1000000000)
#define BACKOFF_MAX_MS 30000

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_READY, WORKER_CLOSING, WORKER_DYING };

struct worker {
    enum worker_state state;
    struct link *link;
    int ready_fd;
    uint64_t since_ns, restart_ns; /* when the state began; not to be started before */
    uint32_t restarts, backoff_ms;
    uint64_t deaths[STORM_DEATHS];
    char sandbox[96], reason[192]; /* of the last start that failed */
    uint8_t sha256[32];            /* of the plugin's file that it runs */
    bool refused;                  /* the last start: no such file is allowed */
    bool revoked;                  /* ended because what it runs is no longer allowed */
};

struct pool {
    struct pool_id id;
    struct snapshot *snapshot; /* keeps `spec` */
    const struct deployment *spec;
    bool wanted, switched, given_up;
    struct worker workers[WORKERS_MAX];
    struct pool *next;
};

struct fleet {
    struct fleet_config config;
    int wake_fd;
    _Atomic bool stopping, ready;
    struct sql *sql;
    struct pool *pools;
    struct snapshot *allowed; /* the newest wish: which plugins may run, in any pool */
    uint32_t pool_count;

    pthread_mutex_t lock; /* the wish and the published rows */
    struct snapshot *wish;
    struct fleet_worker *rows;
    uint32_t row_count;

    struct {
        struct fleet_port *port;
        struct loop *loop;
    } ports[CHANNEL_LOOPS_MAX];
    _Atomic uint64_t starts, exits, crashes, kills, load_failures, hostile;
    _Atomic uint64_t refused, revoked, sandbox_kills;
    _Atomic uint32_t ready_workers, wanted_workers;
};

static int sigchld_fd = -1; /* written by the signal handler only */

static void on_sigchld(int signal_number)
{
    int saved = errno;
    uint64_t one = 1;
    (void)signal_number;
    ssize_t n = write(sigchld_fd, &one, sizeof(one));
    (void)n;
    errno = saved;
}

void fleet_poke(struct fleet *fleet)
{
    uint64_t one = 1;
    ssize_t n = write(fleet->wake_fd, &one, sizeof(one));
    (void)n; /* a full eventfd is awake already */
}

void fleet_count_hostile(struct fleet *fleet)
{
    atomic_fetch_add_explicit(&fleet->hostile, 1, memory_order_relaxed);
}

uint32_t fleet_queue_max(const struct fleet *fleet)
{
    return fleet->config.queue_max;
}

uint32_t fleet_hang_grace_ms(const struct fleet *fleet)
{
    return fleet->config.hang_grace_ms;
}

void fleet_register_port(struct fleet *fleet, uint32_t index, struct fleet_port *port,
                         struct loop *loop)
{
    CHECK(index < CHANNEL_LOOPS_MAX);
    fleet->ports[index].port = port;
    fleet->ports[index].loop = loop;
}

void link_unref(struct link *link)
{
    if (link && atomic_fetch_sub(&link->refs, 1) == 1) {
        channel_free(link->channel);
        free(link);
    }
}

void fleet_tell(struct fleet *fleet, enum lane_event event, const struct pool_id *pool,
                struct link *link)
{
    for (uint32_t i = 0; i < fleet->config.loops; i++) {
        struct lane_message *m = calloc(1, sizeof(*m));
        CHECK(m);
        m->post.run = port_on_message;
        m->port = fleet->ports[i].port;
        m->event = event;
        m->pool = *pool;
        m->link = link;
        if (link)
            atomic_fetch_add(&link->refs, 1);
        loop_post(fleet->ports[i].loop, &m->post);
    }
}

/* ---- one worker */

static void worker_schedule(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    bool storm = w->deaths[STORM_DEATHS - 1] && now - w->deaths[STORM_DEATHS - 1] < STORM_NS;
    w->state = WORKER_NONE;
    w->since_ns = now;
    if (!storm) {
        w->backoff_ms = 0;
        w->restart_ns = now;
        return;
    }
    w->backoff_ms = w->backoff_ms ? w->backoff_ms * 2 : 1000;
    if (w->backoff_ms > BACKOFF_MAX_MS)
        w->backoff_ms = BACKOFF_MAX_MS;
    w->restart_ns = now + (uint64_t)w->backoff_ms * 1000000;
    LOG(LOG_WARN, "worker.backoff", F_STR("model", pool->spec->name), F_UINT("ms", w->backoff_ms));
    fleet_tell(fleet, ROUTE_DOWN, &pool->id, NULL);
}

static void worker_note_death(struct worker *w, uint64_t now)
{
    memmove(w->deaths + 1, w->deaths, sizeof(w->deaths) - sizeof(w->deaths[0]));
    w->deaths[0] = now;
    w->restarts++;
}

static void worker_note_reason(struct worker *w, const char *text)
{
    snprintf(w->reason, sizeof(w->reason), "%.*s", (int)sizeof(w->reason) - 1, text);
}

static maas_status worker_launch(struct fleet *fleet, struct pool *pool, struct worker *w,
                                 maas_error *error)
{
    const struct fleet_config *c = &fleet->config;
    char root[1024], plugin[1024];
    struct channel *channel = NULL;
    int pid = 0;
    maas_status status = plugin_file_find(c->plugins_dir, fleet->allowed, pool->spec->plugin,
                                          plugin, sizeof(plugin), w->sha256, error);
    w->refused = status == MAAS_E_DENIED;
    if (w->refused)
        atomic_fetch_add(&fleet->refused, 1);
    if (!status)
        status = artifact_fetch(fleet->sql, c->cache_dir, pool->spec->artifact, root, sizeof(root),
                                error);
    if (!status)
        status = channel_create(c->loops, c->ring_bytes, c->ring_bytes, &channel, error);
    if (status)
        return status;
    struct worker_spec spec = { .binary = c->worker_binary,
                                .plugin_file = plugin,
                                .sha256 = w->sha256,
                                .root = root,
                                .options_json = pool->spec->options_json,
                                .memory_max = c->memory_max,
                                .loops = c->loops };
    status = worker_spawn(&spec, channel, &pid, &w->ready_fd, error);
    struct link *link = status ? NULL : calloc(1, sizeof(*link));
    if (!link) {
        channel_free(channel);
        return status ? status : fail(error, MAAS_E_EXHAUSTED, "no memory for a worker");
    }
    atomic_store(&link->refs, 1);
    link->channel = channel;
    link->pid = pid;
    w->link = link;
    atomic_fetch_add(&fleet->starts, 1);
    return MAAS_OK;
}

static void worker_start(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    maas_error error = MAAS_ERROR_INIT;
    if (worker_launch(fleet, pool, w, &error)) {
        LOG(LOG_ERROR, "worker.start", F_STR("model", pool->spec->name),
            F_STR("plugin", pool->spec->plugin), F_STR("reason", error.text));
        worker_note_reason(w, error.text);
        atomic_fetch_add(&fleet->load_failures, 1);
        for (int i = 0; i < STORM_DEATHS; i++)
            worker_note_death(w, now); /* no use in trying again at once */
        pool->given_up = true;
        worker_schedule(fleet, pool, w, now);
        return;
    }
    w->state = WORKER_STARTING;
    w->since_ns = now;
}

static void worker_close_ready(struct worker *w)
{
    if (w->ready_fd >= 0)
        close(w->ready_fd);
    w->ready_fd = -1;
}

static void worker_kill(struct fleet *fleet, struct worker *w)
{
    if (!w->link || w->state == WORKER_DYING)
        return;
    kill(w->link->pid, SIGKILL); /* ours, not yet reaped: the pid is still its own */
    atomic_fetch_add(&fleet->kills, 1);
    w->state = WORKER_DYING;
}

/* The worker's one line on its ready pipe: "ready sandbox=…" or "failed why". */
static void worker_hear(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    char line[320];
    ssize_t n = read(w->ready_fd, line, sizeof(line) - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    worker_close_ready(w);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "ready", 5) != 0) {
        LOG(LOG_ERROR, "worker.load", F_STR("model", pool->spec->name),
            F_STR("plugin", pool->spec->plugin),
            F_STR("reason", n > 0 ? line : "it ended before it was ready"));
        worker_note_reason(w, n > 0 ? line : "it ended before it was ready");
        atomic_fetch_add(&fleet->load_failures, 1);
        pool->given_up = true;
        worker_kill(fleet, w);
        return;
    }
    snprintf(w->sandbox, sizeof(w->sandbox), "%s", line + 5 + strspn(line + 5, " "));
    w->state = WORKER_READY;
    w->reason[0] = '\0';
    pool->given_up = false;
    LOG(LOG_INFO, "worker.ready", F_STR("model", pool->spec->name),
        F_UINT("version", pool->id.number), F_INT("pid", w->link->pid),
        F_UINT("ms", (now - w->since_ns) / 1000000), F_STR("sandbox", w->sandbox));
    w->since_ns = now;
    fleet_tell(fleet, LANE_OPEN, &pool->id, w->link);
    if (!pool->switched)
        fleet_tell(fleet, ROUTE_SWITCH, &pool->id, NULL);
    pool->switched = true;
}

static void worker_gone(struct fleet *fleet, struct pool *pool, struct worker *w, int wait_status,
                        uint64_t now)
{
    bool told = w->state != WORKER_STARTING;
    bool expected = w->state == WORKER_CLOSING || !pool->wanted || w->revoked;
    LOG(expected ? LOG_INFO : LOG_WARN, "worker.exit", F_STR("model", pool->spec->name),
        F_INT("pid", w->link->pid),
        F_INT("signal", WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0),
        F_INT("code", WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1));
    atomic_fetch_add(&fleet->exits, 1);
    if (!expected)
        atomic_fetch_add(&fleet->crashes, 1);
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGSYS)
        atomic_fetch_add(&fleet->sandbox_kills, 1);
    if (w->revoked && !pool->wanted) /* nothing replaces it: nobody shall wait for that */
        fleet_tell(fleet, ROUTE_DOWN, &pool->id, NULL);
    w->revoked = false;
    worker_close_ready(w);
    worker_note_death(w, now);
    worker_schedule(fleet, pool, w, now);
    if (told)
        fleet_tell(fleet, LANE_LOST, &pool->id, w->link);
    link_unref(w->link);
    w->link = NULL;
}

static void reap(struct fleet *fleet, uint64_t now)
{
    int wait_status, pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        for (struct pool *pool = fleet->pools; pool; pool = pool->next)
            for (uint32_t i = 0; i < WORKERS_MAX; i++)
                if (pool->workers[i].link && pool->workers[i].link->pid == pid)
                    worker_gone(fleet, pool, &pool->workers[i], wait_status, now);
}

/* What this worker runs is no longer allowed: its end costs the requests that it has begun. */
static void worker_check_plugin(struct fleet *fleet, const struct pool *pool, struct worker *w)
{
    if (!w->link || w->state == WORKER_DYING ||
        snapshot_allows(fleet->allowed, pool->spec->plugin, w->sha256))
        return;
    LOG(LOG_WARN, "worker.revoked", F_STR("model", pool->spec->name),
        F_STR("plugin", pool->spec->plugin), F_INT("pid", w->link->pid));
    atomic_fetch_add(&fleet->revoked, 1);
    w->revoked = true;
    worker_kill(fleet, w);
}

/* ---- pools */

/* Another file may be allowed than before: what was refused is tried at once. */
static void pool_try_again(struct pool *pool)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct worker *w = &pool->workers[i];
        if (w->state != WORKER_NONE || !w->refused)
            continue;
        memset(w->deaths, 0, sizeof(w->deaths));
        w->backoff_ms = 0;
        w->restart_ns = 0;
    }
}

static struct pool *pool_find(struct fleet *fleet, const struct deployment *d)
{
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        if (uuid_eq(&pool->id.deployment, &d->id) && uuid_eq(&pool->id.version, &d->version_id))
            return pool;
    return NULL;
}

static void pool_want(struct fleet *fleet, struct snapshot *snapshot, const struct deployment *d)
{
    struct pool *pool = pool_find(fleet, d);
    if (!pool) {
        if (fleet->pool_count >= POOLS_MAX || !(pool = calloc(1, sizeof(*pool)))) {
            LOG(LOG_ERROR, "fleet.full", F_STR("model", d->name), F_UINT("most", POOLS_MAX));
            return;
        }
        pool->id =
            (struct pool_id){ .deployment = d->id, .version = d->version_id, .number = d->version };
        snprintf(pool->id.text, sizeof(pool->id.text), "%u", d->version);
        for (uint32_t i = 0; i < WORKERS_MAX; i++)
            pool->workers[i].ready_fd = -1;
        pool->next = fleet->pools;
        fleet->pools = pool;
        fleet->pool_count++;
    }
    struct snapshot *old = pool->snapshot;
    pool->snapshot = snapshot_ref(snapshot);
    pool->spec = d;
    if (old)
        snapshot_unref(old);
    if (!pool->wanted && pool->switched)
        fleet_tell(fleet, ROUTE_SWITCH, &pool->id, NULL); /* rolled back to before it was drained */
    pool->wanted = true;
}

static void fleet_adopt_wish(struct fleet *fleet)
{
    pthread_mutex_lock(&fleet->lock);
    struct snapshot *wish = fleet->wish;
    fleet->wish = NULL;
    pthread_mutex_unlock(&fleet->lock);
    if (!wish)
        return;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next) {
        pool->wanted = false;
        pool_try_again(pool);
    }
    for (uint32_t i = 0; i < wish->count; i++)
        pool_want(fleet, wish, &wish->deployments[i]);
    snapshot_unref(fleet->allowed);
    fleet->allowed = wish;
}

/* Another pool of this deployment serves, or none is wanted any more: this one may go. */
static bool pool_may_go(const struct fleet *fleet, const struct pool *pool)
{
    bool successor = false;
    if (pool->wanted)
        return false;
    for (const struct pool *p = fleet->pools; p; p = p->next)
        if (p != pool && p->wanted && uuid_eq(&p->id.deployment, &pool->id.deployment)) {
            if (p->switched)
                return true;
            successor = true;
        }
    return !successor;
}

static void worker_retire(struct fleet *fleet, struct pool *pool, struct worker *w)
{
    if (w->state == WORKER_STARTING) {
        worker_kill(fleet, w);
    } else if (w->state == WORKER_READY) {
        fleet_tell(fleet, LANE_CLOSE, &pool->id, w->link);
        w->state = WORKER_CLOSING;
    } else if (w->state == WORKER_CLOSING &&
               atomic_load(&w->link->drained) >= fleet->config.loops) {
        kill(w->link->pid, SIGKILL); /* nothing in flight: its end is the unload */
        w->state = WORKER_DYING;
    }
}

static bool pool_step(struct fleet *fleet, struct pool *pool, uint64_t now)
{
    bool go = pool_may_go(fleet, pool), empty = true;
    for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
        struct worker *w = &pool->workers[i];
        if (w->link && atomic_load(&w->link->kill))
            worker_kill(fleet, w);
        worker_check_plugin(fleet, pool, w);
        if (w->state == WORKER_STARTING &&
            now - w->since_ns > (uint64_t)fleet->config.start_ms * 1000000) {
            LOG(LOG_ERROR, "worker.slow", F_STR("model", pool->spec->name),
                F_UINT("most_ms", fleet->config.start_ms));
            pool->given_up = true;
            worker_kill(fleet, w);
        }
        if (go)
            worker_retire(fleet, pool, w);
        else if (w->state == WORKER_NONE && pool->wanted && now >= w->restart_ns)
            worker_start(fleet, pool, w, now);
        empty &= w->link == NULL;
    }
    return go && empty;
}

static void pools_step(struct fleet *fleet, uint64_t now)
{
    for (struct pool **at = &fleet->pools; *at;) {
        struct pool *pool = *at;
        if (!pool_step(fleet, pool, now)) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        fleet->pool_count--;
        fleet_tell(fleet, ROUTE_GONE, &pool->id, NULL);
        snapshot_unref(pool->snapshot);
        free(pool);
    }
}

/* ---- what others see */

static void publish_row(struct fleet *fleet, const struct pool *pool, const struct worker *w)
{
    static const char *const names[] = { "waiting", "starting", "ready", "draining", "ending" };
    if (fleet->row_count >= ROWS_MAX)
        return;
    struct fleet_worker *row = &fleet->rows[fleet->row_count++];
    snprintf(row->deployment, sizeof(row->deployment), "%s", pool->spec->name);
    snprintf(row->plugin, sizeof(row->plugin), "%s", pool->spec->plugin);
    snprintf(row->state, sizeof(row->state), "%s", names[w->state]);
    snprintf(row->sandbox, sizeof(row->sandbox), "%s", w->sandbox);
    snprintf(row->reason, sizeof(row->reason), "%s", w->reason);
    if (w->link)
        hex_encode(w->sha256, sizeof(w->sha256), row->sha256);
    else
        row->sha256[0] = '\0';
    row->version = pool->id.number;
    row->restarts = w->restarts;
    row->pid = w->link ? w->link->pid : 0;
}

static void publish(struct fleet *fleet)
{
    uint32_t ready = 0, wanted = 0;
    bool all = true;
    pthread_mutex_lock(&fleet->lock);
    fleet->row_count = 0;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next) {
        all &= !pool->wanted || pool->switched || pool->given_up;
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++) {
            publish_row(fleet, pool, &pool->workers[i]);
            ready += pool->workers[i].state == WORKER_READY;
            wanted += pool->wanted;
        }
    }
    bool settled = all && !fleet->wish;
    pthread_mutex_unlock(&fleet->lock);
    atomic_store(&fleet->ready_workers, ready);
    atomic_store(&fleet->wanted_workers, wanted);
    if (settled)
        atomic_store(&fleet->ready, true);
}

/* ---- the thread */

static void hear_all(struct fleet *fleet, uint64_t now)
{
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
            if (pool->workers[i].ready_fd >= 0)
                worker_hear(fleet, pool, &pool->workers[i], now);
}

static void wait_for_news(struct fleet *fleet)
{
    struct pollfd fds[64] = { { .fd = fleet->wake_fd, .events = POLLIN } };
    nfds_t n = 1;
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
            if (pool->workers[i].ready_fd >= 0 && n < COUNT_OF(fds))
                fds[n++] = (struct pollfd){ .fd = pool->workers[i].ready_fd, .events = POLLIN };
    uint64_t count;
    if (poll(fds, n, 100) > 0 && (fds[0].revents & POLLIN)) {
        ssize_t got = read(fleet->wake_fd, &count, sizeof(count));
        (void)got;
    }
}

void fleet_run(struct fleet *fleet)
{
    while (!atomic_load(&fleet->stopping)) {
        uint64_t now = clock_mono_ns();
        fleet_adopt_wish(fleet);
        hear_all(fleet, now);
        reap(fleet, now);
        pools_step(fleet, now);
        publish(fleet);
        wait_for_news(fleet);
    }
}

void fleet_stop(struct fleet *fleet)
{
    atomic_store(&fleet->stopping, true);
    fleet_poke(fleet);
}

maas_status fleet_new(const struct fleet_config *config, struct fleet **out, maas_error *error)
{
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    if (!fleet || !(fleet->rows = calloc(ROWS_MAX, sizeof(*fleet->rows)))) {
        free(fleet);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the fleet");
    }
    CHECK(config->loops <= CHANNEL_LOOPS_MAX && config->workers_per_model <= WORKERS_MAX);
    fleet->config = *config;
    pthread_mutex_init(&fleet->lock, NULL);
    fleet->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(fleet->wake_fd >= 0);
    maas_status status = sql_open(config->conninfo, config->sql_timeout_ms, &fleet->sql, error);
    if (status) {
        close(fleet->wake_fd);
        free(fleet->rows);
        free(fleet);
        return status;
    }
    sigchld_fd = fleet->wake_fd;
    struct sigaction action = { .sa_handler = on_sigchld, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    sigaction(SIGCHLD, &action, NULL);
    *out = fleet;
    return MAAS_OK;
}

static void pool_free(struct pool *pool)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct worker *w = &pool->workers[i];
        worker_close_ready(w);
        if (!w->link)
            continue;
        kill(w->link->pid, SIGKILL);
        waitpid(w->link->pid, NULL, 0);
        link_unref(w->link);
    }
    snapshot_unref(pool->snapshot);
    free(pool);
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    signal(SIGCHLD, SIG_DFL);
    while (fleet->pools) {
        struct pool *pool = fleet->pools;
        fleet->pools = pool->next;
        pool_free(pool);
    }
    if (fleet->wish)
        snapshot_unref(fleet->wish);
    snapshot_unref(fleet->allowed);
    sql_close(fleet->sql);
    close(fleet->wake_fd);
    pthread_mutex_destroy(&fleet->lock);
    free(fleet->rows);
    free(fleet);
}

void fleet_want(struct fleet *fleet, struct snapshot *snapshot)
{
    pthread_mutex_lock(&fleet->lock);
    if (fleet->wish)
        snapshot_unref(fleet->wish);
    fleet->wish = snapshot_ref(snapshot);
    pthread_mutex_unlock(&fleet->lock);
    fleet_poke(fleet);
}

bool fleet_is_ready(const struct fleet *fleet)
{
    return atomic_load(&fleet->ready);
}

void fleet_counts(const struct fleet *fleet, struct fleet_counts *out)
{
    *out = (struct fleet_counts){ .starts = atomic_load(&fleet->starts),
                                  .exits = atomic_load(&fleet->exits),
                                  .crashes = atomic_load(&fleet->crashes),
                                  .kills = atomic_load(&fleet->kills),
                                  .load_failures = atomic_load(&fleet->load_failures),
                                  .hostile_frames = atomic_load(&fleet->hostile),
                                  .plugins_refused = atomic_load(&fleet->refused),
                                  .plugins_revoked = atomic_load(&fleet->revoked),
                                  .sandbox_kills = atomic_load(&fleet->sandbox_kills),
                                  .workers_ready = atomic_load(&fleet->ready_workers),
                                  .workers_wanted = atomic_load(&fleet->wanted_workers) };
}

uint32_t fleet_workers(struct fleet *fleet, struct fleet_worker *out, uint32_t max)
{
    pthread_mutex_lock(&fleet->lock);
    uint32_t n = fleet->row_count;
    memcpy(out, fleet->rows, (n < max ? n : max) * sizeof(*out));
    pthread_mutex_unlock(&fleet->lock);
    return n;
}
