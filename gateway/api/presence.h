/*
 * presence.h: a gateway says every second in the database that it lives, so that what it had begun
 * is not waited for when it does not. The same thread removes idempotency rows that expired.
 */
#ifndef MAAS_API_PRESENCE_H
#define MAAS_API_PRESENCE_H

#include "base/base.h"

struct presence; /* [any] one thread, one SQL connection */

/* `id` names this incarnation: its spool. Returns at once; PostgreSQL may be away. */
maas_status MUST_USE presence_start(const char *conninfo, uint32_t call_timeout_ms,
                                    const struct uuid *id, struct presence **out,
                                    maas_error *error);
/* Says that it is gone, if PostgreSQL is there to hear it, and frees. Accepts NULL. */
void presence_stop(struct presence *presence);

#endif
