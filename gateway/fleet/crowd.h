/*
 * crowd.h: how many requests each tenant has with each deployment on one loop, in flight and
 * waiting. Private to fleet/. [loop]
 */
#ifndef MAAS_FLEET_CROWD_H
#define MAAS_FLEET_CROWD_H

#include "base/base.h"

struct crowd; /* a count of one tenant and deployment; lives while it is not 0 */
struct crowds;

struct crowds *crowds_new(uint32_t most); /* NULL: no memory */
void crowds_free(struct crowds *crowds);  /* also of what is left of it */

/* One more; NULL when the tenant has `most` there already, or there is no memory. */
struct crowd *MUST_USE crowd_join(struct crowds *crowds, const struct uuid *tenant,
                                  const struct uuid *deployment);
void crowd_leave(struct crowds *crowds, struct crowd *crowd);

#endif
