/*
 * presence.c: a thread that says `maas.gateway_heard` every BEAT_MS and, every PURGE_MS, removes
 * expired idempotency rows in batches: each is one short transaction, so nobody waits for it.
 */
#include "api/presence.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"
#include "store/sql.h"

#define BEAT_MS     1000
#define PURGE_BEATS 10 /* a batch each so many beats, and at once while there is more */
#define PURGE_ROWS  500

struct presence {
    struct sql *sql;
    char id[UUID_TEXT_MAX];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, away;
};

static void say(struct presence *p, const char *statement)
{
    const struct str id = str_of(p->id);
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec(p->sql, statement, &id, 1, NULL, &error);
    if (status && !p->away) /* once an outage */
        LOG(LOG_WARN, "presence.unheard", F_STR("reason", error.text));
    p->away = status != MAAS_OK;
}

/* True while there may be more. */
static bool purge(struct presence *p)
{
    char most[16];
    struct sql_result *result = NULL;
    maas_error error = MAAS_ERROR_INIT;
    char *end = text_uint(most, PURGE_ROWS);
    const struct str value = { most, (size_t)(end - most) };
    if (p->away ||
        sql_exec(p->sql, "SELECT maas.idempotency_purge($1)", &value, 1, &result, &error))
        return false;
    bool more = str_eq(sql_cell(result, 0, 0), value);
    sql_result_free(result);
    return more;
}

/* Sleeps a beat; false when it is time to end. */
static bool sleep_beat(struct presence *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += BEAT_MS / 1000;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping && pthread_cond_timedwait(&p->wake, &p->lock, &until) != ETIMEDOUT)
        ;
    bool goes_on = !p->stopping;
    pthread_mutex_unlock(&p->lock);
    return goes_on;
}

static void *presence_thread(void *arg)
{
    struct presence *p = arg;
    bool more = false;
    thread_name("presence");
    for (uint64_t beat = 0; beat == 0 || sleep_beat(p); beat++) {
        say(p, "SELECT maas.gateway_heard($1)");
        if (more || beat % PURGE_BEATS == 0)
            more = purge(p);
    }
    say(p, "SELECT maas.gateway_gone($1)");
    return NULL;
}

maas_status presence_start(const char *conninfo, uint32_t call_timeout_ms, const struct uuid *id,
                           struct presence **out, maas_error *error)
{
    pthread_condattr_t clock;
    struct presence *p = calloc(1, sizeof(*p));
    if (!p)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the gateway's presence");
    uuid_format(id, p->id);
    maas_status status = sql_open(conninfo, call_timeout_ms, &p->sql, error);
    if (status) {
        free(p);
        return status;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &clock);
    pthread_condattr_destroy(&clock);
    if (pthread_create(&p->thread, NULL, presence_thread, p)) {
        sql_close(p->sql);
        free(p);
        return fail(error, MAAS_E_EXHAUSTED, "no thread for the gateway's presence");
    }
    *out = p;
    return MAAS_OK;
}

void presence_stop(struct presence *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    sql_close(p->sql);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
