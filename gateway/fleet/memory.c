/*
 * memory.c: memory from /proc. A worker makes itself unreadable to its own user, so its smaps are
 * closed to a gateway that is not root, and with them the proportional set size; its status is open
 * to everybody and has the part that counts.
 */
#include "fleet/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB 1024

/* "RssAnon:\t    1234 kB" */
static uint64_t line_bytes(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncmp(line, name, len) == 0 ? strtoull(line + len, NULL, 10) * KIB : 0;
}

uint64_t memory_of(int pid)
{
    char path[64], line[256];
    uint64_t bytes = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        bytes += line_bytes(line, "RssAnon:") + line_bytes(line, "RssShmem:");
    if (file)
        fclose(file);
    return bytes;
}

uint64_t memory_of_machine(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char line[64] = "";
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    if (file && !fgets(line, sizeof(line), file))
        line[0] = 0;
    if (file)
        fclose(file);
    uint64_t limit = strtoull(line, NULL, 10); /* "max": 0 */
    return limit && limit < all ? limit : all;
}
