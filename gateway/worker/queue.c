/*
 * queue.c: the rings are drained eagerly, so that a long inference on one request does not keep the
 * others in memory that the gateway needs for new ones, and so that fair.c sees who waits.
 *
 * Memory of small jobs is kept in lists by power of two and reused; large bodies go back to malloc
 * (whose thresholds main raises, so that they are not mapped anew each time).
 *
 * The gateway is not an enemy, but its frames are checked all the same: a wrong length must not
 * become a wrong read here. A frame that is no frame is dropped and told in the log; one for a
 * model that this worker does not have can only be a mix-up, which is the end of the channel.
 *
 * Each tenant and model is a flow of its own for fair.c, so a crowd at one model of a group does
 * not keep its siblings waiting. Who shares a worker is one tenant's (docs/workers.md), so nobody
 * gets a second share by asking two.
 */
#include "worker/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CLASS_LEAST 12u /* 4 KiB */
#define CLASSES     7u  /* … 256 KiB */

struct queue {
    struct channel *channel;
    uint32_t models;
    struct fair *fair;
    struct queue_refusal refusal;
    struct job *spare[CLASSES];
};

struct queue *queue_new(struct channel *channel, uint32_t models, const struct fair_limits *limits,
                        struct queue_refusal refusal)
{
    struct queue *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    *q = (struct queue){
        .channel = channel, .models = models, .fair = fair_new(limits), .refusal = refusal
    };
    if (!q->fair) {
        free(q);
        return NULL;
    }
    return q;
}

static void free_list(struct job *job)
{
    while (job) {
        struct job *next = job->spare;
        free(job);
        job = next;
    }
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    struct fair_item *item;
    while ((item = fair_pop(q->fair)) != NULL)
        free(item);
    for (unsigned i = 0; i < CLASSES; i++)
        free_list(q->spare[i]);
    fair_free(q->fair);
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
        q->spare[class] = job->spare;
        return job;
    }
    size_t size = class < CLASSES ? (size_t)1 << (CLASS_LEAST + class) : bytes;
    struct job *job = malloc(sizeof(*job) + size);
    if (job)
        job->size = size;
    return job;
}

static void recycle(struct queue *q, struct job *job)
{
    unsigned class = class_of(job->size);
    if (class == CLASSES) {
        free(job);
        return;
    }
    job->spare = q->spare[class];
    q->spare[class] = job;
}

static struct str cut(const unsigned char **at, size_t len)
{
    struct str s = { (const char *)*at, len };
    *at += len;
    return s;
}

/* A request, with `len` bytes behind it. */
static bool adds_up(const struct submit_frame *f, size_t len)
{
    return f->kind == SUBMIT_INFER &&
           len == (size_t)f->name_len + f->version_len + f->request_id_len + f->body_len;
}

static void job_fill(struct job *job, uint32_t loop, const void *behind, size_t len,
                     uint64_t now_ns)
{
    const struct submit_frame *f = &job->frame;
    const unsigned char *at = job->bytes;
    memcpy(job->bytes, behind, len);
    job->loop = loop;
    job->arrived_ns = now_ns;
    job->likeness = 0;
    job->rows = 0;
    job->name = cut(&at, f->name_len);
    job->version = cut(&at, f->version_len);
    job->request_id = cut(&at, f->request_id_len);
    job->body = cut(&at, f->body_len);
}

/* The tenant with one model; the tenant itself where a worker has only one. */
static struct uuid flow_of(const struct submit_frame *f)
{
    struct uuid flow = f->tenant;
    flow.bytes[0] ^= (uint8_t)f->model_slot;
    return flow;
}

/* False: there is no room, it stays in its ring. What is refused is not copied. */
static bool take(struct queue *q, uint32_t loop, const struct submit_frame *frame,
                 const void *behind, size_t len, uint64_t now_ns)
{
    struct job *job = job_take(q, len + QUEUE_BEHIND);
    CHECK(job != NULL); /* the plugin has eaten all memory: a new worker serves better */
    job->item = (struct fair_item){ .bytes = job->size, .deadline_ns = frame->deadline_ns };
    job->frame = *frame;
    struct uuid flow = flow_of(frame);
    enum fair_verdict verdict = fair_push(q->fair, &flow, frame->weight, &job->item);
    if (verdict == FAIR_TAKEN) {
        job_fill(job, loop, behind, len, now_ns);
        return true;
    }
    recycle(q, job);
    if (verdict == FAIR_REFUSED)
        q->refusal.refuse(q->refusal.arg, loop, frame->job);
    return verdict == FAIR_REFUSED;
}

/* False: it stays in its ring. */
static bool take_record(struct queue *q, uint32_t loop, const void *data, size_t len,
                        uint64_t now_ns)
{
    struct submit_frame frame;
    if (len < sizeof(frame)) {
        LOG(LOG_ERROR, "worker.frame", F_STR("reason", "too short"), F_UINT("bytes", len));
        return true;
    }
    memcpy(&frame, data, sizeof(frame));
    len -= sizeof(frame);
    if (frame.kind == SUBMIT_CANCEL) { /* the mark is what jobs look at */
        channel_mark_cancelled(q->channel, loop, frame.job);
        return true;
    }
    if (frame.kind == SUBMIT_INFER && frame.model_slot >= q->models) {
        LOG(LOG_ERROR, "worker.frame", F_STR("reason", "no such model"),
            F_UINT("slot", frame.model_slot));
        channel_condemn(q->channel);
        return false;
    }
    if (adds_up(&frame, len))
        return take(q, loop, &frame, (const unsigned char *)data + sizeof(frame), len, now_ns);
    LOG(LOG_ERROR, "worker.frame", F_STR("reason", "lengths do not add up"), F_UINT("bytes", len));
    return true;
}

bool queue_drain(struct queue *q, uint64_t now_ns)
{
    bool any = false;
    for (uint32_t loop = 0; loop < channel_loops(q->channel); loop++) {
        const void *data;
        size_t len;
        while ((data = channel_peek_submit(q->channel, loop, &len)) != NULL &&
               take_record(q, loop, data, len, now_ns)) {
            channel_consume_submit(q->channel, loop);
            any = true;
        }
    }
    return any;
}

bool queue_is_empty(const struct queue *q)
{
    return fair_is_empty(q->fair);
}

/* The item is the job's first member. */
static struct job *job_of(struct fair_item *item)
{
    return (struct job *)(void *)item;
}

struct job *queue_pop(struct queue *q)
{
    return job_of(fair_pop(q->fair));
}

struct job *queue_pop_beside(struct queue *q, const struct job *job)
{
    return job_of(fair_pop_beside(q->fair, &job->item));
}

void queue_put_back(struct queue *q, struct job *job)
{
    fair_put_back(q->fair, &job->item);
}

void queue_end(struct queue *q, struct job *job, uint64_t cost_ns)
{
    fair_settle(q->fair, &job->item, cost_ns);
    recycle(q, job);
}

enum fair_due queue_due(struct queue *q, const struct job *job, uint64_t now_ns)
{
    return fair_due(q->fair, &job->item, now_ns);
}

void queue_ran(struct queue *q, uint64_t ns, bool merged)
{
    fair_ran(q->fair, ns, merged);
}
