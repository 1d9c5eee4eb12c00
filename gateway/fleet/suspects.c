/*
 * suspects.c: a fixed table of sets: a note takes a free place of its set, else that of the oldest.
 * So the table is bounded, and whoever fills it makes others be forgotten at worst.
 */
#include "fleet/suspects.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SETS 512u
#define WAYS 4u

struct suspect {
    uint64_t key, since_ns; /* since: of the latest note; 0: free */
    enum suspicion level;
};

struct suspects {
    pthread_mutex_t lock;
    _Atomic uint64_t latest_ns; /* of all notes; 0: none yet */
    struct suspect all[SETS][WAYS];
};

struct suspects *suspects_new(void)
{
    struct suspects *s = calloc(1, sizeof(*s));
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void suspects_free(struct suspects *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static uint64_t key_of(const struct job *job, const struct uuid *version)
{
    struct {
        struct uuid tenant, version;
        uint64_t surface, head, body;
    } all = { job->frame.tenant, *version, job->frame.surface,
              hash_bytes(job->parts[3].data, job->parts[3].len),
              hash_bytes(job->parts[4].data, job->parts[4].len) };
    return hash_bytes(&all, sizeof(all));
}

static bool is_old(const struct suspect *one, uint64_t now_ns)
{
    return one->since_ns == 0 || now_ns - one->since_ns > SUSPECT_NS;
}

/* The key's own place, or NULL. */
static struct suspect *find(struct suspect *set, uint64_t key, uint64_t now_ns)
{
    for (uint32_t i = 0; i < WAYS; i++)
        if (set[i].key == key && !is_old(&set[i], now_ns))
            return &set[i];
    return NULL;
}

static struct suspect *oldest(struct suspect *set)
{
    struct suspect *best = set;
    for (uint32_t i = 1; i < WAYS; i++)
        if (set[i].since_ns < best->since_ns)
            best = &set[i];
    return best;
}

enum suspicion suspects_look(struct suspects *s, const struct job *job, const struct uuid *version,
                             uint64_t now_ns)
{
    uint64_t latest_ns = atomic_load_explicit(&s->latest_ns, memory_order_relaxed);
    if (latest_ns == 0 || now_ns - latest_ns > SUSPECT_NS)
        return SUSPECT_NONE;
    uint64_t key = key_of(job, version);
    pthread_mutex_lock(&s->lock);
    const struct suspect *one = find(s->all[key % SETS], key, now_ns);
    enum suspicion level = one ? one->level : SUSPECT_NONE;
    pthread_mutex_unlock(&s->lock);
    return level;
}

void suspects_note(struct suspects *s, const struct job *job, const struct uuid *version,
                   uint64_t now_ns)
{
    uint64_t key = key_of(job, version);
    pthread_mutex_lock(&s->lock);
    struct suspect *set = s->all[key % SETS], *one = find(set, key, now_ns);
    if (!one) {
        one = oldest(set);
        *one = (struct suspect){ .key = key };
    }
    one->level = one->level == SUSPECT_NONE ? SUSPECT_ONCE : SUSPECT_TWICE;
    one->since_ns = now_ns;
    atomic_store_explicit(&s->latest_ns, now_ns, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
}
