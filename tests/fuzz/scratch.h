/* scratch.h: a folder in memory for targets whose readers open files; it is removed at the end. */
#ifndef FUZZ_SCRATCH_H
#define FUZZ_SCRATCH_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/dev/shm/maas_fuzz.XXXXXX";

/* What was stored, under the few names that a target uses. */
static const char *stored[4];

static void scratch_remove(void)
{
    char path[64];
    for (size_t i = 0; i < 4 && stored[i]; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, stored[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* name: a literal. */
static void scratch_note(const char *name)
{
    size_t i = 0;
    while (i < 4 && stored[i] && stored[i] != name)
        i++;
    if (i == 4)
        abort();
    stored[i] = name;
}

static void store(const char *name, const uint8_t *data, size_t size)
{
    static int made;
    char path[64];
    if (!made && (!mkdtemp(folder) || atexit(scratch_remove)))
        abort();
    made = 1;
    scratch_note(name);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd))
        abort();
}

#endif
