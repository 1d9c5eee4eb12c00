/*
 * fair.c: start-time fair queueing over tenants (Goyal, Vin and Cheng, 1996), with costs that are
 * known only afterwards.
 *
 * Each tenant has a start tag: the service it got, divided by its weight, on a clock that all
 * share. The virtual time is the tag of whom was served last. Next is the tenant with the least
 * tag; those that are behind the virtual time count as equal and go in the order of their arrival.
 * A tenant is charged an average when a request of it is popped (so that filling a batch goes round
 * the tenants) and the measured cost later. One that was away starts at the virtual time, not at
 * its old tag: who was idle has saved nothing up, who was served beyond its share while alone owes
 * nothing but the last of it. So a tenant that sends twenty times its share waits behind itself:
 * its tag runs ahead, while one below its share is not ahead of the virtual time when it comes, and
 * waits for the run under way and for others like it.
 *
 * Tags are compared by their difference, so they may wrap. Tenants with work stand in a binary
 * heap, ties in the order they became active; those without keep their slot (their tag may be ahead
 * of the virtual time) until it is needed, the one longest idle first.
 *
 * Deficit round robin was the alternative: O(1), but with a quantum to be set, and a visit to the
 * end of the round between two requests of a tenant that is below its share.
 *
 * The estimate that deadlines are held against is the shortest run of late: it falls to a shorter
 * run at once, rises by an eighth of the difference, and falls by an eighth with each request it
 * condemns, so that one slow run can never refuse everything for ever.
 */
#include "worker/fair.h"

#include <stdlib.h>

#define SCALE 64u /* of tags: a nanosecond at weight 1 */
#define NONE  UINT32_MAX

struct tenant {
    struct uuid id;
    uint64_t tag;   /* of its next request, in virtual time */
    uint64_t key;   /* the tag, or the virtual time when it is behind that */
    uint64_t since; /* when its first request became that: order among equal keys */
    struct fair_item *first, *last;
    size_t bytes;
    uint32_t frames, weight;
    uint32_t out;          /* popped and not yet settled */
    uint32_t place;        /* in the heap; NONE: nothing waits */
    uint32_t chain;        /* the next of its bucket, or of the free slots */
    uint32_t older, newer; /* among the idle */
};

struct fair {
    struct fair_limits limits;
    struct tenant *tenants;
    uint32_t *heap, *buckets;
    uint32_t waiting; /* tenants in the heap */
    uint32_t bucket_mask, free, oldest, newest;
    uint32_t last; /* the tenant asked for last: traffic comes in runs */
    size_t bytes;
    uint64_t now;    /* virtual time */
    uint64_t since;  /* counts activations */
    uint64_t usual;  /* what a request costs on average */
    uint64_t single; /* the estimate */
};

struct fair *fair_new(const struct fair_limits *limits)
{
    CHECK(limits->tenants >= 1 && limits->tenants <= FAIR_TENANTS_MAX && limits->frames >= 1);
    struct fair *f = calloc(1, sizeof(*f));
    uint32_t buckets = 1;
    while (buckets < 2 * limits->tenants)
        buckets *= 2;
    if (!f)
        return NULL;
    *f = (struct fair){ .limits = *limits,
                        .tenants = calloc(limits->tenants, sizeof(*f->tenants)),
                        .heap = calloc(limits->tenants, sizeof(*f->heap)),
                        .buckets = calloc(buckets, sizeof(*f->buckets)),
                        .bucket_mask = buckets - 1,
                        .oldest = NONE,
                        .newest = NONE,
                        .last = NONE };
    if (!f->tenants || !f->heap || !f->buckets) {
        fair_free(f);
        return NULL;
    }
    for (uint32_t i = 0; i < buckets; i++)
        f->buckets[i] = NONE;
    for (uint32_t i = 0; i < limits->tenants; i++)
        f->tenants[i].chain = i + 1 < limits->tenants ? i + 1 : NONE;
    return f;
}

void fair_free(struct fair *f)
{
    if (!f)
        return;
    free(f->tenants);
    free(f->heap);
    free(f->buckets);
    free(f);
}

bool fair_is_empty(const struct fair *f)
{
    return f->waiting == 0;
}

static bool later(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) > 0;
}

/* ---- the heap of tenants with work */

static bool ahead(const struct tenant *a, const struct tenant *b)
{
    return later(b->key, a->key) || (a->key == b->key && a->since < b->since);
}

static void set(struct fair *f, uint32_t place, uint32_t tenant)
{
    f->heap[place] = tenant;
    f->tenants[tenant].place = place;
}

static void sift_up(struct fair *f, uint32_t place)
{
    uint32_t tenant = f->heap[place];
    while (place && ahead(&f->tenants[tenant], &f->tenants[f->heap[(place - 1) / 2]])) {
        set(f, place, f->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    set(f, place, tenant);
}

static void sift_down(struct fair *f, uint32_t place)
{
    uint32_t tenant = f->heap[place];
    for (uint32_t child; (child = 2 * place + 1) < f->waiting; place = child) {
        if (child + 1 < f->waiting &&
            ahead(&f->tenants[f->heap[child + 1]], &f->tenants[f->heap[child]]))
            child++;
        if (!ahead(&f->tenants[f->heap[child]], &f->tenants[tenant]))
            break;
        set(f, place, f->heap[child]);
    }
    set(f, place, tenant);
}

static void heap_move(struct fair *f, uint32_t tenant)
{
    sift_up(f, f->tenants[tenant].place);
    sift_down(f, f->tenants[tenant].place);
}

/* Its tag has changed. */
static void heap_fix(struct fair *f, uint32_t tenant)
{
    struct tenant *t = &f->tenants[tenant];
    t->key = later(t->tag, f->now) ? t->tag : f->now;
    if (t->place != NONE)
        heap_move(f, tenant);
}

static void heap_add(struct fair *f, uint32_t tenant)
{
    struct tenant *t = &f->tenants[tenant];
    t->key = later(t->tag, f->now) ? t->tag : f->now;
    set(f, f->waiting++, tenant);
    sift_up(f, f->waiting - 1);
}

static void heap_remove(struct fair *f, uint32_t tenant)
{
    uint32_t place = f->tenants[tenant].place, last = f->heap[--f->waiting];
    f->tenants[tenant].place = NONE;
    if (last == tenant)
        return;
    set(f, place, last);
    heap_move(f, last);
}

/* ---- tenants */

static void idle_add(struct fair *f, uint32_t number)
{
    struct tenant *t = &f->tenants[number];
    t->newer = NONE;
    t->older = f->newest;
    if (f->newest != NONE)
        f->tenants[f->newest].newer = number;
    else
        f->oldest = number;
    f->newest = number;
}

static void idle_remove(struct fair *f, uint32_t number)
{
    struct tenant *t = &f->tenants[number];
    if (t->older != NONE)
        f->tenants[t->older].newer = t->newer;
    else
        f->oldest = t->newer;
    if (t->newer != NONE)
        f->tenants[t->newer].older = t->older;
    else
        f->newest = t->older;
}

static bool is_idle(const struct tenant *t)
{
    return !t->first && !t->out;
}

static uint32_t *bucket_of(struct fair *f, const struct uuid *id)
{
    return &f->buckets[hash_bytes(id->bytes, sizeof(id->bytes)) & f->bucket_mask];
}

static uint32_t find(struct fair *f, const struct uuid *id)
{
    if (f->last != NONE && uuid_eq(&f->tenants[f->last].id, id))
        return f->last;
    uint32_t at = *bucket_of(f, id);
    while (at != NONE && !uuid_eq(&f->tenants[at].id, id))
        at = f->tenants[at].chain;
    return at;
}

static void forget(struct fair *f, uint32_t number)
{
    uint32_t *at = bucket_of(f, &f->tenants[number].id);
    while (*at != number)
        at = &f->tenants[*at].chain;
    *at = f->tenants[number].chain;
    idle_remove(f, number);
    f->tenants[number].chain = f->free;
    f->free = number;
    f->last = NONE;
}

/* A slot for a tenant that has none; there is one (room has looked). */
static uint32_t meet(struct fair *f, const struct uuid *id)
{
    if (f->free == NONE)
        forget(f, f->oldest);
    uint32_t number = f->free, *bucket = bucket_of(f, id);
    struct tenant *t = &f->tenants[number];
    f->free = t->chain;
    *t = (struct tenant){ .id = *id, .tag = f->now, .place = NONE, .chain = *bucket };
    *bucket = number;
    idle_add(f, number);
    return number;
}

/* number: the tenant's, or NONE */
static enum fair_verdict room(const struct fair *f, uint32_t number, size_t bytes)
{
    const struct tenant *t = number == NONE ? NULL : &f->tenants[number];
    if (t && t->frames && /* its only one may be as large as a body may be */
        (t->frames >= f->limits.frames || t->bytes >= f->limits.bytes ||
         bytes > f->limits.bytes - t->bytes))
        return FAIR_REFUSED;
    if (f->bytes && (f->bytes >= f->limits.all_bytes || bytes > f->limits.all_bytes - f->bytes))
        return FAIR_FULL;
    return t || f->free != NONE || f->oldest != NONE ? FAIR_TAKEN : FAIR_FULL;
}

static void count(struct fair *f, struct tenant *t, const struct fair_item *item, bool in)
{
    size_t bytes = in ? item->bytes : 0 - item->bytes;
    t->frames += in ? 1 : UINT32_MAX;
    t->bytes += bytes;
    f->bytes += bytes;
}

/* It has work again: what it did not use while it was away is gone. */
static void activate(struct fair *f, uint32_t number)
{
    struct tenant *t = &f->tenants[number];
    if (later(f->now, t->tag))
        t->tag = f->now;
    t->since = f->since++;
    heap_add(f, number);
}

enum fair_verdict fair_push(struct fair *f, const struct uuid *id, uint32_t weight,
                            struct fair_item *item)
{
    uint32_t number = find(f, id);
    enum fair_verdict verdict = room(f, number, item->bytes);
    if (verdict != FAIR_TAKEN)
        return verdict;
    if (number == NONE)
        number = meet(f, id);
    struct tenant *t = &f->tenants[number];
    f->last = number;
    item->next = NULL;
    if (is_idle(t))
        idle_remove(f, number);
    t->weight = weight == 0 ? 1 : weight < FAIR_WEIGHT_MAX ? weight : FAIR_WEIGHT_MAX;
    if (t->first)
        t->last->next = item;
    else
        t->first = item;
    t->last = item;
    count(f, t, item, true);
    if (t->place == NONE)
        activate(f, number);
    return FAIR_TAKEN;
}

/* ---- service */

static uint64_t in_tags(const struct tenant *t, uint64_t ns)
{
    return t->weight == 1 ? ns * SCALE : ns * SCALE / t->weight;
}

static void charge(struct fair *f, uint32_t number, struct fair_item *item, uint64_t cost_ns)
{
    struct tenant *t = &f->tenants[number];
    t->tag += in_tags(t, cost_ns) - in_tags(t, item->charged_ns);
    item->charged_ns = cost_ns;
}

static struct fair_item *take_first(struct fair *f, uint32_t number)
{
    struct tenant *t = &f->tenants[number];
    struct fair_item *item = t->first;
    t->first = item->next;
    t->out++;
    count(f, t, item, false);
    item->next = NULL;
    item->tenant = number;
    item->charged_ns = 0;
    item->tag = t->tag;
    item->since = t->since;
    t->since = f->since++;
    charge(f, number, item, f->usual);
    if (t->first)
        heap_fix(f, number);
    else
        heap_remove(f, number);
    return item;
}

struct fair_item *fair_pop(struct fair *f)
{
    return f->waiting ? take_first(f, f->heap[0]) : NULL;
}

struct fair_item *fair_pop_beside(struct fair *f, const struct fair_item *item)
{
    return f->tenants[item->tenant].first ? take_first(f, item->tenant) : NULL;
}

void fair_put_back(struct fair *f, struct fair_item *item)
{
    uint32_t number = item->tenant;
    struct tenant *t = &f->tenants[number];
    charge(f, number, item, 0);
    t->since = item->since;
    t->out--;
    item->next = t->first;
    if (!t->first)
        t->last = item;
    t->first = item;
    count(f, t, item, true);
    if (t->place == NONE)
        heap_add(f, number); /* it never was away */
    else
        heap_fix(f, number);
}

/* Virtual time follows what is served, not what was popped and put back. */
static void advance(struct fair *f, uint64_t tag, uint64_t tag_now)
{
    if (later(tag, tag_now)) /* the average had been too much */
        tag = tag_now;
    if (later(tag, f->now))
        f->now = tag;
}

void fair_settle(struct fair *f, struct fair_item *item, uint64_t cost_ns)
{
    uint32_t number = item->tenant;
    struct tenant *t = &f->tenants[number];
    charge(f, number, item, cost_ns);
    advance(f, item->tag, t->tag);
    t->out--;
    if (is_idle(t))
        idle_add(f, number);
    else
        heap_fix(f, number);
    f->usual = f->usual ? f->usual - f->usual / 8 + cost_ns / 8 : cost_ns;
}

/* ---- deadlines */

enum fair_due fair_due(struct fair *f, const struct fair_item *item, uint64_t now_ns)
{
    if (!item->deadline_ns)
        return FAIR_DUE;
    if (now_ns >= item->deadline_ns)
        return FAIR_PASSED;
    if (item->deadline_ns - now_ns >= f->single)
        return FAIR_DUE;
    f->single -= f->single / 8 + 1;
    return FAIR_HOPELESS;
}

void fair_ran(struct fair *f, uint64_t ns, bool merged)
{
    if (ns < f->single || (!f->single && !merged))
        f->single = ns;
    else if (!merged)
        f->single += (ns - f->single) / 8;
}

uint64_t fair_estimate_ns(const struct fair *f)
{
    return f->single;
}
