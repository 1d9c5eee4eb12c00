/*
 * meter.c: the spool of this process: its folder and lock, its chains, the syncer thread (every
 * sync_ms: makes segments ahead, fdatasync) and the shipper thread (every SHIP_MS, or at once while
 * there is a backlog: batches into the sink; orphans at the start and every ORPHAN_MS).
 */
#include "meter/meter.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "meter/chain.h"
#include "meter/orphan.h"

#define BATCH          8192
#define SHIP_MS        100
#define ORPHAN_MS      10000
#define BACKOFF_MAX_MS 2000

struct meter_tap {
    struct chain chain;
    uint64_t numbers;        /* [loop] given out by meter_number */
    _Atomic uint64_t direct; /* [loop] writes: billed without the spool */
};

struct meter {
    struct uuid spool;
    char root[400], dir[512];
    int lock_fd;
    uint32_t loops, sync_ms;
    struct meter_tap *taps;
    struct usage_sink sink;
    uint64_t per_segment;
    pthread_t syncer, shipper;
    bool syncer_runs, shipper_runs, leaves;
    _Atomic bool stopping;
    _Atomic uint64_t stop_ns; /* the shipper gives up then */
    _Atomic uint64_t shipped, sync_failures, ship_failures, adopted, last_ship_us;
    struct usage_event *batch;
};

static void sleep_ms(uint32_t ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- the syncer */

static void *sync_thread(void *arg)
{
    struct meter *m = arg;
    thread_name("spool-sync");
    while (!atomic_load(&m->stopping)) {
        for (uint32_t i = 0; i < m->loops; i++)
            if (!chain_prepare(&m->taps[i].chain) || !chain_sync(&m->taps[i].chain))
                atomic_fetch_add(&m->sync_failures, 1);
        sleep_ms(m->sync_ms);
    }
    return NULL;
}

/* ---- the shipper */

/* One batch of each chain. Says whether there may be more at once. */
static bool ship_round(struct meter *m, maas_status *out_status)
{
    bool more = false;
    for (uint32_t i = 0; i < m->loops; i++) {
        uint64_t first;
        maas_error error = MAAS_ERROR_INIT;
        uint32_t n = chain_read(&m->taps[i].chain, m->batch, BATCH, &first);
        if (n == 0)
            continue;
        *out_status = m->sink.append(m->sink.arg, &m->spool, i, first, m->batch, n, &error);
        if (*out_status) {
            LOG(LOG_WARN, "usage.ship", F_STR("reason", error.text));
            atomic_fetch_add(&m->ship_failures, 1);
            return false;
        }
        chain_shipped(&m->taps[i].chain, n);
        atomic_fetch_add(&m->shipped, n);
        atomic_store(&m->last_ship_us, clock_real_us());
        more |= n == BATCH;
    }
    return more;
}

static void ship_orphans(struct meter *m)
{
    maas_error error = MAAS_ERROR_INIT;
    uint64_t events = 0, spools = 0;
    if (orphans_ship(m->root, &m->spool, m->per_segment, &m->sink, &events, &spools, &error))
        atomic_fetch_add(&m->ship_failures, 1);
    atomic_fetch_add(&m->adopted, spools);
    atomic_fetch_add(&m->shipped, events);
}

static bool is_empty(const struct meter *m)
{
    for (uint32_t i = 0; i < m->loops; i++)
        if (atomic_load(&m->taps[i].chain.shipped) != atomic_load(&m->taps[i].chain.appended))
            return false;
    return true;
}

static bool may_end(const struct meter *m)
{
    return atomic_load(&m->stopping) &&
           (is_empty(m) || clock_mono_ns() >= atomic_load(&m->stop_ns));
}

static void *ship_thread(void *arg)
{
    struct meter *m = arg;
    uint64_t orphans_ns = 0;
    uint32_t pause = SHIP_MS;
    thread_name("usage-ship");
    do {
        maas_status status = MAAS_OK;
        if (clock_mono_ns() >= orphans_ns && !atomic_load(&m->stopping)) {
            ship_orphans(m);
            orphans_ns = clock_mono_ns() + (uint64_t)ORPHAN_MS * 1000000;
        }
        if (ship_round(m, &status))
            continue;
        pause = !status ? SHIP_MS : pause * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : pause * 2;
        sleep_ms(atomic_load(&m->stopping) ? 10 : pause);
    } while (!may_end(m));
    return NULL;
}

/* ---- life */

static maas_status open_spool(struct meter *m, const struct meter_config *config, maas_error *error)
{
    char name[UUID_TEXT_MAX];
    uuid_random(&m->spool);
    uuid_format(&m->spool, name);
    if (strlen(config->dir) >= sizeof(m->root))
        return fail(error, MAAS_E_INVALID, "spool.dir: the path is too long");
    snprintf(m->root, sizeof(m->root), "%s", config->dir);
    snprintf(m->dir, sizeof(m->dir), "%s/%s", m->root, name);
    if ((mkdir(m->root, 0700) && errno != EEXIST) || mkdir(m->dir, 0700))
        return fail(error, MAAS_E_UNAVAILABLE, "spool.dir: cannot create '%s': %s", m->dir,
                    strerror(errno));
    m->lock_fd = spool_lock(m->dir, true);
    if (m->lock_fd < 0)
        return fail(error, MAAS_E_UNAVAILABLE, "spool.dir: cannot lock '%s': %s", m->dir,
                    strerror(errno));
    return MAAS_OK;
}

static maas_status open_chains(struct meter *m, const struct meter_config *config,
                               maas_error *error)
{
    m->taps = aligned_alloc(CACHE_LINE, (config->loops * sizeof(*m->taps) + CACHE_LINE - 1) /
                                            CACHE_LINE * CACHE_LINE);
    m->batch = malloc(BATCH * sizeof(*m->batch));
    if (!m->taps || !m->batch)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the spool");
    m->loops = config->loops;
    for (uint32_t i = 0; i < m->loops; i++) {
        chain_init(&m->taps[i].chain, m->dir, i, config->segment_bytes,
                   config->bytes_max / config->loops);
        m->taps[i].numbers = 0;
        atomic_init(&m->taps[i].direct, 0);
    }
    m->per_segment = m->taps[0].chain.per_segment;
    for (uint32_t i = 0; i < m->loops; i++)
        if (!chain_prepare(&m->taps[i].chain))
            return fail(error, MAAS_E_EXHAUSTED, "spool.dir: no room for a segment in '%s'",
                        m->dir);
    return MAAS_OK;
}

static void meter_free(struct meter *m)
{
    bool empty = m->taps && is_empty(m) && !m->leaves;
    for (uint32_t i = 0; i < m->loops; i++)
        chain_release(&m->taps[i].chain, empty);
    if (m->lock_fd >= 0) {
        char path[640];
        snprintf(path, sizeof(path), "%s/lock", m->dir);
        if (empty) {
            unlink(path);
            rmdir(m->dir);
        }
        close(m->lock_fd);
    }
    m->sink.close(m->sink.arg);
    free(m->taps);
    free(m->batch);
    free(m);
}

maas_status meter_start_with(const struct meter_config *config, const struct usage_sink *sink,
                             struct meter **out, maas_error *error)
{
    struct meter *m = calloc(1, sizeof(*m));
    if (!m) {
        sink->close(sink->arg);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the meter");
    }
    m->sink = *sink;
    m->sync_ms = config->sync_ms;
    m->lock_fd = -1;
    maas_status status = open_spool(m, config, error);
    if (!status)
        status = open_chains(m, config, error);
    if (!status) {
        m->syncer_runs = pthread_create(&m->syncer, NULL, sync_thread, m) == 0;
        m->shipper_runs = m->syncer_runs && pthread_create(&m->shipper, NULL, ship_thread, m) == 0;
        if (!m->shipper_runs)
            status = fail(error, MAAS_E_EXHAUSTED, "no thread for the spool");
    }
    if (status) {
        meter_stop(m, 0);
        return status;
    }
    *out = m;
    return MAAS_OK;
}

maas_status meter_start(const struct meter_config *config, struct meter **out, maas_error *error)
{
    struct usage_sink sink;
    maas_status status = ship_sql_open(config->conninfo, config->call_timeout_ms, &sink, error);
    return status ? status : meter_start_with(config, &sink, out, error);
}

void meter_stop(struct meter *m, uint32_t ms)
{
    if (!m)
        return;
    atomic_store(&m->stop_ns, clock_mono_ns() + (uint64_t)ms * 1000000);
    atomic_store(&m->stopping, true);
    if (m->syncer_runs)
        pthread_join(m->syncer, NULL);
    if (m->shipper_runs)
        pthread_join(m->shipper, NULL);
    for (uint32_t i = 0; i < m->loops; i++)
        if (!chain_sync(&m->taps[i].chain))
            atomic_fetch_add(&m->sync_failures, 1);
    meter_free(m);
}

void meter_leave(struct meter *meter)
{
    meter->leaves = true;
}

struct meter_tap *meter_tap(struct meter *meter, uint32_t loop)
{
    CHECK(loop < meter->loops);
    return &meter->taps[loop];
}

bool meter_ready(const struct meter_tap *tap)
{
    return chain_ready(&tap->chain);
}

maas_status meter_append(struct meter_tap *tap, const struct usage_event *event, maas_error *error)
{
    if (chain_append(&tap->chain, event))
        return MAAS_OK;
    return atomic_load(&tap->chain.failed)
               ? fail(error, MAAS_E_DATA_LOSS, "the usage spool cannot be synced to disk")
               : fail(error, MAAS_E_EXHAUSTED, "the usage spool is full");
}

uint64_t meter_number(struct meter_tap *tap)
{
    return ++tap->numbers;
}

void meter_count(struct meter_tap *tap)
{
    atomic_fetch_add_explicit(&tap->direct, 1, memory_order_relaxed);
}

struct uuid meter_spool(const struct meter *meter)
{
    return meter->spool;
}

void meter_counts(const struct meter *m, struct meter_counts *out)
{
    *out = (struct meter_counts){ .shipped = atomic_load(&m->shipped),
                                  .sync_failures = atomic_load(&m->sync_failures),
                                  .ship_failures = atomic_load(&m->ship_failures),
                                  .adopted = atomic_load(&m->adopted),
                                  .last_ship_us = atomic_load(&m->last_ship_us) };
    for (uint32_t i = 0; i < m->loops; i++) {
        const struct chain *c = &m->taps[i].chain;
        const uint64_t direct = atomic_load(&m->taps[i].direct);
        out->appended += atomic_load(&c->appended) + direct;
        out->shipped += direct;
        out->pending += atomic_load(&c->appended) - atomic_load(&c->shipped);
        out->bytes +=
            (atomic_load(&c->made) - atomic_load(&c->removed)) * c->per_segment * RECORD_BYTES;
    }
}
