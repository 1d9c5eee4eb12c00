/*
 * view.c: one loop's cache of keys.
 *
 * An entry is found by its id in a chained table and is in one of four states:
 *
 *     PARKED ──budget──▶ ASKING ──row──▶ FOUND ──────────┐
 *        └──too long: BUSY   │ └──none──▶ ABSENT, 10 s ──┴──▶ dropped: change, age, least used
 *                            └──failed: BUSY
 *
 * Whoever asks for an id that is PARKED or ASKING joins the waiters of its entry: one query an id.
 * A change that arrives while an entry is ASKING marks it dirty and its answer is thrown away and
 * asked for again, as it may be older than the change. FOUND and ABSENT entries stand in a list by
 * last use, cut to this loop's share of keys_max.
 *
 * Changes come in through an inbox under a lock of its own, taken once per change and never by a
 * request. Rejected: a shared cache with a lock per shard; a key used on two loops is looked up
 * twice, which costs less than sharing.
 */
#include "registry/registry_private.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define PARKED_MAX 1024 /* ids that wait for the budget */
#define PUMP_MS    10   /* how often they are looked at */
#define INBOX_MAX  256  /* changes not applied yet; past it everything is dropped */
#define SCAN_MAX                                                                                   \
    16 /* changed tenants and plans a pass looks for; past it everything is dropped                \
        */

enum entry_state { ENTRY_PARKED, ENTRY_ASKING, ENTRY_FOUND, ENTRY_ABSENT };

struct entry {
    struct entry *chain;         /* of the table */
    struct entry *newer, *older; /* FOUND, ABSENT: by use; ASKING, PARKED: by age */
    struct registry_view *view;  /* ASKING: NULL when the view went away */
    char id[KEY_ID_LEN];
    enum entry_state state;
    bool dirty;        /* ASKING: look again */
    uint64_t until_ns; /* ABSENT: holds so long; PARKED: waits so long */
    struct principal *principal;
    struct uuid plan;
    struct view_waiter waiters; /* a ring; this is its sentinel */
};

struct registry_view {
    struct registry *registry;
    struct registry_view *next; /* under the registry's lock */
    struct loop *loop;
    struct pg *pg;
    struct snapshot *snapshot;
    struct entry **table; /* made with the first entry, when all views are there */
    size_t mask, cached, parked_count;
    struct entry used, asking, parked; /* sentinels of lists */
    struct timer pump;
    /* [any] */
    _Atomic uint64_t hits, misses, lookups;
    _Atomic uint32_t keys;
    /* under `lock` */
    pthread_mutex_t lock;
    struct change inbox[INBOX_MAX];
    size_t inbox_count;
    struct snapshot *inbox_snapshot;
    bool inbox_all, posted;
    struct loop_post post;
};

static void count_one(_Atomic uint64_t *counter) /* one writer: no need for a locked add */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* ---- lists */

static void list_init(struct entry *list)
{
    list->newer = list->older = list;
}

static void list_push(struct entry *list, struct entry *e) /* as the newest */
{
    e->older = list->older;
    e->newer = list;
    list->older->newer = e;
    list->older = e;
}

static struct entry *list_oldest(struct entry *list)
{
    return list->newer == list ? NULL : list->newer;
}

static void list_remove(struct entry *e)
{
    e->newer->older = e->older;
    e->older->newer = e->newer;
}

static void waiters_init(struct view_waiter *ring)
{
    ring->next = ring->prev = ring;
}

static void waiter_remove(struct view_waiter *waiter)
{
    waiter->prev->next = waiter->next;
    waiter->next->prev = waiter->prev;
    waiter->next = waiter->prev = NULL;
}

/* Moves the ring of `from` to the empty ring `to`. */
static void waiters_move(struct view_waiter *from, struct view_waiter *to)
{
    waiters_init(to);
    if (from->next == from)
        return;
    *to = (struct view_waiter){ .next = from->next, .prev = from->prev };
    to->next->prev = to->prev->next = to;
    waiters_init(from);
}

/* ---- the table */

/* This loop's share. */
static size_t keys_max(const struct registry_view *view)
{
    uint32_t views = atomic_load_explicit(&view->registry->view_count, memory_order_relaxed);
    size_t share = view->registry->config.keys_max / (views ? views : 1);
    return share ? share : 1;
}

static void table_make(struct registry_view *view)
{
    size_t size = 16;
    while (size < keys_max(view))
        size *= 2;
    view->table = calloc(size, sizeof *view->table);
    CHECK(view->table);
    view->mask = size - 1;
}

static struct entry **slot_of(const struct registry_view *view, const char *id)
{
    return &view->table[hash_bytes(id, KEY_ID_LEN) & view->mask];
}

static struct entry *find(const struct registry_view *view, const char *id)
{
    struct entry *e = view->table ? *slot_of(view, id) : NULL;
    while (e && memcmp(e->id, id, KEY_ID_LEN) != 0)
        e = e->chain;
    return e;
}

static struct entry *entry_new(struct registry_view *view, const char *id)
{
    if (!view->table)
        table_make(view);
    struct entry *e = calloc(1, sizeof *e);
    CHECK(e);
    memcpy(e->id, id, KEY_ID_LEN);
    e->view = view;
    waiters_init(&e->waiters);
    struct entry **slot = slot_of(view, id);
    e->chain = *slot;
    *slot = e;
    return e;
}

static void set_keys(struct registry_view *view, size_t cached)
{
    view->cached = cached;
    atomic_store_explicit(&view->keys, (uint32_t)cached, memory_order_relaxed);
}

/* Out of table and list; the memory goes too, unless a query still points to it. */
static void entry_drop(struct registry_view *view, struct entry *e)
{
    struct entry **slot = slot_of(view, e->id);
    while (*slot != e)
        slot = &(*slot)->chain;
    *slot = e->chain;
    list_remove(e);
    if (e->state == ENTRY_FOUND || e->state == ENTRY_ABSENT)
        set_keys(view, view->cached - 1);
    if (e->state == ENTRY_PARKED)
        view->parked_count--;
    if (e->principal)
        principal_unref(e->principal);
    free(e);
}

/* ASKING comes to an end: into the list of what is cached. */
static void entry_keep(struct registry_view *view, struct entry *e, enum entry_state state)
{
    CHECK(e->state == ENTRY_ASKING && (state == ENTRY_FOUND || state == ENTRY_ABSENT));
    list_remove(e);
    list_push(&view->used, e);
    e->state = state;
    set_keys(view, view->cached + 1);
    while (view->cached > keys_max(view))
        entry_drop(view, list_oldest(&view->used));
}

/* ---- looking up */

static void on_row(void *arg, maas_status status, const struct pg_result *result);

static void send_lookup(struct registry_view *view, struct entry *e)
{
    count_one(&view->lookups);
    pg_query(view->pg, NULL, principal_query, &(struct str){ e->id, KEY_ID_LEN }, 1, on_row, e);
}

/* Sends what the budget allows. */
static void start_parked(struct registry_view *view, uint64_t now_ns)
{
    for (struct entry *e; (e = list_oldest(&view->parked));) {
        if (!budget_take(&view->registry->budget, now_ns))
            break;
        list_remove(e);
        view->parked_count--;
        e->state = ENTRY_ASKING;
        list_push(&view->asking, e);
        send_lookup(view, e);
    }
    if (list_oldest(&view->parked) && view->pump.due_ns == 0)
        timer_start(view->loop, &view->pump, PUMP_MS);
}

/* Each is told from a ring of its own, so a callback may ask, cancel and change the cache. */
static void answer(struct view_waiter *ring, enum view_answer answer, struct principal *principal)
{
    while (ring->next != ring) {
        struct view_waiter *waiter = ring->next;
        waiter_remove(waiter);
        waiter->done(waiter, answer, principal);
    }
}

static void give_up(struct registry_view *view, struct entry *e)
{
    struct view_waiter ring;
    waiters_move(&e->waiters, &ring);
    entry_drop(view, e);
    answer(&ring, VIEW_BUSY, NULL);
}

static void on_pump(struct timer *timer)
{
    struct registry_view *view =
        (struct registry_view *)(void *)((char *)timer - offsetof(struct registry_view, pump));
    uint64_t now_ns = loop_now_ns(view->loop);
    start_parked(view, now_ns);
    for (struct entry *e; (e = list_oldest(&view->parked)) && e->until_ns <= now_ns;)
        give_up(view, e);
}

static void found(struct registry_view *view, struct entry *e, const struct pg_result *row)
{
    maas_error error = MAAS_ERROR_INIT;
    budget_return(&view->registry->budget);
    if (principal_new(row, view->registry->config.limiter, &e->principal, &e->plan, &error) !=
        MAAS_OK) {
        LOG(LOG_ERROR, "registry.key", F_STRN("key", ((struct str){ e->id, KEY_ID_LEN })),
            F_STR("why", error.text));
        give_up(view, e);
        return;
    }
    struct principal *principal = e->principal;
    struct view_waiter ring;
    waiters_move(&e->waiters, &ring);
    principal_ref(principal); /* a callback may have the entry dropped */
    entry_keep(view, e, ENTRY_FOUND);
    answer(&ring, VIEW_FOUND, principal);
    principal_unref(principal);
}

static void absent(struct registry_view *view, struct entry *e)
{
    struct view_waiter ring;
    waiters_move(&e->waiters, &ring);
    e->until_ns =
        loop_now_ns(view->loop) + (uint64_t)view->registry->config.miss_cache_ms * 1000000;
    entry_keep(view, e, ENTRY_ABSENT);
    answer(&ring, VIEW_ABSENT, NULL);
}

static void on_row(void *arg, maas_status status, const struct pg_result *result)
{
    struct entry *e = arg;
    struct registry_view *view = e->view;
    if (!view) {
        free(e);
        return;
    }
    if (status == MAAS_OK && e->dirty) {
        e->dirty = false;
        send_lookup(view, e);
        return;
    }
    if (status == MAAS_OK && result->rows > 0) {
        found(view, e, result);
    } else if (status == MAAS_OK) {
        absent(view, e);
    } else {
        budget_return(&view->registry->budget);
        give_up(view, e);
    }
    start_parked(view, loop_now_ns(view->loop));
}

enum view_answer view_key(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns,
                          struct principal **out)
{
    if (!registry_usable_at(view->registry, now_ns))
        return VIEW_BUSY;
    struct entry *e = find(view, id);
    if (e && e->state == ENTRY_FOUND) {
        list_remove(e);
        list_push(&view->used, e);
        count_one(&view->hits);
        *out = e->principal;
        return VIEW_FOUND;
    }
    if (e && e->state == ENTRY_ABSENT && now_ns < e->until_ns)
        return VIEW_ABSENT;
    count_one(&view->misses);
    return view->parked_count < PARKED_MAX ? VIEW_ASK : VIEW_BUSY;
}

/* The entry of an id that is not in the cache: waits for the budget, or is being asked for. */
static struct entry *want(struct registry_view *view, const char *id, uint64_t now_ns)
{
    struct entry *e = find(view, id);
    if (e && (e->state == ENTRY_FOUND || e->state == ENTRY_ABSENT)) {
        entry_drop(view, e);
        e = NULL;
    }
    if (!e) {
        e = entry_new(view, id);
        e->state = ENTRY_PARKED;
        e->until_ns = now_ns + (uint64_t)view->registry->config.call_timeout_ms * 1000000;
        list_push(&view->parked, e);
        view->parked_count++;
    }
    return e;
}

void view_want(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns)
{
    (void)want(view, id, now_ns);
    start_parked(view, now_ns);
}

void view_ask(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns,
              struct view_waiter *waiter)
{
    struct entry *e = want(view, id, now_ns);
    waiter->next = &e->waiters;
    waiter->prev = e->waiters.prev;
    waiter->prev->next = waiter;
    e->waiters.prev = waiter;
    start_parked(view, now_ns);
}

void view_cancel(struct registry_view *view, struct view_waiter *waiter)
{
    (void)view;
    if (waiter->next)
        waiter_remove(waiter);
}

/* ---- changes */

static void drop_all(struct registry_view *view)
{
    for (struct entry *e; (e = list_oldest(&view->used));)
        entry_drop(view, e);
}

static void doubt_all(struct registry_view *view)
{
    for (struct entry *e = view->asking.newer; e != &view->asking; e = e->newer)
        e->dirty = true;
}

static void apply_key(struct registry_view *view, const char *id)
{
    struct entry *e = find(view, id);
    if (e && e->state == ENTRY_ASKING)
        e->dirty = true;
    else if (e && e->state != ENTRY_PARKED)
        entry_drop(view, e);
}

static bool is_of(const struct entry *e, const struct change *changes, size_t count)
{
    for (size_t i = 0; e->state == ENTRY_FOUND && i < count; i++)
        if (uuid_eq(changes[i].kind == CHANGE_PLAN ? &e->plan : &e->principal->tenant,
                    &changes[i].id))
            return true;
    return false;
}

/* Drops the keys of changed tenants and plans in one pass. */
static void apply_wide(struct registry_view *view, const struct change *changes, size_t count)
{
    for (struct entry *e = view->used.newer, *next; e != &view->used; e = next) {
        next = e->newer;
        if (is_of(e, changes, count))
            entry_drop(view, e);
    }
}

static void apply(struct registry_view *view, const struct change *changes, size_t count, bool all)
{
    struct change wide[SCAN_MAX];
    size_t wide_count = 0;
    for (size_t i = 0; i < count && !all; i++) {
        if (changes[i].kind == CHANGE_KEY)
            apply_key(view, changes[i].key_id);
        else if (changes[i].kind == CHANGE_ALL || wide_count == SCAN_MAX)
            all = true;
        else
            wide[wide_count++] = changes[i];
    }
    if (all)
        drop_all(view);
    else if (wide_count > 0)
        apply_wide(view, wide, wide_count);
    if (all || wide_count > 0)
        doubt_all(view); /* whose they are is not known yet */
}

static void on_post(struct loop_post *post)
{
    struct registry_view *view =
        (struct registry_view *)(void *)((char *)post - offsetof(struct registry_view, post));
    struct change changes[INBOX_MAX];
    pthread_mutex_lock(&view->lock);
    size_t count = view->inbox_count;
    bool all = view->inbox_all;
    struct snapshot *snapshot = view->inbox_snapshot;
    memcpy(changes, view->inbox, count * sizeof *changes);
    view->inbox_count = 0;
    view->inbox_all = view->posted = false;
    view->inbox_snapshot = NULL;
    pthread_mutex_unlock(&view->lock);
    apply(view, changes, count, all);
    if (snapshot) {
        snapshot_unref(view->snapshot);
        view->snapshot = snapshot;
    }
}

void view_notify(struct registry_view *view, const struct change *changes, size_t count,
                 struct snapshot *snapshot)
{
    pthread_mutex_lock(&view->lock);
    if (count > INBOX_MAX - view->inbox_count) {
        view->inbox_all = true;
    } else if (count > 0) {
        memcpy(&view->inbox[view->inbox_count], changes, count * sizeof *changes);
        view->inbox_count += count;
    }
    if (snapshot) {
        snapshot_unref(view->inbox_snapshot);
        view->inbox_snapshot = snapshot_ref(snapshot);
    }
    bool post = !view->posted;
    view->posted = true;
    pthread_mutex_unlock(&view->lock);
    if (post)
        loop_post(view->loop, &view->post);
}

/* ---- life */

maas_status registry_view_new(struct registry *registry, struct loop *loop, struct pg *pg,
                              struct registry_view **out, maas_error *error)
{
    struct registry_view *view = calloc(1, sizeof *view);
    if (!view)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a view of the registry");
    view->registry = registry;
    view->loop = loop;
    view->pg = pg;
    view->pump.fire = on_pump;
    view->post.run = on_post;
    list_init(&view->used);
    list_init(&view->asking);
    list_init(&view->parked);
    pthread_mutex_init(&view->lock, NULL);
    atomic_fetch_add(&registry->refs, 1);
    atomic_fetch_add(&registry->view_count, 1);
    pthread_mutex_lock(&registry->lock);
    view->snapshot =
        registry->snapshot ? snapshot_ref(registry->snapshot) : snapshot_new(NULL, 0, 0);
    view->next = registry->views;
    registry->views = view;
    pthread_mutex_unlock(&registry->lock);
    *out = view;
    return MAAS_OK;
}

static void leave_registry(struct registry_view *view)
{
    struct registry *registry = view->registry;
    pthread_mutex_lock(&registry->lock);
    struct registry_view **at = &registry->views;
    while (*at != view)
        at = &(*at)->next;
    *at = view->next;
    view_add_counts(view, &registry->gone);
    registry->gone.keys_cached = 0;
    pthread_mutex_unlock(&registry->lock);
    atomic_fetch_sub(&registry->view_count, 1);
    registry_unref(registry);
}

void registry_view_free(struct registry_view *view)
{
    if (!view)
        return;
    leave_registry(view);
    timer_stop(&view->pump);
    drop_all(view);
    for (struct entry *e; (e = list_oldest(&view->parked));)
        entry_drop(view, e);
    for (struct entry *e; (e = list_oldest(&view->asking));) {
        list_remove(e);
        e->view = NULL; /* freed when its query comes back */
    }
    snapshot_unref(view->snapshot);
    snapshot_unref(view->inbox_snapshot);
    pthread_mutex_destroy(&view->lock);
    free(view->table);
    free(view);
}

const struct snapshot *view_snapshot(const struct registry_view *view)
{
    return view->snapshot;
}

struct registry_view **view_next(struct registry_view *view)
{
    return &view->next;
}

void view_add_counts(const struct registry_view *view, struct registry_counts *sum)
{
    sum->key_hits += atomic_load_explicit(&view->hits, memory_order_relaxed);
    sum->key_misses += atomic_load_explicit(&view->misses, memory_order_relaxed);
    sum->key_lookups += atomic_load_explicit(&view->lookups, memory_order_relaxed);
    sum->keys_cached += atomic_load_explicit(&view->keys, memory_order_relaxed);
}
