/*
 * limiter.c: the process' table of buckets and the list of its ports.
 *
 * The table is asked when a key enters a cache, not per request, so one mutex and chains do. It
 * holds a reference to each bucket; a bucket that only the table holds may go, the least recently
 * asked for first. A bucket that goes loses its lease in hand (at most T's worth); its level is in
 * Redis. A port's memory outlives the port until the limiter goes: another loop's wake-up may still
 * be on its way to it.
 */
#include "limits/bucket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVICT_LOOKS 32

bool rate_eq(const struct rate *a, const struct rate *b)
{
    return a->rate == b->rate && a->window_ms == b->window_ms && a->burst == b->burst;
}

maas_status limiter_new(const struct limiter_config *config, struct limiter **out,
                        maas_error *error)
{
    struct limiter *limiter = calloc(1, sizeof(*limiter));
    size_t size = 16;
    while (size < config->buckets_max && size < (1u << 24))
        size *= 2;
    struct bucket **table = calloc(size, sizeof(struct bucket *));
    if (!limiter || !table || config->buckets_max == 0) {
        free(limiter);
        free(table);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for %" PRIu32 " limits",
                    config->buckets_max);
    }
    limiter->config = *config;
    limiter->table = table;
    limiter->table_size = size;
    CHECK(pthread_mutex_init(&limiter->lock, NULL) == 0);
    *out = limiter;
    return MAAS_OK;
}

/* ---- the table; all of it under the lock */

static struct bucket **chain_of(struct limiter *limiter, enum scope_of_limit scope,
                                const struct uuid *id)
{
    uint64_t hash = hash_bytes(id->bytes, sizeof(id->bytes)) ^ (uint64_t)scope * 0x9e3779b9u;
    return &limiter->table[hash & (limiter->table_size - 1)];
}

static void lru_unlink(struct limiter *limiter, struct bucket *b)
{
    *(b->newer ? &b->newer->lru_older : &limiter->newest) = b->lru_older;
    *(b->lru_older ? &b->lru_older->newer : &limiter->oldest) = b->newer;
}

static void lru_push(struct limiter *limiter, struct bucket *b)
{
    b->newer = NULL;
    b->lru_older = limiter->newest;
    *(limiter->newest ? &limiter->newest->newer : &limiter->oldest) = b;
    limiter->newest = b;
}

static void table_remove(struct limiter *limiter, struct bucket *b)
{
    struct bucket **at = chain_of(limiter, b->scope, &b->id);
    while (*at != b)
        at = &(*at)->chain;
    *at = b->chain;
    lru_unlink(limiter, b);
    limiter->count--;
    bucket_unref(b);
}

static void table_add(struct limiter *limiter, struct bucket *b)
{
    struct bucket **at = chain_of(limiter, b->scope, &b->id);
    b->chain = *at;
    *at = b;
    lru_push(limiter, b);
    limiter->count++;
}

static struct bucket *table_find(struct limiter *limiter, enum scope_of_limit scope,
                                 const struct uuid *id)
{
    struct bucket *b = *chain_of(limiter, scope, id);
    while (b && !(b->scope == scope && uuid_eq(&b->id, id)))
        b = b->chain;
    return b;
}

/* Room for one more. Buckets in use that it meets move to the young end. */
static bool table_make_room(struct limiter *limiter)
{
    for (int looks = 0; limiter->count >= limiter->config.buckets_max; looks++) {
        struct bucket *b = limiter->oldest;
        if (looks == EVICT_LOOKS)
            return false;
        if (atomic_load(&b->refs) == 1) {
            table_remove(limiter, b);
            continue;
        }
        lru_unlink(limiter, b);
        lru_push(limiter, b);
    }
    return true;
}

/* ---- buckets */

static void bucket_words(struct bucket *b, uint64_t created_us)
{
    static const char kinds[] = { 'g', 't', 'k', 'm', 'x' };
    char id[UUID_TEXT_MAX];
    uuid_format(&b->id, id);
    int len = snprintf(b->key_text, sizeof(b->key_text), "maas:limit:%c:%s", kinds[b->scope], id);
    b->key = (struct str){ b->key_text, (size_t)len };
    const uint64_t words[PLAN_WORDS] = { b->plan.num, b->plan.den, b->plan.cap, created_us };
    for (size_t i = 0; i < PLAN_WORDS; i++) {
        len = snprintf(b->plan_text[i], WORD_MAX, "%" PRIu64, words[i]);
        b->plan_words[i] = (struct str){ b->plan_text[i], (size_t)len };
    }
}

static struct bucket *bucket_new(struct limiter *limiter, enum scope_of_limit scope,
                                 const struct uuid *id, const struct rate *rate,
                                 uint64_t created_us)
{
    struct bucket *b =
        aligned_alloc(CACHE_LINE, (sizeof(*b) + CACHE_LINE - 1) & ~(CACHE_LINE - 1ul));
    if (!b)
        return NULL;
    memset(b, 0, sizeof(*b));
    b->limiter = limiter;
    b->scope = scope;
    b->id = *id;
    b->rate = *rate;
    b->window_s = rate->window_ms / 1000 + (rate->window_ms % 1000 != 0);
    gcra_plan_of(rate, &b->plan);
    local_plan_of(rate, limiter->config.gateways_max, &b->local_plan);
    atomic_init(&b->empty_ns, INT64_MIN / 2);
    atomic_init(&b->refs, 1);
    bucket_words(b, created_us);
    return b;
}

struct bucket *bucket_get(struct limiter *limiter, enum scope_of_limit scope, const struct uuid *id,
                          const struct rate *rate, uint64_t created_us)
{
    pthread_mutex_lock(&limiter->lock);
    struct bucket *b = table_find(limiter, scope, id);
    if (b && !rate_eq(&b->rate, rate)) {
        table_remove(limiter, b);
        b = NULL;
    }
    if (b) {
        lru_unlink(limiter, b);
        lru_push(limiter, b);
    } else if (table_make_room(limiter)) {
        b = bucket_new(limiter, scope, id, rate, created_us);
        if (b)
            table_add(limiter, b);
    }
    if (b)
        bucket_ref(b);
    pthread_mutex_unlock(&limiter->lock);
    return b;
}

struct bucket *bucket_ref(struct bucket *bucket)
{
    atomic_fetch_add_explicit(&bucket->refs, 1, memory_order_relaxed);
    return bucket;
}

void bucket_unref(struct bucket *bucket)
{
    if (bucket && atomic_fetch_sub_explicit(&bucket->refs, 1, memory_order_acq_rel) == 1)
        free(bucket);
}

/* ---- ports */

void limiter_wake(struct limiter *limiter, uint64_t ports)
{
    if (ports == 0)
        return;
    pthread_mutex_lock(&limiter->lock);
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        if ((ports >> i & 1) && limiter->ports[i])
            port_wake(limiter->ports[i]);
    }
    pthread_mutex_unlock(&limiter->lock);
}

void limits_counts(const struct limiter *limiter, struct limits_counts *out)
{
    struct limits_counts sum = { 0 };
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&limiter->lock;
    pthread_mutex_lock(lock);
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        if (limiter->ports[i])
            port_add_counts(limiter->ports[i], &sum);
    }
    for (struct limits_port *port = limiter->closed; port; port = *port_next_closed(port))
        port_add_counts(port, &sum);
    pthread_mutex_unlock(lock);
    *out = sum;
}

void limiter_free(struct limiter *limiter)
{
    if (!limiter)
        return;
    for (unsigned i = 0; i < PORTS_MAX; i++)
        CHECK(!limiter->ports[i]);
    while (limiter->closed) {
        struct limits_port *port = limiter->closed;
        limiter->closed = *port_next_closed(port);
        free(port);
    }
    while (limiter->oldest)
        table_remove(limiter, limiter->oldest);
    pthread_mutex_destroy(&limiter->lock);
    free(limiter->table);
    free(limiter);
}
