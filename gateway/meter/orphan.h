/*
 * orphan.h: spools that dead gateways left. Private to meter/. [control]
 */
#ifndef MAAS_METER_ORPHAN_H
#define MAAS_METER_ORPHAN_H

#include "meter/ship.h"

/*
 * Looks through `dir` for spools other than `own` whose lock is free, ships their valid records and
 * removes each that was shipped whole. Out: events shipped and spools adopted are added. The first
 * failure of the sink ends the round; what is left waits.
 */
maas_status orphans_ship(const char *dir, const struct uuid *own, uint64_t per_segment,
                         const struct usage_sink *sink, uint64_t *events, uint64_t *spools,
                         maas_error *error);

/* Takes the lock of a spool's folder; -1 when its owner lives. Closing the descriptor gives it
 * back. */
int spool_lock(const char *spool_dir, bool create);

#endif
