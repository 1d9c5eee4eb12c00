/*
 * fleet.c: the control thread of the workers and what others may ask of it. It is the process' main
 * thread and the workers' parent (a parent-death signal follows the thread that made the child, so
 * it must be the one that lives longest).
 *
 * A turn: adopt the newest wish, heed who asks for models, hear and reap workers, then step the
 * deployments, their pools and the processes (service.c, pool.c, worker.c), show what changed, and
 * sleep in poll on an eventfd (poked by loops, by the registry, by SIGCHLD's handler) and on the
 * ready pipes of the workers that are starting. All state but the wish, the asks, the counters and
 * the published rows is its own.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleet/memory.h"
#include "fleet/pool.h"
#include "fleet/port.h"

#define POLL_MS 100 /* how soon a changed plugin file or a passed backoff is seen */

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

uint32_t fleet_tenant_queue_max(const struct fleet *fleet)
{
    return fleet->config.tenant_queue_max;
}

struct suspects *fleet_suspects(const struct fleet *fleet)
{
    return fleet->suspects;
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

/* ---- asks and wishes */

static void ask_add(struct fleet *fleet, const struct uuid *deployment, bool restart)
{
    struct ask *ask = calloc(1, sizeof(*ask));
    CHECK(ask);
    ask->deployment = *deployment;
    ask->restart = restart;
    pthread_mutex_lock(&fleet->lock);
    *fleet->asks_end = ask;
    fleet->asks_end = &ask->next;
    pthread_mutex_unlock(&fleet->lock);
    fleet_poke(fleet);
}

void fleet_ask(struct fleet *fleet, const struct uuid *deployment)
{
    ask_add(fleet, deployment, false);
}

void fleet_restart(struct fleet *fleet, const struct uuid *deployment)
{
    ask_add(fleet, deployment, true);
}

static void take_news(struct fleet *fleet, uint64_t now)
{
    pthread_mutex_lock(&fleet->lock);
    struct snapshot *wish = fleet->wish;
    struct ask *asks = fleet->asks;
    fleet->wish = NULL;
    fleet->asks = NULL;
    fleet->asks_end = &fleet->asks;
    pthread_mutex_unlock(&fleet->lock);
    if (wish)
        services_adopt(fleet, wish);
    services_heed(fleet, asks, now);
}

/* ---- the thread */

static void reap(struct fleet *fleet, uint64_t now)
{
    int wait_status, pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        for (struct pool *pool = fleet->pools; pool; pool = pool->next)
            for (uint32_t i = 0; i < WORKERS_MAX; i++)
                if (pool->workers[i].link && pool->workers[i].link->pid == pid)
                    worker_gone(fleet, pool, &pool->workers[i], wait_status, now);
}

static void hear_all(struct fleet *fleet, uint64_t now)
{
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
            if (pool->workers[i].ready_fd >= 0)
                worker_hear(fleet, pool, &pool->workers[i], now);
}

static void watch_fd(struct fleet *fleet, size_t *n, int fd)
{
    if (*n == fleet->fds_room) {
        fleet->fds_room = *n * 2 + 64;
        fleet->fds = realloc(fleet->fds, fleet->fds_room * sizeof(*fleet->fds));
        CHECK(fleet->fds);
    }
    fleet->fds[(*n)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

/* While anything changes nobody sleeps: what one step did is what the next one waits for. */
static void wait_for_news(struct fleet *fleet, bool changes)
{
    size_t n = 0;
    watch_fd(fleet, &n, fleet->wake_fd);
    for (struct pool *pool = fleet->pools; pool; pool = pool->next)
        for (uint32_t i = 0; i < fleet->config.workers_per_model; i++)
            if (pool->workers[i].ready_fd >= 0)
                watch_fd(fleet, &n, pool->workers[i].ready_fd);
    uint64_t count;
    if (poll(fleet->fds, n, changes ? 0 : POLL_MS) > 0 && (fleet->fds[0].revents & POLLIN)) {
        ssize_t got = read(fleet->wake_fd, &count, sizeof(count));
        (void)got;
    }
}

void fleet_run(struct fleet *fleet)
{
    while (!atomic_load(&fleet->stopping)) {
        uint64_t now = clock_mono_ns();
        take_news(fleet, now);
        hear_all(fleet, now);
        reap(fleet, now);
        services_step(fleet, now);
        resident_step(fleet, now);
        pools_step(fleet, now);
        bool changes = fleet->changed;
        rows_publish(fleet);
        wait_for_news(fleet, changes);
    }
}

void fleet_stop(struct fleet *fleet)
{
    atomic_store(&fleet->stopping, true);
    fleet_poke(fleet);
}

/* ---- life */

maas_status fleet_new(const struct fleet_config *config, struct fleet **out, maas_error *error)
{
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    if (!fleet)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the fleet");
    CHECK(config->loops <= CHANNEL_LOOPS_MAX && config->workers_per_model <= WORKERS_MAX &&
          config->group_max <= CHANNEL_MODELS_MAX);
    fleet->config = *config;
    if (!fleet->config.resident_memory_max)
        fleet->config.resident_memory_max = memory_of_machine() / 2;
    fleet->asks_end = &fleet->asks;
    pthread_mutex_init(&fleet->lock, NULL);
    fleet->suspects = suspects_new();
    CHECK(fleet->suspects);
    fleet->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(fleet->wake_fd >= 0);
    maas_status status = sql_open(config->conninfo, config->sql_timeout_ms, &fleet->sql, error);
    if (status) {
        suspects_free(fleet->suspects);
        close(fleet->wake_fd);
        free(fleet);
        return status;
    }
    sigchld_fd = fleet->wake_fd;
    struct sigaction action = { .sa_handler = on_sigchld, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    sigaction(SIGCHLD, &action, NULL);
    *out = fleet;
    return MAAS_OK;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    signal(SIGCHLD, SIG_DFL);
    while (fleet->pools)
        pool_free(fleet, fleet->pools);
    services_free(fleet);
    while (fleet->asks) {
        struct ask *ask = fleet->asks;
        fleet->asks = ask->next;
        free(ask);
    }
    snapshot_unref(fleet->wish);
    snapshot_unref(fleet->allowed);
    sql_close(fleet->sql);
    close(fleet->wake_fd);
    suspects_free(fleet->suspects);
    pthread_mutex_destroy(&fleet->lock);
    free(fleet->rows);
    free(fleet->deployment_rows);
    free(fleet->fds);
    free(fleet);
}

/* ---- what others ask */

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

static uint64_t read_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add_port(const struct port_counts *port, struct fleet_counts *out, uint64_t *parts)
{
    out->answers += read_count(&port->answers);
    out->merged += read_count(&port->merged);
    out->rows += read_count(&port->rows);
    out->late += read_count(&port->late);
    out->exhausted += read_count(&port->exhausted);
    out->crowded += read_count(&port->crowded);
    out->condemned += read_count(&port->condemned);
    *parts += read_count(&port->call_parts);
}

void fleet_counts(const struct fleet *fleet, struct fleet_counts *out)
{
    uint64_t parts = 0;
    *out = (struct fleet_counts){ .starts = atomic_load(&fleet->starts),
                                  .exits = atomic_load(&fleet->exits),
                                  .crashes = atomic_load(&fleet->crashes),
                                  .kills = atomic_load(&fleet->kills),
                                  .load_failures = atomic_load(&fleet->load_failures),
                                  .hostile_frames = atomic_load(&fleet->hostile),
                                  .plugins_refused = atomic_load(&fleet->refused),
                                  .plugins_revoked = atomic_load(&fleet->revoked),
                                  .sandbox_kills = atomic_load(&fleet->sandbox_kills),
                                  .swaps = atomic_load(&fleet->swaps),
                                  .swap_failures = atomic_load(&fleet->swap_failures),
                                  .evictions = atomic_load(&fleet->evictions),
                                  .splits = atomic_load(&fleet->splits),
                                  .resident = atomic_load(&fleet->resident),
                                  .memory_bytes = atomic_load(&fleet->memory),
                                  .memory_max = fleet->config.resident_memory_max,
                                  .workers_ready = atomic_load(&fleet->ready_workers),
                                  .workers_wanted = atomic_load(&fleet->wanted_workers) };
    for (uint32_t i = 0; i < fleet->config.loops; i++)
        if (fleet->ports[i].port)
            add_port(&fleet->ports[i].port->counts, out, &parts);
    out->calls = (parts + CALL_PARTS / 2) / CALL_PARTS;
}
