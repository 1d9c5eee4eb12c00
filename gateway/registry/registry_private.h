/*
 * registry_private.h: what the files of this layer know of each other. Not for other layers.
 */
#ifndef MAAS_REGISTRY_PRIVATE_H
#define MAAS_REGISTRY_PRIVATE_H

#include "registry/registry.h"
#include "store/sql.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* False when it does not fit with its NUL; `to` is untouched then. */
static inline bool text_copy(struct str from, char *to, size_t size)
{
    if (from.len >= size)
        return false;
    memcpy(to, from.data, from.len);
    to[from.len] = '\0';
    return true;
}

/* ---- snapshot.c */

/* Takes the array and what its elements own, also when it fails. */
struct snapshot *snapshot_new(struct deployment *deployments, uint32_t count, uint64_t seq);
/* Reads all active deployments and their limits. A row that does not fit is left out and logged; a
 * limit that does not fails the whole. [control] */
maas_status MUST_USE snapshot_load(struct sql *sql, uint64_t seq, struct limiter *limiter,
                                   struct snapshot **out, maas_error *error);

/* ---- principal.c */

extern const char principal_query[]; /* $1 is a key id */
/* The first row of principal_query. MAAS_E_EXHAUSTED when no bucket is to be had, MAAS_E_INTERNAL
 * when the row makes no sense. out_plan is the id of the plan. [loop] */
maas_status MUST_USE principal_new(const struct pg_result *row, struct limiter *limiter,
                                   struct principal **out, struct uuid *out_plan,
                                   maas_error *error);

/* ---- budget.c: how many look-ups of ids that do not exist Postgres is bothered with */

struct budget {
    _Atomic uint64_t next_ns; /* when the bucket would be full again (GCRA) */
    uint64_t step_ns;         /* of one look-up */
};
void budget_init(struct budget *budget, uint32_t per_s);
bool budget_take(struct budget *budget, uint64_t now_ns); /* [any] at most per_s at once */
void budget_return(struct budget *budget);                /* [any] it did exist */

/* ---- view.c, called by the registry */

struct change {
    enum { CHANGE_KEY, CHANGE_TENANT, CHANGE_PLAN, CHANGE_ALL } kind;
    char key_id[KEY_ID_LEN];
    struct uuid id;
};
/* Leaves changes and, unless NULL, a new snapshot for the view's loop. [control] */
void view_notify(struct registry_view *view, const struct change *changes, size_t count,
                 struct snapshot *snapshot);
void view_add_counts(const struct registry_view *view, struct registry_counts *sum); /* [any] */
struct registry_view **view_next(struct registry_view *view);

/* ---- used.c */

#define USED_MAX 4096
struct used_keys { /* noted and not told yet */
    pthread_mutex_t lock;
    char ids[USED_MAX][KEY_ID_LEN];
    size_t count;
    uint32_t day;     /* of the newest, since 1970 */
    uint64_t next_ns; /* [control] not told before */
};
void used_flush(struct registry *registry); /* [control] now and then */

/* ---- registry.c */

struct registry {
    struct registry_config config;
    struct budget budget;
    pthread_t thread;
    int wake_fd;
    /* [any] */
    _Atomic uint64_t heard_ns; /* when the last good poll was sent; 0: never */
    _Atomic uint64_t seq;
    _Atomic uint32_t missed; /* polls since the last good one */
    _Atomic bool stopping;
    _Atomic uint32_t refs, view_count;
    _Atomic uint64_t snapshots, notices, poll_failures;
    pthread_mutex_t lock; /* guards what follows; taken before a view's */
    pthread_cond_t heard;
    struct registry_view *views;
    struct snapshot *snapshot;
    struct registry_counts gone; /* of views that were freed */
    struct used_keys used;       /* has a lock of its own */
    void (*on_snapshot)(void *arg, struct snapshot *s);
    void *on_snapshot_arg;
    char reason[sizeof((maas_error *)0)->text]; /* of the last failure */
    /* [control] the thread's own */
    struct sql *sql, *loader;
    uint64_t listening; /* sql_connects() of the connection that listens */
    bool reload;        /* the snapshot is older than seq */
};
bool registry_usable_at(const struct registry *registry, uint64_t now_ns); /* [any] */
void registry_unref(struct registry *registry);

#endif
