/*
 * worker.c: one worker process from its start to its end. Its first word comes on its ready pipe:
 * it has loaded its model, tested it and shut the sandbox. What a failure means depends on the
 * pool: a candidate is given up, a serving pool tries again, after three deaths in a minute with a
 * growing wait (1 s, doubling to 30 s). Loops refuse requests only while no worker of the pool
 * lives.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "fleet/artifact.h"
#include "fleet/plugin_file.h"
#include "fleet/pool.h"
#include "fleet/worker_proc.h"

#define ROOT_MAX 1024

static void worker_move(struct fleet *fleet, struct worker *w, enum worker_state to, uint64_t now)
{
    static const bool legal[5][5] = {
        [WORKER_NONE] = { [WORKER_STARTING] = true },
        [WORKER_STARTING] = { [WORKER_READY] = true, [WORKER_DYING] = true, [WORKER_NONE] = true },
        [WORKER_READY] = { [WORKER_CLOSING] = true, [WORKER_DYING] = true, [WORKER_NONE] = true },
        [WORKER_CLOSING] = { [WORKER_DYING] = true, [WORKER_NONE] = true },
        [WORKER_DYING] = { [WORKER_NONE] = true },
    };
    CHECK(legal[w->state][to]);
    w->state = to;
    w->since_ns = now;
    fleet->changed = true;
}

/* For the log: of a group, its first one's. */
static const char *name_of(const struct pool *pool)
{
    return pool->members[0].spec->name;
}

static const char *plugin_of(const struct pool *pool)
{
    return pool->members[0].spec->plugin;
}

/* ---- deaths */

static void worker_note_death(struct worker *w, uint64_t now)
{
    memmove(w->deaths + 1, w->deaths, sizeof(w->deaths) - sizeof(w->deaths[0]));
    w->deaths[0] = now;
    w->restarts++;
}

/* When the next process may be started. The worker has none. */
static void worker_schedule(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    bool storm = w->deaths[STORM_DEATHS - 1] && now - w->deaths[STORM_DEATHS - 1] < STORM_NS;
    if (!storm) {
        w->backoff_ms = 0;
        w->restart_ns = now;
        return;
    }
    w->backoff_ms = w->backoff_ms ? w->backoff_ms * 2 : 1000;
    if (w->backoff_ms > BACKOFF_MAX_MS)
        w->backoff_ms = BACKOFF_MAX_MS;
    w->restart_ns = now + (uint64_t)w->backoff_ms * 1000000;
    LOG(LOG_WARN, "worker.backoff", F_STR("model", name_of(pool)), F_UINT("ms", w->backoff_ms));
    if (!pool_lives(pool))
        pool_tell(fleet, pool, ROUTE_DOWN, NULL);
}

/* ---- start */

static maas_status launch_into(struct fleet *fleet, struct worker *w,
                               const struct worker_spec *spec, maas_error *error)
{
    const struct fleet_config *c = &fleet->config;
    struct link *link = calloc(1, sizeof(*link));
    char *word = malloc(WORD_MAX);
    if (!link || !word) {
        free(link);
        free(word);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a worker");
    }
    maas_status status =
        channel_create(c->loops, c->ring_bytes, c->ring_bytes, &link->channel, error);
    if (!status)
        status = worker_spawn(spec, link->channel, &link->pid, &w->ready_fd, error);
    if (status) {
        channel_free(link->channel);
        free(link);
        free(word);
        return status;
    }
    atomic_store(&link->refs, 1);
    w->link = link;
    w->word = word;
    w->word_len = 0;
    return MAAS_OK;
}

/* The artifacts of all members, on disk. */
static maas_status fetch_all(struct fleet *fleet, struct pool *pool, struct worker *w,
                             char roots[][ROOT_MAX], struct worker_spec *spec, maas_error *error)
{
    maas_status status = MAAS_OK;
    spec->models = pool->member_count;
    for (uint32_t i = 0; i < pool->member_count && status == MAAS_OK; i++) {
        const struct deployment *d = pool->members[i].spec;
        w->at = i;
        status = artifact_fetch(fleet->sql, fleet->config.cache_dir, d->artifact, roots[i],
                                ROOT_MAX, error);
        spec->roots[i] = roots[i];
        spec->options_json[i] = d->options_json;
    }
    return status;
}

static maas_status worker_launch(struct fleet *fleet, struct pool *pool, struct worker *w,
                                 maas_error *error)
{
    const struct fleet_config *c = &fleet->config;
    char roots[CHANNEL_MODELS_MAX][ROOT_MAX], plugin[1024];
    struct worker_spec spec = { .binary = c->worker_binary,
                                .plugin_file = plugin,
                                .sha256 = w->sha256,
                                .memory_max = c->memory_max,
                                .loops = c->loops };
    w->at = NOBODY;
    maas_status status = plugin_file_find(c->plugins_dir, fleet->allowed, plugin_of(pool), plugin,
                                          sizeof(plugin), w->sha256, error);
    w->refused = status == MAAS_E_DENIED;
    atomic_fetch_add(&fleet->refused, w->refused);
    if (!status)
        status = fetch_all(fleet, pool, w, roots, &spec, error);
    if (status)
        return status;
    w->at = NOBODY;
    return launch_into(fleet, w, &spec, error);
}

static bool is_passing(maas_status status)
{
    return status == MAAS_E_UNAVAILABLE || status == MAAS_E_DEADLINE ||
           status == MAAS_E_EXHAUSTED || status == MAAS_E_ABORTED;
}

/* No process came of it. */
static void worker_not_started(struct fleet *fleet, struct pool *pool, struct worker *w,
                               bool passing, const char *reason, uint64_t now)
{
    LOG(LOG_ERROR, "worker.start", F_STR("model", name_of(pool)), F_STR("plugin", plugin_of(pool)),
        F_STR("reason", reason));
    snprintf(w->reason, sizeof(w->reason), "%.*s", (int)sizeof(w->reason) - 1, reason);
    fleet->changed = true;
    atomic_fetch_add(&fleet->load_failures, 1);
    if (pool->state == POOL_STARTING) {
        const struct failure failure = {
            .blamed = passing ? NOBODY : w->at, /* a database that is away is no member's fault */
            .passing = passing,
            .denied = w->refused,
            .reason = reason
        };
        candidate_fail(fleet, pool, &failure, now);
        return;
    }
    for (int i = 0; i < STORM_DEATHS; i++)
        worker_note_death(w, now); /* no use in trying again at once */
    worker_schedule(fleet, pool, w, now);
}

static void worker_start(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = worker_launch(fleet, pool, w, &error);
    if (status) {
        worker_not_started(fleet, pool, w, is_passing(status), error.text, now);
        return;
    }
    atomic_fetch_add(&fleet->starts, 1);
    worker_move(fleet, w, WORKER_STARTING, now);
}

static void worker_kill(struct fleet *fleet, struct worker *w, uint64_t now)
{
    if (!w->link || w->state == WORKER_DYING)
        return;
    kill(w->link->pid, SIGKILL); /* ours, not yet reaped: the pid is still its own */
    worker_move(fleet, w, WORKER_DYING, now);
}

static void worker_close_ready(struct worker *w)
{
    if (w->ready_fd >= 0)
        close(w->ready_fd);
    w->ready_fd = -1;
    free(w->word);
    w->word = NULL;
}

/* ---- its first word */

static void worker_failed(struct fleet *fleet, struct pool *pool, struct worker *w,
                          const char *reason, uint64_t now)
{
    LOG(LOG_ERROR, "worker.load", F_STR("model", name_of(pool)),
        F_UINT("version", pool->members[0].id.number), F_STR("plugin", plugin_of(pool)),
        F_STR("reason", reason));
    atomic_fetch_add(&fleet->load_failures, 1);
    snprintf(w->reason, sizeof(w->reason), "%.*s", (int)sizeof(w->reason) - 1, reason);
    worker_kill(fleet, w, now);
    if (pool->state == POOL_STARTING)
        candidate_fail(fleet, pool, &(struct failure){ .blamed = w->at, .reason = reason }, now);
}

static void worker_ready(struct fleet *fleet, struct pool *pool, struct worker *w, const char *word,
                         uint64_t now)
{
    uint64_t took_ns = now - w->since_ns;
    snprintf(w->sandbox, sizeof(w->sandbox), "%s", word + strspn(word, " "));
    w->reason[0] = '\0';
    worker_move(fleet, w, WORKER_READY, now);
    fleet->measured_ns = 0; /* at once */
    atomic_store(&w->link->used_ns, now);
    LOG(LOG_INFO, "worker.ready", F_STR("model", name_of(pool)),
        F_UINT("version", pool->members[0].id.number), F_INT("pid", w->link->pid),
        F_DOUBLE("ms", (double)took_ns / 1e6), F_STR("sandbox", w->sandbox));
    pool_tell(fleet, pool, LANE_OPEN, w->link);
    pool_on_ready(fleet, pool, now);
}

/* The next whole line of what came: taken out of it. */
static bool take_line(struct worker *w, char *out, size_t size)
{
    const char *end = memchr(w->word, '\n', w->word_len);
    if (!end)
        return false;
    size_t len = (size_t)(end - w->word), kept = len < size - 1 ? len : size - 1;
    memcpy(out, w->word, kept);
    out[kept] = '\0';
    w->word_len -= len + 1;
    memmove(w->word, end + 1, w->word_len);
    return true;
}

/* "at N": the member whose turn it is. False: another line. A number that is none blames nobody. */
static bool take_turn(const struct pool *pool, struct worker *w, const char *line)
{
    if (strncmp(line, "at ", 3) != 0)
        return false;
    unsigned long n = strtoul(line + 3, NULL, 10);
    w->at = n < pool->member_count ? (uint32_t)n : NOBODY;
    return true;
}

/* The word as it came; false: none yet. An empty one: it ended without a word, or says more than
 * there is to say. */
static bool read_word(const struct pool *pool, struct worker *w, char *out, size_t size)
{
    ssize_t n = read(w->ready_fd, w->word + w->word_len, WORD_MAX - w->word_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    w->word_len += n > 0 ? (size_t)n : 0;
    while (take_line(w, out, size))
        if (!take_turn(pool, w, out)) {
            worker_close_ready(w);
            return true;
        }
    if (n > 0 && w->word_len < WORD_MAX)
        return false;
    worker_close_ready(w);
    out[0] = '\0';
    return true;
}

static const char *why_failed(const char *word)
{
    return strncmp(word, "failed ", 7) == 0 ? word + 7 : word;
}

/* "ready sandbox=…" or "failed why"; an end without a word is told by worker_gone, which knows the
 * signal. */
void worker_hear(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    char word[320];
    if (!read_word(pool, w, word, sizeof(word)) || !word[0] || w->state != WORKER_STARTING)
        return;
    if (strncmp(word, "ready", 5) == 0)
        worker_ready(fleet, pool, w, word + 5, now);
    else
        worker_failed(fleet, pool, w, why_failed(word), now);
}

/* ---- steps */

static bool worker_is_slow(const struct fleet *fleet, const struct worker *w, uint64_t now)
{
    return w->state == WORKER_STARTING &&
           now - w->since_ns > (uint64_t)fleet->config.start_ms * 1000000;
}

static void worker_obey_loops(struct fleet *fleet, struct worker *w, uint64_t now)
{
    if (!w->link || w->state == WORKER_DYING || !atomic_load(&w->link->kill))
        return;
    atomic_fetch_add(&fleet->kills, 1);
    worker_kill(fleet, w, now);
}

/* What this worker runs is no longer allowed: its end costs the requests that it has begun. */
static void worker_check_plugin(struct fleet *fleet, const struct pool *pool, struct worker *w,
                                uint64_t now)
{
    if (!w->link || w->state == WORKER_DYING ||
        snapshot_allows(fleet->allowed, plugin_of(pool), w->sha256))
        return;
    LOG(LOG_WARN, "worker.revoked", F_STR("model", name_of(pool)), F_STR("plugin", plugin_of(pool)),
        F_INT("pid", w->link->pid));
    atomic_fetch_add(&fleet->revoked, 1);
    w->revoked = true;
    worker_kill(fleet, w, now);
}

bool worker_step(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    enum pool_state before = pool->state;
    worker_obey_loops(fleet, w, now);
    worker_check_plugin(fleet, pool, w, now);
    if (worker_is_slow(fleet, w, now)) {
        atomic_fetch_add(&fleet->kills, 1);
        worker_failed(fleet, pool, w, "it was not ready within workers.start_ms", now);
    } else if (w->state == WORKER_NONE && now >= w->restart_ns) {
        worker_start(fleet, pool, w, now);
    }
    return pool->state == before;
}

void worker_retire(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now)
{
    worker_obey_loops(fleet, w, now);
    worker_check_plugin(fleet, pool, w, now);
    if (w->state == WORKER_STARTING) {
        worker_kill(fleet, w, now);
    } else if (w->state == WORKER_READY) {
        fleet_tell(fleet, LANE_CLOSE, &pool->members[0].id, w->link);
        worker_move(fleet, w, WORKER_CLOSING, now);
    } else if (w->state == WORKER_CLOSING &&
               atomic_load(&w->link->drained) >= fleet->config.loops) {
        worker_kill(fleet, w, now); /* nothing in flight: its end is the unload */
    }
}

/* ---- end */

static void describe_end(int wait_status, char *out, size_t size)
{
    if (WIFSIGNALED(wait_status))
        snprintf(out, size, "it ended by signal %d (%s) before it served", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(out, size, "it ended with status %d before it served", WEXITSTATUS(wait_status));
}

static void count_end(struct fleet *fleet, const struct pool *pool, const struct worker *w,
                      int wait_status)
{
    bool expected = pool->state == POOL_CLOSING || w->revoked;
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGSYS)
        atomic_fetch_add(&fleet->sandbox_kills, 1);
    LOG(expected ? LOG_INFO : LOG_WARN, "worker.exit", F_STR("model", name_of(pool)),
        F_UINT("version", pool->members[0].id.number), F_INT("pid", w->link->pid),
        F_INT("signal", WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0),
        F_INT("code", WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1));
    atomic_fetch_add(&fleet->exits, 1);
    if (!expected)
        atomic_fetch_add(&fleet->crashes, 1);
}

/* Its last word says more than its end; it is reaped, so nothing may be sent to its pid any more.
 */
static void candidate_ended(struct fleet *fleet, struct pool *pool, struct worker *w,
                            int wait_status, uint64_t now)
{
    char word[320] = "", reason[REASON_MAX];
    describe_end(wait_status, reason, sizeof(reason));
    bool told = w->ready_fd >= 0 && read_word(pool, w, word, sizeof(word)) &&
                strncmp(word, "failed ", 7) == 0;
    atomic_fetch_add(&fleet->load_failures, 1);
    const struct failure failure = { .blamed = w->at, .reason = told ? why_failed(word) : reason };
    candidate_fail(fleet, pool, &failure, now);
}

void worker_gone(struct fleet *fleet, struct pool *pool, struct worker *w, int wait_status,
                 uint64_t now)
{
    struct link *link = w->link;
    bool never_ready = w->state == WORKER_STARTING;
    count_end(fleet, pool, w, wait_status);
    w->revoked = false;
    worker_move(fleet, w, WORKER_NONE, now);
    w->link = NULL;
    w->memory = 0;
    if (pool->state == POOL_STARTING) {
        candidate_ended(fleet, pool, w, wait_status, now);
    } else if (pool->state == POOL_SERVING) {
        worker_note_death(w, now);
        worker_schedule(fleet, pool, w, now);
        if (w->backoff_ms && pool->member_count > 1)
            group_split(fleet, pool, now);
    }
    worker_close_ready(w);
    if (!never_ready)
        fleet_tell(fleet, LANE_LOST, &pool->members[0].id, link);
    link_unref(link);
}

void worker_end(struct worker *w)
{
    worker_close_ready(w);
    if (!w->link)
        return;
    kill(w->link->pid, SIGKILL);
    waitpid(w->link->pid, NULL, 0);
    link_unref(w->link);
    w->link = NULL;
}
