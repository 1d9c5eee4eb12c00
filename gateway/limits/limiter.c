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

#define EVICT_LOOKS   32
#define QUOTA_WAIT_MS 250

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
    limiter->config.quota_wait_ms = config->quota_wait_ms ? config->quota_wait_ms : QUOTA_WAIT_MS;
    uuid_format(&config->lessee, limiter->lessee_text);
    limiter->table = table;
    limiter->table_size = size;
    CHECK(pthread_mutex_init(&limiter->lock, NULL) == 0);
    *out = limiter;
    return MAAS_OK;
}

/* ---- the table; all of it under the lock */

static struct bucket **chain_of(struct limiter *limiter, const struct limit *limit)
{
    struct uuid ids[2] = { limit->id, limit->id2 };
    uint64_t hash = hash_bytes(ids, sizeof(ids)) ^
                    ((uint64_t)limit->scope * 0x9e3779b9u + (uint64_t)limit->measure * 0x85ebca6bu);
    return &limiter->table[hash & (limiter->table_size - 1)];
}

/* The same limit, whatever its numbers. Rates of different windows are different limits. */
static bool limit_is(const struct limit *a, const struct limit *b)
{
    return a->scope == b->scope && a->measure == b->measure && uuid_eq(&a->id, &b->id) &&
           uuid_eq(&a->id2, &b->id2) && a->rate.window_ms == b->rate.window_ms;
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
    struct bucket **at = chain_of(limiter, &b->limit);
    while (*at != b)
        at = &(*at)->chain;
    *at = b->chain;
    lru_unlink(limiter, b);
    limiter->count--;
    bucket_unref(b);
}

static void table_add(struct limiter *limiter, struct bucket *b)
{
    struct bucket **at = chain_of(limiter, &b->limit);
    b->chain = *at;
    *at = b;
    lru_push(limiter, b);
    limiter->count++;
}

static struct bucket *table_find(struct limiter *limiter, const struct limit *limit)
{
    struct bucket *b = *chain_of(limiter, limit);
    while (b && !limit_is(&b->limit, limit))
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
        if (atomic_load(&b->refs) == 1 && bucket_is_idle(b)) {
            table_remove(limiter, b);
            continue;
        }
        lru_unlink(limiter, b);
        lru_push(limiter, b);
    }
    return true;
}

/* ---- buckets */

/* Rates of other windows than a second have them in their key. */
static void bucket_key(struct bucket *b)
{
    static const char scopes[] = { 'g', 't', 'k', 'm', 'x' },
                      measures[] = { 'r', 'u', 'c', 'd', 'o' };
    char id[UUID_TEXT_MAX], id2[UUID_TEXT_MAX];
    const struct limit *limit = &b->limit;
    uuid_format(&limit->id, id);
    uuid_format(&limit->id2, id2);
    int len = snprintf(b->key_text, sizeof(b->key_text), "maas:limit:%c%c%" PRIu32 ":%s%s%s",
                       scopes[limit->scope], measures[limit->measure], limit->rate.window_ms, id,
                       limit->scope == LIMIT_TENANT_MODEL ? ":" : "",
                       limit->scope == LIMIT_TENANT_MODEL ? id2 : "");
    CHECK(len < (int)sizeof(b->key_text));
    b->key = (struct str){ b->key_text, (size_t)len };
}

static void bucket_words(struct bucket *b)
{
    const uint64_t words[PLAN_WORDS] = { b->plan.num, b->plan.den, b->plan.cap,
                                         b->limit.created_us };
    for (size_t i = 0; i < PLAN_WORDS; i++) {
        int len = snprintf(b->plan_text[i], WORD_MAX, "%" PRIu64, words[i]);
        b->plan_words[i] = (struct str){ b->plan_text[i], (size_t)len };
    }
}

static enum bucket_kind kind_of(enum limit_measure measure)
{
    if (measure == MEASURE_REQUESTS || measure == MEASURE_UNITS)
        return BUCKET_RATE;
    return measure == MEASURE_CONCURRENCY ? BUCKET_PLACES : BUCKET_QUOTA;
}

static void rate_init(struct bucket *b)
{
    const struct rate *rate = &b->limit.rate;
    b->window_s = rate->window_ms / 1000 + (rate->window_ms % 1000 != 0);
    gcra_plan_of(rate, &b->plan);
    local_plan_of(rate, b->limiter->config.gateways_max, &b->local_plan);
    atomic_init(&b->empty_ns, INT64_MIN / 2);
    bucket_words(b);
}

static struct bucket *bucket_new(struct limiter *limiter, const struct limit *limit)
{
    struct bucket *b =
        aligned_alloc(CACHE_LINE, (sizeof(*b) + CACHE_LINE - 1) & ~(CACHE_LINE - 1ul));
    if (!b)
        return NULL;
    memset(b, 0, sizeof(*b));
    b->limiter = limiter;
    b->limit = *limit;
    b->kind = kind_of(limit->measure);
    atomic_init(&b->refs, 1);
    atomic_init(&b->amount, limit->rate.rate);
    if (b->kind == BUCKET_RATE)
        rate_init(b);
    bucket_key(b);
    return b;
}

/* False: it must be made anew. What is held of places and units outlives a change of the limit. */
static bool bucket_adapt(struct bucket *b, const struct limit *limit)
{
    if (b->kind == BUCKET_RATE)
        return rate_eq(&b->limit.rate, &limit->rate);
    if (atomic_exchange(&b->amount, limit->rate.rate) != limit->rate.rate &&
        b->kind == BUCKET_QUOTA) {
        atomic_store(&b->hold_ns, 0);
        atomic_store(&b->quota.doubted, true);
    }
    return true;
}

struct bucket *bucket_get(struct limiter *limiter, const struct limit *limit)
{
    pthread_mutex_lock(&limiter->lock);
    struct bucket *b = table_find(limiter, limit);
    if (b && !bucket_adapt(b, limit)) {
        table_remove(limiter, b);
        b = NULL;
    }
    if (b) {
        lru_unlink(limiter, b);
        lru_push(limiter, b);
    } else if (table_make_room(limiter)) {
        b = bucket_new(limiter, limit);
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
