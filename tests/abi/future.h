/*
 * future.h: the host of a later minor version, as the plugin of its time knows it.
 */
#ifndef ABI_FUTURE_H
#define ABI_FUTURE_H

#include <maas/author.h>

struct later_host {
    uint32_t size, abi; /* where MAAS_HAS looks */
    char today[sizeof(maas_host) - 2 * sizeof(uint32_t)];
    double (*bonus)(const maas_host *host);
};

#endif
