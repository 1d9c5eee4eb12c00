/*
 * pool.h: what the control thread knows: deployments (service.c), their pools (pool.c), the worker
 * processes of a pool (worker.c), who may be loaded when (resident.c), who shares a worker
 * (group.c) and what is shown of it all (rows.c). Private to fleet/. [control] where nothing else
 * is said.
 *
 * A service is a deployment as the fleet serves it. It has at most one pool that serves it and one
 * candidate, which takes its place when it is ready. A pool serves one deployment, or the several
 * of a group from one worker:
 *
 *     WAITING ──▶ STARTING ──▶ SERVING ──▶ CLOSING ──▶ freed
 *        └───────────┴─────────────────────▶┘
 *
 *     NONE ──▶ STARTING ──▶ READY ──▶ CLOSING ──▶ DYING ──▶ NONE        a worker of a pool
 */
#ifndef MAAS_FLEET_POOL_H
#define MAAS_FLEET_POOL_H

#include <poll.h>
#include <pthread.h>

#include "fleet/link.h"
#include "store/sql.h"

#define WORKERS_MAX    16 /* of one pool */
#define STORM_DEATHS   3
#define STORM_NS       ((uint64_t)60 * 1000000000)
#define BACKOFF_MAX_MS 30000
#define SERVICES_MAX   65536
#define BUCKETS        4096 /* of the table of services, a power of two */
#define REASON_MAX     200
#define WORD_MAX       1024 /* what may come of a worker's words before a line ends */
#define NOBODY         UINT32_MAX

enum worker_state {
    WORKER_NONE,     /* no process: to be started at restart_ns */
    WORKER_STARTING, /* until its word on the ready pipe */
    WORKER_READY,    /* loops may send to it */
    WORKER_CLOSING,  /* loops send nothing new */
    WORKER_DYING,    /* killed, not yet reaped */
};

struct worker {
    enum worker_state state;
    struct link *link; /* NULL in WORKER_NONE only */
    int ready_fd;
    char *word; /* what came on it so far: WORD_MAX while there is a ready_fd, else NULL */
    size_t word_len;
    uint32_t at; /* the member whose load or self-test it told of last; NOBODY: of none */
    uint64_t since_ns, restart_ns; /* when the state began; not to be started before */
    uint32_t restarts, backoff_ms;
    uint64_t memory; /* bytes, as measured last; 0: not yet */
    uint64_t deaths[STORM_DEATHS];
    char sandbox[96], reason[192]; /* of the last start that failed */
    uint8_t sha256[32];            /* of the plugin's file that it runs */
    bool refused;                  /* the last start: no such file is allowed */
    bool revoked;                  /* ended because what it runs is no longer allowed */
};

enum pool_state {
    POOL_WAITING,  /* for room and for its turn to start: no process yet */
    POOL_STARTING, /* a candidate: its workers load and test themselves; any failure is its end */
    POOL_SERVING,  /* switched to: a worker that dies is replaced */
    POOL_CLOSING,  /* drained, then ended; over when no process is left */
};

/* What a plugin's file is: another one after an atomic rename. */
struct file_stamp {
    uint64_t device, inode, size, changed_ns;
};

struct member { /* a deployment in a pool */
    struct pool_id id;
    struct service *service;
    struct snapshot *snapshot; /* keeps `spec` */
    const struct deployment *spec;
};

struct pool {
    enum pool_state state;
    /* In the order of their worker's models. One that the pool serves no more stays until its end.
     */
    struct member *members; /* room for group_max */
    uint32_t member_count;
    uint64_t since_ns;
    struct file_stamp file; /* as it was when the first worker was started */
    struct worker workers[WORKERS_MAX];
    struct pool *next;
};

enum apart {
    APART_NO,   /* it may share a worker */
    APART_ROOM, /* not until it is unloaded: its group found no room */
    APART_FAULT /* not with this version: its group failed with it, or died again and again */
};

struct service {
    struct uuid id;
    struct snapshot *snapshot; /* keeps `spec` */
    const struct deployment *spec;
    bool wanted; /* in the newest wish */
    bool asked;  /* to be loaded: at the start, or by a request */
    bool eager;  /* asked by nobody yet: it makes no room for itself */
    bool again;  /* new workers are asked for */
    enum apart apart;
    struct pool *serving, *candidate; /* NULL: none */
    uint32_t pools;                   /* of it, also those that close */
    struct {
        struct uuid version;
        uint64_t bytes; /* of one worker of its own, as measured last, or reckoned in a group */
    } seen;
    struct {
        uint32_t attempts; /* in a row, since the last success or another wish; 0: no failure */
        bool passing;      /* it may go without a change: the database was away, no memory */
        bool denied;       /* the plugin's file is not allowed: another list is a reason */
        uint64_t retry_ns;
        struct file_stamp file;
        char reason[REASON_MAX];
    } failure;
    struct service *next, *next_in_bucket;
};

struct ask { /* of a loop or of an operator */
    struct ask *next;
    struct uuid deployment;
    bool restart;
};

struct fleet {
    struct fleet_config config;
    int wake_fd;
    struct suspects *suspects;
    _Atomic bool stopping, ready;
    struct sql *sql;
    struct snapshot *allowed; /* the newest wish: which plugins may run, in any pool */
    struct pool *pools;       /* oldest first */
    struct service *services, **services_end; /* in the order of their wish */
    struct service *buckets[BUCKETS];
    uint32_t service_count, generation;
    struct pollfd *fds; /* of wait_for_news */
    size_t fds_room;
    bool changed; /* the published rows are old */

    pthread_mutex_t lock; /* guards the wish, the asks and the published rows */
    struct snapshot *wish;
    struct ask *asks, **asks_end;
    struct fleet_worker *rows;
    struct fleet_deployment *deployment_rows;
    uint32_t row_count, row_room, deployment_count, deployment_room;

    struct {
        struct fleet_port *port;
        struct loop *loop;
    } ports[CHANNEL_LOOPS_MAX];
    _Atomic uint64_t starts, exits, crashes, kills, load_failures, hostile, swaps, swap_failures,
        evictions, refused, revoked, sandbox_kills, splits;
    _Atomic uint32_t ready_workers, wanted_workers, resident;
    _Atomic uint64_t memory;
    uint64_t measured_ns;
};

/* ---- worker.c */
/* One step of a worker whose pool goes on; starts it when it is time. False: the pool was closed,
 * because it was a candidate and this worker failed. */
bool worker_step(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now);
/* One step of its end. */
void worker_retire(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now);
void worker_hear(struct fleet *fleet, struct pool *pool, struct worker *w, uint64_t now);
void worker_gone(struct fleet *fleet, struct pool *pool, struct worker *w, int wait_status,
                 uint64_t now);
void worker_end(struct worker *w); /* at once, and waits for it: at the fleet's own end */

/* ---- pool.c */
/* A candidate for this service. */
struct pool *pool_new(struct fleet *fleet, struct service *service, uint64_t now);
/* Another service's as well; it has not started. */
void pool_add(struct fleet *fleet, struct pool *pool, struct service *service);
struct member *pool_member(struct pool *pool, const struct service *service); /* it is one */
uint32_t pool_serves(const struct pool *pool); /* how many members it serves */
/* What this is of each member. */
void pool_tell(struct fleet *fleet, const struct pool *pool, enum lane_event event,
               struct link *link);
/* A member went elsewhere: the end of a pool that serves nobody any more. */
void pool_leave(struct fleet *fleet, struct pool *pool, uint64_t now);
void pool_move(struct fleet *fleet, struct pool *pool, enum pool_state to, uint64_t now);
/* Whatever it does: its end begins. A pool that serves is told away, unless a successor was
 * switched to before. */
void pool_close(struct fleet *fleet, struct pool *pool, uint64_t now);
/* A worker became ready, a self-test passed. */
void pool_on_ready(struct fleet *fleet, struct pool *pool, uint64_t now);
void pool_try_again(struct pool *pool);   /* what was refused: another file may be allowed now */
bool pool_lives(const struct pool *pool); /* a worker is ready or will soon be */
void pools_step(struct fleet *fleet, uint64_t now);
void pool_free(struct fleet *fleet, struct pool *pool); /* ends what is left of its workers */

/* ---- service.c */
void services_adopt(struct fleet *fleet, struct snapshot *wish);         /* takes the reference */
void services_heed(struct fleet *fleet, struct ask *asks, uint64_t now); /* frees them */
void services_step(struct fleet *fleet, uint64_t now);
void services_free(struct fleet *fleet);
/* The candidate is ready: it serves from now on, and the pool that did is left. */
void service_switch(struct fleet *fleet, struct pool *candidate, struct member *member,
                    uint64_t now);
/* The candidate failed: it is closed; what serves goes on. `blamed`: the member whose fault it is,
 * NOBODY's is everybody's; the others of a group try again without it. */
struct failure {
    uint32_t blamed;
    bool passing, denied;
    const char *reason;
};
void candidate_fail(struct fleet *fleet, struct pool *candidate, const struct failure *failure,
                    uint64_t now);
void file_stamp(const struct fleet *fleet, const char *plugin, struct file_stamp *out);

/* ---- resident.c */
/* Lets candidates start, oldest first, as far as there is room; unloads what was used least
 * recently where there is none, and where the workers have grown past their bound. */
void resident_step(struct fleet *fleet, uint64_t now);
/* How many more deployments may be loaded without unloading another. */
uint32_t resident_room(const struct fleet *fleet);
/* Deployments that a pool keeps loaded; for one that starts, those that nothing serves yet. */
uint32_t resident_count(const struct pool *pool);
/* Would the two bounds let a pool with one more member, or with those of another, be loaded? */
bool resident_fits(const struct fleet *fleet, const struct pool *pool, const struct pool *other,
                   const struct service *one);

/* ---- group.c */
/* A new candidate for the service: alone or with its like. */
struct pool *group_form(struct fleet *fleet, struct service *service, uint64_t now);
/* Its worker dies again and again: each member gets workers of its own. */
void group_split(struct fleet *fleet, struct pool *pool, uint64_t now);
/* The candidate finds no room: who is served already stays where it is, the others go alone. */
void group_dissolve(struct fleet *fleet, struct pool *candidate, uint64_t now);

/* ---- rows.c */
void rows_publish(struct fleet *fleet);

#endif
