/*
 * fleet.h: the gateway's side of its workers: which processes should run, their start, watch and
 * restart, the swap of one version for another, and the lanes by which an event loop sends requests
 * to them and gets answers.
 *
 *     registry thread ── fleet_want ──▶ control thread (the process' main thread: parent of all
 * workers) │ loop_post: lane opened, lane lost, route switched ▼ loop: fleet_route → fleet_send
 * ──ring──▶ worker ──ring──▶ job.done on the same loop
 *
 * A deployment's route names the version that is ready, so a new version takes over only once its
 * workers are loaded and have passed their self-test, and the old ones are drained; one that fails
 * never gets a request. A deployment that is not loaded is loaded by the first request for it. A
 * job is done exactly once: by its answer, its deadline (504), its worker's death (502 when it had
 * started), or the end of what it waits for (503). A job that had not started when its worker died
 * is sent again to the next one.
 */
#ifndef MAAS_FLEET_H
#define MAAS_FLEET_H

#include "channel/channel.h"
#include "net/loop.h"
#include "registry/registry.h"

struct fleet;      /* [control] one per process, owned by the main thread */
struct fleet_port; /* [loop] */

struct fleet_config {
    const char *worker_binary, *plugins_dir, *cache_dir, *conninfo;
    uint32_t loops, workers_per_model, ring_bytes, queue_max, tenant_queue_max, sql_timeout_ms,
        start_ms, hang_grace_ms;
    uint32_t resident_max;        /* deployments loaded at a time; 0: all */
    uint32_t starts_max;          /* pools that start at a time */
    uint64_t resident_memory_max; /* bytes of all workers; 0: half of the machine's */
    uint64_t memory_max;
    uint32_t group_max;          /* deployments of one tenant in a worker; 1: each has its own */
    uint64_t group_artifact_max; /* bytes of an artifact that may share a worker */
};

maas_status MUST_USE fleet_new(const struct fleet_config *config, struct fleet **out,
                               maas_error *error);
/* Runs on the main thread until fleet_stop; reaps children, so no other part of the process may
 * wait for them. */
void fleet_run(struct fleet *fleet);
void fleet_stop(struct fleet *fleet); /* [any], async-signal-safe */
void fleet_free(struct fleet *fleet); /* ends the workers; the loops no longer run */
/* The newest wish: one pool of workers per deployed version. Takes a reference. [any] */
void fleet_want(struct fleet *fleet, struct snapshot *snapshot);
/* What is to be loaded of the first wish serves, or was given up for now. [any] */
bool fleet_is_ready(const struct fleet *fleet);
/* New workers for a deployment, which take over from the old ones when all are ready: its plugin's
 * file is read again. Also tries again what failed. Nothing when there is no such one. [any] */
void fleet_restart(struct fleet *fleet, const struct uuid *deployment);

maas_status MUST_USE fleet_port_new(struct fleet *fleet, struct loop *loop, struct fleet_port **out,
                                    maas_error *error);
void fleet_port_free(struct fleet_port *port);

/*
 * Where a deployment's requests go now, never NULL: the pool that serves it, or a place to wait for
 * one, whose load is asked for by this call. Borrowed until the next turn. [loop]
 */
struct fleet_route;
struct fleet_route *fleet_route(struct fleet_port *port, const struct uuid *deployment);
bool fleet_route_serves(const struct fleet_route *route); /* a pool is loaded and not refused */
/* The version that answers now, 0 when none does; asks for nothing. */
uint32_t fleet_serving(const struct fleet_port *port, const struct uuid *deployment);

enum job_end {
    JOB_ANSWERED,  /* the worker's frame is there, whatever its status */
    JOB_DEADLINE,  /* 504 */
    JOB_CRASHED,   /* 502: it had started on a worker that died */
    JOB_NO_WORKER, /* 503: no worker came in time */
    JOB_ABANDONED, /* the caller had left and the work had not begun: nothing to bill */
};

/* One request on its way. The memory is the caller's until done was called. */
struct job {
    struct submit_frame
        frame; /* kind, surface, deadline, tenant, lengths: the caller's; job and slot are ours */
    struct channel_part parts[5]; /* name, version (ours), request id, head and body: live until
                                     done, or until fleet_abandon */
    uint32_t version;             /* the version that serves it: ours, known in done */
    uint32_t pinned;              /* the number of the only version that may answer; 0: any */
    void (*done)(struct job *job, enum job_end end, const struct complete_frame *frame,
                 const uint8_t *payload);
    /* private from here */
    struct fleet_route *route;
    struct lane *lane; /* NULL while it waits for one */
    struct job *next, *prev;
    struct timer deadline;
    uint64_t arrival; /* its place among the requests of this loop */
    struct crowd *crowd;
    uint32_t slot;
    bool abandoned;
};
/* The same request has ended workers of this version twice within a minute: it is not to be sent.
 */
bool fleet_condemns(struct fleet_port *port, const struct fleet_route *route, struct job *job);
/* False when the tenant has too many there already, the model's workers keep failing, or another
 * version than the pinned one serves: nothing was taken (503). Never calls done from inside. */
bool fleet_send(struct fleet_port *port, struct fleet_route *route, struct job *job);
/*
 * The client left: the parts are no longer there. What was sent goes on (the answer may have to be
 * billed) and done is called later; what was not sent is done at once, from inside this call, with
 * JOB_ABANDONED.
 */
void fleet_abandon(struct fleet_port *port, struct job *job);

struct fleet_counts { /* [any] */
    uint64_t starts, exits, crashes, kills, load_failures, hostile_frames, swaps, swap_failures,
        evictions, splits;
    uint64_t plugins_refused; /* starts that were not made: the file's digest is not allowed */
    uint64_t plugins_revoked; /* workers that were ended because theirs is no longer allowed */
    uint64_t sandbox_kills;   /* workers that died of a forbidden system call (SIGSYS) */
    uint32_t workers_ready, workers_wanted, resident;
    uint64_t memory_bytes, memory_max; /* of all workers */
    /* of answers, as workers tell: in all, of merged calls, rows, calls, told too late, refused for
     * want of room */
    uint64_t answers, merged, rows, calls, late, exhausted;
    uint64_t crowded, condemned; /* refused here: a tenant's own cap; ended workers before */
};
void fleet_counts(const struct fleet *fleet, struct fleet_counts *out);

/* One row a worker and deployment, for the admin API; fills at most `max`, says how many there are.
 * [any] */
struct fleet_worker {
    char deployment[64], plugin[64], state[16], sandbox[96];
    char sha256[65];  /* of the plugin's file that it runs; empty: no process */
    char reason[192]; /* why the last start failed; empty: it did not */
    uint32_t version, restarts;
    uint32_t models;       /* that share the process, this one included: each has a row */
    uint64_t memory_bytes; /* of the process, as it was measured last; 0: none */
    int pid;
};
uint32_t fleet_workers(struct fleet *fleet, struct fleet_worker *out, uint32_t max);
/* Likewise one a deployment. */
struct fleet_deployment {
    struct uuid id;
    const char *state;        /* idle, loading, serving, swapping, failed: static text */
    uint32_t wanted, serving; /* numbers of versions; serving 0: none */
    uint32_t generation;      /* another with each switch; 0: nothing serves */
    uint32_t attempts;        /* that failed in a row */
    char reason[200];         /* of the last of them */
};
uint32_t fleet_deployments(struct fleet *fleet, struct fleet_deployment *out, uint32_t max);

#endif
