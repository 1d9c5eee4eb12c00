/*
 * wrap.h: the real host with a hand between it and the plugin: counts the plugin's calls and lets
 * chosen ones fail. One for the process, since a check has a process of its own. The counters may
 * be read at any time; the faults are set while no call runs.
 */
#ifndef CHECK_WRAP_H
#define CHECK_WRAP_H

#include <stdatomic.h>

#include "engine/border.h"

struct wrap {
    _Atomic uint64_t allocs;   /* calls of alloc, failed ones too */
    _Atomic int64_t held;      /* blocks given and not yet freed */
    _Atomic uint64_t emits;    /* calls of emit */
    _Atomic uint64_t dones;    /* calls of done */
    uint64_t fail_at, fail_to; /* the allocs with these numbers (from 1) give NULL; 0: none */
    uint32_t grown;            /* bytes that the host's tables pretend to be longer */
};
extern struct wrap wrap;

void wrap_install(void); /* every host table made from now on */
void wrap_reset(void);   /* counters and faults; blocks held from before are forgotten */

#endif
