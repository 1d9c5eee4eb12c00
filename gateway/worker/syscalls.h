/*
 * syscalls.h: the system-call filters of the sandbox. Private to the worker.
 */
#ifndef MAAS_WORKER_SYSCALLS_H
#define MAAS_WORKER_SYSCALLS_H

#include "base/base.h"

/* Filter 1, for the whole life: what could leave the process kills it (SIGSYS, seen in its wait
 * status); what it can do without, and unless `writes` all that changes files, answers an error.
 * Over all threads. Needs no_new_privs. */
maas_status MUST_USE syscalls_confine(bool writes, maas_error *error);
/* Before the first instruction of a plugin, whose file has been copied: no more files in memory. */
maas_status MUST_USE syscalls_admit(maas_error *error);
/* Filter 2, after the load: opening files, new threads and executable mappings answer EPERM. */
maas_status MUST_USE syscalls_seal(maas_error *error);

#endif
