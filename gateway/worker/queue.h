/*
 * queue.h: requests a worker has taken out of its rings and not yet begun, oldest first. Copies
 * first and looks afterwards: what is queued is private memory, checked. [worker thread]
 */
#ifndef MAAS_WORKER_QUEUE_H
#define MAAS_WORKER_QUEUE_H

#include "channel/channel.h"

struct job { /* one request; lives until queue_recycle */
    struct job *next;
    struct submit_frame frame;
    uint32_t loop;
    uint64_t arrived_ns;
    struct str name, version, request_id, body; /* in `bytes` */
    size_t size;
    unsigned char bytes[];
};

struct queue;
struct queue *queue_new(struct channel *channel, size_t bytes_max); /* NULL: no memory */
void queue_free(struct queue *queue);

/* Takes everything the rings hold, until `bytes_max` are queued: then it leaves the rest in the
 * rings, which fill up, which the gateway sees. True when anything was taken. */
bool queue_drain(struct queue *queue, uint64_t now_ns);
struct job *queue_pop(struct queue *queue); /* NULL: empty */
bool queue_is_empty(const struct queue *queue);
void queue_recycle(struct queue *queue, struct job *job); /* keeps its memory for the next */

#endif
