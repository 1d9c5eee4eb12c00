/*
 * memory.h: what a process holds. Private to fleet/. [any]
 */
#ifndef MAAS_FLEET_MEMORY_H
#define MAAS_FLEET_MEMORY_H

#include "base/base.h"

/* Bytes that go when the process goes: its anonymous and its shared memory (the rings). Mapped
 * files are not in it: their pages are the kernel's to drop, and libraries are shared. 0: no such
 * process. Some 20 us. */
uint64_t memory_of(int pid);
/* What the machine has, or may use of it (a cgroup's limit). */
uint64_t memory_of_machine(void);

#endif
