/*
 * sandbox.h: what a worker gives up before it touches one byte of plugin or artifact, and what more
 * it gives up before it serves. [main thread, in this order, once]
 *
 *     sandbox_enter → engine_plugin_copy → sandbox_admit → engine_plugin_load_copy →
 *     engine_model_load → sandbox_seal → serve
 *
 * A step the kernel does not know is left out and missing from the report; a step that exists and
 * fails is an error.
 */
#ifndef MAAS_WORKER_SANDBOX_H
#define MAAS_WORKER_SANDBOX_H

#include <sys/types.h>

#include "base/base.h"

enum sandbox_step { /* bits of the report */
                    SANDBOX_RLIMITS = 1,
                    SANDBOX_LANDLOCK = 2,
                    SANDBOX_SECCOMP = 4,
                    SANDBOX_SEALED = 8,
};

#define SANDBOX_PATHS_MAX 40

struct sandbox_plan {
    pid_t parent;    /* the process whose death ends this one; 0: not checked (train) */
    const int *keep; /* descriptors that stay open besides 0, 1, 2 */
    size_t keep_count;
    uint64_t memory_max;                  /* bytes of address space; 0: unlimited */
    const char *read[SANDBOX_PATHS_MAX];  /* files or folders that may be read; NULL ends */
    const char *write[SANDBOX_PATHS_MAX]; /* folders that may be written too; NULL ends */
};

maas_status MUST_USE sandbox_enter(const struct sandbox_plan *plan, unsigned *out_steps,
                                   maas_error *error);
/* Before the plugin's first instruction: no file grows any more, and none is made in memory. */
maas_status MUST_USE sandbox_admit(maas_error *error);
/* After the load: no open, no new thread, no executable mapping. */
maas_status MUST_USE sandbox_seal(unsigned *steps, maas_error *error);

/* "rlimits,landlock,seccomp,sealed" as far as they are active. */
void sandbox_format(unsigned steps, char *out, size_t size);

#endif
