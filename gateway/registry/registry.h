/*
 * registry.h: what the gateway knows of tenants, keys and deployments, without a database on the
 * way of a request.
 *
 *     PostgreSQL ──LISTEN/NOTIFY, and a poll every 250 ms──▶ registry thread ──loop_post──▶ one
 * view per loop
 *
 * A view holds the immutable snapshot of all active deployments (shared, counted) and a bounded
 * cache of keys (principals) that is filled on demand by one indexed look-up and emptied by change
 * notices. Views are [loop]; nothing on them takes a lock. While Postgres is away, views keep
 * answering for `stale_max_ms` (five minutes) and registry_is_fresh says no.
 */
#ifndef MAAS_REGISTRY_H
#define MAAS_REGISTRY_H

#include "auth/allow.h"
#include "auth/key.h"
#include "auth/scope.h"
#include "limits/limits.h"
#include "net/loop.h"
#include "store/pg.h"

struct registry;      /* [any] the thread and the newest snapshot */
struct registry_view; /* [loop] */

/* A deployment: the name in front of one version of a model (weights come with a later issue).
 * Immutable, lives in its snapshot. */
struct deployment {
    struct uuid id, model_id, version_id;
    struct uuid owner; /* zero: the platform's */
    char name[64];     /* [a-z0-9][a-z0-9._-]{0,62} */
    char task[32];     /* "regression", "text-classification" … */
    char plugin[64];   /* id of the plugin, "maas.linreg": the file is <plugins_dir>/<id>.so */
    uint32_t version;  /* number of the model version */
    char version_text[12];
    uint8_t artifact[32]; /* sha256 of the artifact's bytes */
    uint64_t artifact_bytes;
    char *options_json; /* object of options for the plugin's load, "{}" at least */
    uint32_t cost_base, cost_per_row, min_row_bytes;
    bool granted_to_all; /* platform deployments only */
    bool pinned;         /* loaded at the start, never unloaded for another */
    struct uuid *grants; /* sorted; tenants that may use a platform deployment */
    uint32_t grant_count;
    uint64_t created_us;     /* of the deployment row, for OpenAI's "created" */
    struct bucket **buckets; /* limits of whoever asks it; references */
    uint32_t bucket_count;
};

/* A file that may be loaded as plugin `id`. */
struct plugin_digest {
    char id[64];
    uint8_t sha256[32];
};

struct snapshot {
    uint64_t seq; /* of the change log this snapshot contains */
    struct deployment *deployments;
    uint32_t count;
    uint32_t plugin_count;
    struct plugin_digest *plugins;      /* all that are allowed */
    struct bucket *buckets[LIMITS_MAX]; /* limits of all requests together; references */
    uint32_t bucket_count;
    /* private: a table by (owner, name) and a reference count */
    void *impl;
};
struct snapshot *snapshot_ref(struct snapshot *s); /* [any] */
void snapshot_unref(struct snapshot *s);
/* The tenant's own first, then a platform deployment granted to it; NULL looks the same for foreign
 * and missing. [any] */
const struct deployment *snapshot_resolve(const struct snapshot *s, const struct uuid *tenant,
                                          struct str name);
/* Whether the tenant may see `d`: its own or granted. For listings. */
bool deployment_visible(const struct deployment *d, const struct uuid *tenant);
/* Whether a file with this digest may be loaded as this plugin. [any] */
bool snapshot_allows(const struct snapshot *s, const char *plugin, const uint8_t sha256[32]);

/* Who calls: a record of a key with its tenant and plan that does not change (but its memo),
 * counted because requests outlive cache entries. */
struct principal {
    uint32_t refs; /* loop-private count */
    char key_id[KEY_ID_LEN + 1];
    struct uuid key, tenant;
    char tenant_slug[64];
    char plan[64];
    char time_zone[64]; /* in which the tenant's days begin */
    enum { TENANT_ACTIVE, TENANT_SUSPENDED, TENANT_CLOSED } tenant_state;
    bool revoked;
    uint64_t not_before_us, expires_us; /* wall clock; 0: none */
    uint16_t pepper_version;
    uint8_t mac[KEY_MAC_LEN];
    uint32_t used_day;    /* when its use was noted last, since 1970 */
    struct key_memo memo; /* of the text that was verified against mac: the one part that changes */
    struct scope_set scopes;
    struct allow_set *allow;        /* NULL: from everywhere */
    uint64_t body_max, v2_body_max; /* of the plan, bytes */
    uint32_t max_rows;
    uint32_t weight; /* its share of a worker beside other tenants' */
    struct bucket
        *buckets[LIMITS_MAX]; /* what every request of this key spends from: key and tenant */
    uint32_t bucket_count;
    struct model_limit { /* and what those with one model spend from beside that */
        struct uuid deployment;
        struct bucket *bucket;
    } * model_limits;
    uint32_t model_limit_count;
    enum limits_away away;
};
/* All buckets of a request: of the key, its tenant, the tenant with this model, the model, and of
 * all together. Borrowed. Returns how many, or LIMITS_MAX + 1 when there are more. */
uint32_t principal_buckets(const struct principal *p, const struct snapshot *s,
                           const struct deployment *d, struct bucket *out[LIMITS_MAX]);
/* [loop] The key was used now, by who owns it; costs something once a day and key. */
void registry_note_use(struct registry *registry, struct principal *p, uint64_t real_us);
void principal_ref(struct principal *p);   /* [loop] */
void principal_unref(struct principal *p); /* [loop] */

struct registry_config {
    const char *conninfo;     /* as maas_gateway */
    uint32_t poll_ms;         /* 250 */
    uint32_t call_timeout_ms; /* 500 for the poll; away after two misses */
    uint32_t stale_max_ms;    /* 300000 */
    uint32_t keys_max;        /* per process, divided among the loops */
    uint32_t miss_cache_ms;   /* 10000 */
    uint32_t misses_per_s;    /* 100, per process */
    struct limiter *limiter;
};
/* Starts the thread and waits up to boot_ms for a first snapshot; MAAS_E_UNAVAILABLE after it, with
 * the reason: then *out is set too and the thread goes on, until registry_stop. */
maas_status MUST_USE registry_start(const struct registry_config *config, uint32_t boot_ms,
                                    struct registry **out, maas_error *error);
/* Ends the thread. Views made of it stay valid until they are freed: they see no more changes. */
void registry_stop(struct registry *registry);
bool registry_is_fresh(
    const struct registry *registry); /* [any] Postgres was heard within two polls */
bool registry_is_usable(const struct registry *registry); /* [any] not older than stale_max_ms */
uint64_t registry_seq(const struct registry *registry);   /* [any] */
struct snapshot *registry_snapshot(
    struct registry *registry); /* [any] the newest, a reference; NULL before the first */
/* Called on the registry thread after each new snapshot; set before loops run. */
void registry_on_snapshot(struct registry *registry, void (*fn)(void *arg, struct snapshot *s),
                          void *arg);

/* One per loop, made before the loop runs, freed after it ended and before the loop and pg are. The
 * pg connection is the loop's. */
maas_status MUST_USE registry_view_new(struct registry *registry, struct loop *loop, struct pg *pg,
                                       struct registry_view **out, maas_error *error);
void registry_view_free(struct registry_view *view);
/* [loop] Borrowed until the next turn, never NULL: empty before the first was read. */
const struct snapshot *view_snapshot(const struct registry_view *view);

/*
 * The principal of a key id. FOUND: *out is borrowed until the next turn (principal_ref to keep).
 * ABSENT: known not to exist. BUSY: nothing was heard of Postgres for stale_max_ms, or more than
 * 1,024 ids wait for the look-up budget already. ASK: not in the cache: call view_ask.
 */
enum view_answer { VIEW_FOUND, VIEW_ABSENT, VIEW_ASK, VIEW_BUSY };
enum view_answer view_key(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns,
                          struct principal **out);

/* Looks the key up; done is called on this loop in a later turn with FOUND, ABSENT or BUSY
 * (Postgres is away, or the budget was used up for call_timeout_ms). One query per id however many
 * wait. The budget is charged for ids that do not exist only: real keys wait for a round trip at
 * most. */
struct view_waiter {
    struct view_waiter *next, *prev; /* private */
    void (*done)(struct view_waiter *waiter, enum view_answer answer, struct principal *principal);
};
void view_ask(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns,
              struct view_waiter *waiter);
/* The same with nobody to tell: a later view_key knows. Nothing when it is being looked up. */
void view_want(struct registry_view *view, const char id[KEY_ID_LEN], uint64_t now_ns);
/* Its done is not called. Nothing when it was called already. */
void view_cancel(struct registry_view *view, struct view_waiter *waiter);

struct registry_counts { /* [any] */
    uint64_t snapshots, notices, key_hits, key_misses, key_lookups, poll_failures;
    uint32_t keys_cached, deployments;
};
void registry_counts(const struct registry *registry, struct registry_counts *out);

#endif
