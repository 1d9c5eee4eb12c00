/*
 * orphan.c: adopts what a killed gateway left. Its lock file is free because the kernel drops a
 * flock with its process. A chain is read segment by segment while records are whole: the first
 * that is not (cut, flipped, never written) ends the chain, because records are written in order.
 * The receiver skips what it has, so a spool may be shipped again after any doubt.
 */
#include "meter/orphan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "meter/chain.h"

#define BATCH 4096

int spool_lock(const char *spool_dir, bool create)
{
    char path[640];
    snprintf(path, sizeof(path), "%s/lock", spool_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -1;
}

struct adoption {
    const char *dir;
    struct uuid spool;
    uint64_t per_segment;
    const struct usage_sink *sink;
    uint64_t events;
    struct usage_event *batch; /* BATCH */
};

/* Ships the valid prefix of one segment's bytes; *out_whole says whether every record was valid. */
static maas_status ship_bytes(struct adoption *a, uint32_t loop, uint64_t number,
                              const uint8_t *data, uint64_t records, bool *out_whole,
                              maas_error *error)
{
    uint64_t seq = number * a->per_segment + 1, n = 0;
    bool good = true;
    while (good && n < records) {
        uint32_t count = 0;
        uint64_t first = seq + n;
        while (count < BATCH && n < records &&
               (good = record_decode(data + n * RECORD_BYTES, seq + n, &a->batch[count]))) {
            count++;
            n++;
        }
        maas_status status =
            count ? a->sink->append(a->sink->arg, &a->spool, loop, first, a->batch, count, error)
                  : MAAS_OK;
        if (status)
            return status;
        a->events += count;
    }
    *out_whole = n == a->per_segment;
    return MAAS_OK;
}

static maas_status ship_chain(struct adoption *a, uint32_t loop, maas_error *error)
{
    bool whole = true;
    for (uint64_t number = 0, absent = 0; whole && absent < CHAIN_SEGMENTS_MAX; number++) {
        char path[640], *data;
        size_t len;
        chain_segment_path(path, sizeof(path), a->dir, loop, number);
        maas_status status = file_read(path, a->per_segment * RECORD_BYTES, &data, &len, error);
        if (status == MAAS_E_NOT_FOUND) {
            absent++; /* shipped and removed by its owner, or past the end */
            continue;
        }
        if (status)
            return status; /* unreadable is not absent: the spool stays */
        status =
            ship_bytes(a, loop, number, (const uint8_t *)data, len / RECORD_BYTES, &whole, error);
        free(data);
        if (status)
            return status;
        absent = 0;
    }
    return MAAS_OK;
}

static void remove_spool(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char path[1024];
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
            unlink(path);
        }
    if (d)
        closedir(d);
    rmdir(dir);
}

static bool has_loop(const char *dir, uint32_t loop)
{
    char prefix[16];
    DIR *d = opendir(dir);
    struct dirent *entry;
    bool found = false;
    snprintf(prefix, sizeof(prefix), "%u-", loop);
    while (d && !found && (entry = readdir(d)))
        found = strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (d)
        closedir(d);
    return found;
}

static maas_status adopt(struct adoption *a, maas_error *error)
{
    maas_status status = a->sink->gone ? a->sink->gone(a->sink->arg, &a->spool, error) : MAAS_OK;
    for (uint32_t loop = 0; loop < 64 && !status; loop++)
        if (has_loop(a->dir, loop))
            status = ship_chain(a, loop, error);
    if (!status && a->sink->finish)
        status = a->sink->finish(a->sink->arg, &a->spool, error);
    char name[UUID_TEXT_MAX];
    uuid_format(&a->spool, name);
    if (status)
        LOG(LOG_WARN, "spool.orphan", F_STR("spool", name),
            F_STR("reason", error ? error->text : ""));
    else
        LOG(LOG_INFO, "spool.adopted", F_STR("spool", name), F_UINT("events", a->events));
    return status;
}

maas_status orphans_ship(const char *dir, const struct uuid *own, uint64_t per_segment,
                         const struct usage_sink *sink, uint64_t *events, uint64_t *spools,
                         maas_error *error)
{
    maas_status status = MAAS_OK;
    struct usage_event *batch = malloc(BATCH * sizeof(*batch));
    DIR *d = opendir(dir);
    struct dirent *entry;
    if (!batch || !d)
        status =
            fail(error, MAAS_E_UNAVAILABLE, "cannot look through '%s': %s", dir, strerror(errno));
    while (!status && (entry = readdir(d))) {
        char path[512];
        struct adoption a = {
            .dir = path, .per_segment = per_segment, .sink = sink, .batch = batch
        };
        if (!uuid_parse(str_of(entry->d_name), &a.spool) || uuid_eq(&a.spool, own))
            continue;
        snprintf(path, sizeof(path), "%.400s/%.80s", dir, entry->d_name);
        int lock = spool_lock(path, false);
        if (lock < 0)
            continue;
        status = adopt(&a, error);
        *events += a.events;
        *spools += status == MAAS_OK;
        if (!status)
            remove_spool(path);
        close(lock);
    }
    if (d)
        closedir(d);
    free(batch);
    return status;
}
