/*
 * maintain.c: a thread that asks once a minute. A failure is logged and tried again.
 */
#include "meter/maintain.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/sql.h"

#define FIRST_S      5
#define EVERY_S      60
#define STATEMENT_MS 60000

struct maintain {
    char *conninfo;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
};

static void maintain_once(const char *conninfo)
{
    struct sql *sql = NULL;
    struct sql_result *row = NULL;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_open(conninfo, STATEMENT_MS, &sql, &error);
    if (!status)
        status = sql_exec(sql, "SELECT maas.usage_maintain()", NULL, 0, &row, &error);
    if (status)
        LOG(LOG_WARN, "usage.maintain", F_STR("reason", error.text));
    else if (sql_cell(row, 0, 0).len)
        LOG(LOG_INFO, "usage.maintain", F_STRN("did", sql_cell(row, 0, 0)));
    if (!status)
        sql_result_free(row);
    if (sql)
        sql_close(sql);
}

/* False when it is time to end. */
static bool wait_for(struct maintain *m, time_t seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping && pthread_cond_timedwait(&m->wake, &m->lock, &until) == 0) {
    }
    bool on = !m->stopping;
    pthread_mutex_unlock(&m->lock);
    return on;
}

static void *run(void *arg)
{
    struct maintain *m = arg;
    thread_name("usage-maintain");
    for (bool on = wait_for(m, FIRST_S); on; on = wait_for(m, EVERY_S))
        maintain_once(m->conninfo);
    return NULL;
}

static void maintain_free(struct maintain *m)
{
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m->conninfo);
    free(m);
}

maas_status maintain_start(const char *conninfo, struct maintain **out, maas_error *error)
{
    struct maintain *m = calloc(1, sizeof(*m));
    pthread_condattr_t attr;
    if (!m || !(m->conninfo = strdup(conninfo))) {
        free(m);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for maintenance");
    }
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->lock, NULL);
    if (pthread_create(&m->thread, NULL, run, m)) {
        maintain_free(m);
        return fail(error, MAAS_E_EXHAUSTED, "no thread for maintenance");
    }
    *out = m;
    return MAAS_OK;
}

void maintain_stop(struct maintain *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    maintain_free(m);
}
