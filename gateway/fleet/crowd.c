/*
 * crowd.c: a table with chains. There are never more entries than requests, and those are bounded
 * before they come here; entries that are given back are kept for the next.
 */
#include "fleet/crowd.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u /* a power of two */

struct crowd {
    struct {
        struct uuid tenant, deployment;
    } key;
    uint32_t count;
    struct crowd *next;
};

struct crowds {
    struct crowd *buckets[BUCKETS], *idle;
    uint32_t most;
};

struct crowds *crowds_new(uint32_t most)
{
    struct crowds *crowds = calloc(1, sizeof(*crowds));
    if (crowds)
        crowds->most = most;
    return crowds;
}

static void free_chain(struct crowd *crowd)
{
    while (crowd) {
        struct crowd *next = crowd->next;
        free(crowd);
        crowd = next;
    }
}

void crowds_free(struct crowds *crowds)
{
    if (!crowds)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++)
        free_chain(crowds->buckets[i]);
    free_chain(crowds->idle);
    free(crowds);
}

static struct crowd **bucket_of(struct crowds *crowds, const void *key, size_t size)
{
    return &crowds->buckets[hash_bytes(key, size) & (BUCKETS - 1)];
}

static struct crowd *crowd_add(struct crowds *crowds, struct crowd **bucket)
{
    struct crowd *crowd = crowds->idle;
    if (crowd)
        crowds->idle = crowd->next;
    else if (!(crowd = malloc(sizeof(*crowd))))
        return NULL;
    crowd->count = 0;
    crowd->next = *bucket;
    *bucket = crowd;
    return crowd;
}

struct crowd *crowd_join(struct crowds *crowds, const struct uuid *tenant,
                         const struct uuid *deployment)
{
    struct crowd like = { .key = { *tenant, *deployment } };
    struct crowd **bucket = bucket_of(crowds, &like.key, sizeof(like.key)), *crowd = *bucket;
    while (crowd && memcmp(&crowd->key, &like.key, sizeof(like.key)) != 0)
        crowd = crowd->next;
    if (!crowd && (crowd = crowd_add(crowds, bucket)) != NULL)
        crowd->key = like.key;
    if (!crowd || crowd->count == crowds->most)
        return NULL;
    crowd->count++;
    return crowd;
}

void crowd_leave(struct crowds *crowds, struct crowd *crowd)
{
    CHECK(crowd->count > 0);
    if (--crowd->count)
        return;
    struct crowd **at = bucket_of(crowds, &crowd->key, sizeof(crowd->key));
    while (*at != crowd)
        at = &(*at)->next;
    *at = crowd->next;
    crowd->next = crowds->idle;
    crowds->idle = crowd;
}
