/*
 * log.c: structured log lines. A line is built on the caller's stack, then copied under a short
 * lock into a bounded buffer that a thread writes to stderr every 50 ms; WARN and above, and
 * everything before log_start, go out at once. A full buffer drops the line and counts it: logging
 * never waits for a slow disk.
 */
#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

#define LINE_MAX_BYTES 4096
#define BUFFER_BYTES   ((size_t)1 << 20)
#define FLUSH_MS       50

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stopping;
    enum log_level least;
    char process[32];
    char *pending, *writing;
    size_t pending_len;
    uint64_t dropped;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER,
            .wake = PTHREAD_COND_INITIALIZER,
            .least = LOG_INFO,
            .process = "maas" };

static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

/* Writes what is pending; called with the lock held, which it gives up while it writes. */
static void flush_locked(void)
{
    char *full = state.pending;
    size_t len = state.pending_len;
    state.pending = state.writing;
    state.writing = full;
    state.pending_len = 0;
    pthread_mutex_unlock(&state.lock);
    write_all(full, len);
    pthread_mutex_lock(&state.lock);
}

static void *flush_thread(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&state.lock);
    while (!state.stopping || state.pending_len) {
        if (state.pending_len == 0 || !state.stopping) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += FLUSH_MS * 1000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&state.wake, &state.lock, &until);
        }
        if (state.pending_len)
            flush_locked();
    }
    pthread_mutex_unlock(&state.lock);
    return NULL;
}

void log_start(const char *process, enum log_level least)
{
    pthread_mutex_lock(&state.lock);
    snprintf(state.process, sizeof(state.process), "%s", process);
    state.least = least;
    if (!state.running) {
        state.pending = malloc(BUFFER_BYTES);
        state.writing = malloc(BUFFER_BYTES);
        CHECK(state.pending && state.writing);
        state.stopping = false;
        state.running = pthread_create(&state.thread, NULL, flush_thread, NULL) == 0;
    }
    pthread_mutex_unlock(&state.lock);
}

void log_stop(void)
{
    pthread_mutex_lock(&state.lock);
    bool running = state.running;
    state.stopping = true;
    pthread_cond_signal(&state.wake);
    pthread_mutex_unlock(&state.lock);
    if (!running)
        return;
    pthread_join(state.thread, NULL);
    pthread_mutex_lock(&state.lock);
    state.running = false;
    free(state.pending);
    free(state.writing);
    state.pending = state.writing = NULL;
    pthread_mutex_unlock(&state.lock);
}

static void add_field(struct buf *b, const struct log_field *f)
{
    buf_add(b, ",", 1);
    buf_json(b, str_of(f->name));
    buf_add(b, ":", 1);
    switch (f->kind) {
    case LOG_FIELD_STR:
        buf_json(b, (struct str){ f->s.data, f->s.len > 1024 ? 1024 : f->s.len });
        break;
    case LOG_FIELD_INT:
        buf_fmt(b, "%" PRId64, f->i);
        break;
    case LOG_FIELD_UINT:
        buf_fmt(b, "%" PRIu64, f->u);
        break;
    case LOG_FIELD_DOUBLE:
        buf_fmt(b, "%.9g", f->d);
        break;
    }
}

static void keep_or_write(const char *line, size_t len, enum log_level level)
{
    pthread_mutex_lock(&state.lock);
    if (!state.running || state.stopping) {
        write_all(line, len);
    } else if (state.pending_len + len > BUFFER_BYTES) {
        state.dropped++;
    } else {
        memcpy(state.pending + state.pending_len, line, len);
        state.pending_len += len;
        if (level >= LOG_WARN)
            pthread_cond_signal(&state.wake);
    }
    pthread_mutex_unlock(&state.lock);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    if (level < state.least)
        return;
    uint64_t now = clock_real_us();
    time_t seconds = (time_t)(now / 1000000);
    struct tm tm;
    char stamp[32];
    struct buf b;
    buf_init(&b, LINE_MAX_BYTES);
    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_fmt(&b,
            "{\"ts\":\"%s.%06uZ\",\"level\":\"%s\",\"process\":\"%s\",\"pid\":%d,\"event\":\"%s\"",
            stamp, (unsigned)(now % 1000000), names[level], state.process, (int)getpid(), event);
    for (size_t i = 0; i < n && !b.failed; i++)
        add_field(&b, &fields[i]);
    if (!b.failed) {
        buf_add(&b, "}\n", 2);
        keep_or_write(b.data, b.len, level);
    }
    buf_release(&b);
}

uint64_t log_dropped(void)
{
    pthread_mutex_lock(&state.lock);
    uint64_t n = state.dropped;
    pthread_mutex_unlock(&state.lock);
    return n;
}
