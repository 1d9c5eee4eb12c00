/*
 * queue.c: the rings are drained eagerly into one list, so that a long inference on one request
 * does not keep the others in memory that the gateway needs for new ones.
 *
 * Memory of small jobs is kept in lists by power of two and reused; large bodies go back to malloc
 * (whose thresholds main raises, so that they are not mapped anew each time).
 *
 * The gateway is not an enemy, but its frames are checked all the same: a wrong length must not
 * become a wrong read here. A frame that is no frame is dropped and counted in the log.
 */
#include "worker/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CLASS_LEAST 12u /* 4 KiB */
#define CLASSES     7u  /* … 256 KiB */

struct queue {
    struct channel *channel;
    struct job *first, **last;
    struct job *spare[CLASSES];
    size_t bytes, bytes_max;
};

struct queue *queue_new(struct channel *channel, size_t bytes_max)
{
    struct queue *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->channel = channel;
    q->bytes_max = bytes_max;
    q->last = &q->first;
    return q;
}

static void free_list(struct job *job)
{
    while (job) {
        struct job *next = job->next;
        free(job);
        job = next;
    }
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    free_list(q->first);
    for (unsigned i = 0; i < CLASSES; i++)
        free_list(q->spare[i]);
    free(q);
}

/* CLASSES: too large to be kept. */
static unsigned class_of(size_t bytes)
{
    unsigned class = 0;
    while (class < CLASSES && bytes > (size_t)1 << (CLASS_LEAST + class))
        class ++;
    return class;
}

static struct job *job_take(struct queue *q, size_t bytes)
{
    unsigned class = class_of(bytes);
    if (class < CLASSES && q->spare[class]) {
        struct job *job = q->spare[class];
        q->spare[class] = job->next;
        return job;
    }
    size_t size = class < CLASSES ? (size_t)1 << (CLASS_LEAST + class) : bytes;
    struct job *job = malloc(sizeof(*job) + size);
    if (job)
        job->size = size;
    return job;
}

void queue_recycle(struct queue *q, struct job *job)
{
    unsigned class = class_of(job->size);
    if (class == CLASSES) {
        free(job);
        return;
    }
    job->next = q->spare[class];
    q->spare[class] = job;
}

static struct str cut(const unsigned char **at, size_t len)
{
    struct str s = { (const char *)*at, len };
    *at += len;
    return s;
}

/* The copy of a frame to a job; false: its lengths do not add up. */
static bool job_fill(struct job *job, size_t len)
{
    const struct submit_frame *f = &job->frame;
    size_t rest = len - sizeof(*f);
    if (f->kind != SUBMIT_INFER ||
        rest != (size_t)f->name_len + f->version_len + f->request_id_len + f->body_len)
        return false;
    const unsigned char *at = job->bytes;
    job->name = cut(&at, f->name_len);
    job->version = cut(&at, f->version_len);
    job->request_id = cut(&at, f->request_id_len);
    job->body = cut(&at, f->body_len);
    return true;
}

static void append(struct queue *q, struct job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
    q->bytes += job->size;
}

static void take(struct queue *q, uint32_t loop, const void *data, size_t len, uint64_t now_ns)
{
    struct submit_frame frame;
    if (len < sizeof(frame)) {
        LOG(LOG_ERROR, "worker.frame", F_STR("reason", "too short"), F_UINT("bytes", len));
        return;
    }
    memcpy(&frame, data, sizeof(frame));
    if (frame.kind == SUBMIT_CANCEL) { /* the mark is what jobs look at */
        channel_mark_cancelled(q->channel, loop, frame.job);
        return;
    }
    struct job *job = job_take(q, len - sizeof(frame));
    CHECK(job != NULL); /* the plugin has eaten all memory: a new worker serves better */
    job->frame = frame;
    job->loop = loop;
    job->arrived_ns = now_ns;
    memcpy(job->bytes, (const unsigned char *)data + sizeof(frame), len - sizeof(frame));
    if (job_fill(job, len)) {
        append(q, job);
        return;
    }
    LOG(LOG_ERROR, "worker.frame", F_STR("reason", "lengths do not add up"), F_UINT("bytes", len));
    queue_recycle(q, job);
}

bool queue_drain(struct queue *q, uint64_t now_ns)
{
    bool any = false;
    for (uint32_t loop = 0; loop < channel_loops(q->channel); loop++) {
        const void *data;
        size_t len;
        while (q->bytes < q->bytes_max &&
               (data = channel_peek_submit(q->channel, loop, &len)) != NULL) {
            take(q, loop, data, len, now_ns);
            channel_consume_submit(q->channel, loop);
            any = true;
        }
    }
    return any;
}

struct job *queue_pop(struct queue *q)
{
    struct job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->last = &q->first;
    q->bytes -= job->size;
    return job;
}

bool queue_is_empty(const struct queue *q)
{
    return !q->first;
}
