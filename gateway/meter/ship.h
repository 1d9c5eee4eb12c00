/*
 * ship.h: where events go: a table of functions, so that a test can stand in for PostgreSQL.
 * [control]
 */
#ifndef MAAS_METER_SHIP_H
#define MAAS_METER_SHIP_H

#include "meter/meter.h"

struct usage_sink {
    /* Appends a batch; idempotent: events at or before the receiver's cursor of (spool, loop) are
     * skipped there. */
    maas_status (*append)(void *arg, const struct uuid *spool, uint32_t loop, uint64_t first_seq,
                          const struct usage_event *events, uint32_t count, maas_error *error);
    void (*close)(void *arg);
    void *arg;
    /* NULL, or: the owner of this spool is dead and every event of it was appended. Idempotent. */
    maas_status (*finish)(void *arg, const struct uuid *spool, maas_error *error);
    /* NULL, or what is told of a spool whose lock was found free: its gateway is dead for certain,
     * and what it had begun may be taken over. */
    maas_status (*gone)(void *arg, const struct uuid *spool, maas_error *error);
};
/* PostgreSQL through maas.usage_append. Connects when it is first used. */
maas_status MUST_USE ship_sql_open(const char *conninfo, uint32_t call_timeout_ms,
                                   struct usage_sink *out, maas_error *error);

/* As meter_start, with a sink of the caller's. Takes the sink. */
maas_status MUST_USE meter_start_with(const struct meter_config *config,
                                      const struct usage_sink *sink, struct meter **out,
                                      maas_error *error);

#endif
