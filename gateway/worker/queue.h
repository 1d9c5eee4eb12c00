/*
 * queue.h: requests a worker has taken out of its rings and not yet begun, in fair order (fair.h).
 * Copies first and looks afterwards: what is queued is private memory, checked. [worker thread]
 */
#ifndef MAAS_WORKER_QUEUE_H
#define MAAS_WORKER_QUEUE_H

#include "channel/channel.h"
#include "worker/fair.h"

#define QUEUE_BEHIND 64u /* bytes behind a job's body that may be read */

struct job {               /* one request; lives until queue_end */
    struct fair_item item; /* first */
    struct submit_frame frame;
    uint32_t loop;
    uint64_t arrived_ns;
    struct str name, version, request_id, body; /* in `bytes` */
    uint64_t likeness;                          /* engine_likeness, once known; else 0 */
    uint32_t rows;                              /* once known; else 0 */
    size_t size;
    struct job *spare;
    unsigned char bytes[];
};

/* A frame whose tenant has too much waiting already: to be answered, nothing is kept of it. */
struct queue_refusal {
    void (*refuse)(void *arg, uint32_t loop, uint64_t job);
    void *arg;
};

struct queue;
/* For a worker of `models` models. NULL: no memory */
struct queue *queue_new(struct channel *channel, uint32_t models, const struct fair_limits *limits,
                        struct queue_refusal refusal);
void queue_free(struct queue *queue);

/* Takes everything the rings hold, until all tenants' bytes are queued: then it leaves the rest in
 * the rings, which fill up, which the gateway sees. What is beyond a tenant's own cap is refused.
 * True when anything was taken. */
bool queue_drain(struct queue *queue, uint64_t now_ns);
bool queue_is_empty(const struct queue *queue);

/* The next in line; the next of the tenant of `job`; NULL: there is none. Each is ended or put back
 * (several in the reverse order). */
struct job *queue_pop(struct queue *queue);
struct job *queue_pop_beside(struct queue *queue, const struct job *job);
void queue_put_back(struct queue *queue, struct job *job);
/* Its tenant is charged; its memory is kept for the next. */
void queue_end(struct queue *queue, struct job *job, uint64_t cost_ns);

/* Worth beginning at `now_ns`? */
enum fair_due queue_due(struct queue *queue, const struct job *job, uint64_t now_ns);
void queue_ran(struct queue *queue, uint64_t ns, bool merged); /* what deadlines are held against */

#endif
