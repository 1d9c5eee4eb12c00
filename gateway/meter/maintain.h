/*
 * maintain.h: what the database must have done now and then: the day that ended reconciled,
 * partitions ahead of time, what is long past removed (maas.usage_maintain()). A thread with a
 * connection of its own, because it may take long; the database lets one gateway at a time do it.
 */
#ifndef MAAS_METER_MAINTAIN_H
#define MAAS_METER_MAINTAIN_H

#include "base/base.h"

struct maintain;

maas_status MUST_USE maintain_start(const char *conninfo, struct maintain **out, maas_error *error);
void maintain_stop(struct maintain *maintain); /* what is under way is waited for; NULL is fine */

#endif
