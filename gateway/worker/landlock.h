/*
 * landlock.h: which files this process may open, by the kernel's Landlock. Private to the worker.
 */
#ifndef MAAS_WORKER_LANDLOCK_H
#define MAAS_WORKER_LANDLOCK_H

#include "base/base.h"

struct sandbox_plan;

/* Restricts this thread and all threads it makes; needs no_new_privs. *out_active is false on a
 * kernel without Landlock. Folders of the system that do not exist are skipped; a path of the plan
 * that cannot be opened is an error. */
maas_status MUST_USE landlock_enter(const struct sandbox_plan *plan, bool *out_active,
                                    maas_error *error);

#endif
