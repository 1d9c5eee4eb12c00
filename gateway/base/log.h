/*
 * log.h: structured logs, one JSON object a line on stderr (or the file given to log_start).
 *
 *     LOG(LOG_WARN, "worker.exit", F_STR("model", name), F_INT("pid", pid));
 *
 * [any] thread-safe. Lines go through a bounded buffer that a thread writes every 50 ms, for WARN
 * and above at once. When the buffer is full, lines are dropped and counted, never waited for. A
 * string is cut after 1024 bytes, and fields that do not fit a line of 4 KiB are left out with
 * "cut":true at its end. Never hand it secrets: keys are logged by their public id only.
 */
#ifndef MAAS_LOG_H
#define MAAS_LOG_H

#include "base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_DOUBLE } kind;
    struct str s;
    int64_t i;
    uint64_t u;
    double d;
};
#define F_STR(n, z)    ((struct log_field){ .name = (n), .kind = LOG_FIELD_STR, .s = str_of(z) })
#define F_STRN(n, x)   ((struct log_field){ .name = (n), .kind = LOG_FIELD_STR, .s = (x) })
#define F_INT(n, x)    ((struct log_field){ .name = (n), .kind = LOG_FIELD_INT, .i = (int64_t)(x) })
#define F_UINT(n, x)   ((struct log_field){ .name = (n), .kind = LOG_FIELD_UINT, .u = (uint64_t)(x) })
#define F_DOUBLE(n, x) ((struct log_field){ .name = (n), .kind = LOG_FIELD_DOUBLE, .d = (x) })

#define LOG(level, event, ...)                                                                     \
    log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ },                         \
              sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

/* Optional, once until log_stop: starts the flush thread (which takes no signals). */
void log_start(const char *process, enum log_level least);
void log_stop(void); /* flushes, joins */
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);
uint64_t log_dropped(void);

#endif
