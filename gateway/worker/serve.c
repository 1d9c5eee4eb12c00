/*
 * serve.c: the way of a job through the worker reads as job_run: due → mark started → decode →
 * infer → encode → answer. One thread; the job's and the codec's memory is reused, so a small
 * request makes no system call and no malloc in the steady state.
 *
 * A turn: drain the rings, run jobs until the turn is over (TURN_NS, or nothing left), wake the
 * loops that have answers. So short jobs share a wake-up and a long one is told at once.
 *
 * Nothing to do: spin for at most SPIN_NS when there is a second core (a sleeping core takes 30 us
 * to wake), then sleep by the channel's protocol.
 */
#include "worker/serve.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/codec.h"
#include "worker/outbox.h"
#include "worker/queue.h"

#define TURN_NS         50000u
#define SPIN_NS         20000u
#define QUEUE_BYTES_MAX ((size_t)256 << 20)
#define WAIT_BYTES_MAX  ((size_t)32 << 20)  /* answers that wait: above, no new job is begun */
#define ARENA_MAX       ((size_t)512 << 20) /* of one job */
#define BODY_MAX        ((size_t)64 << 20)
#define TEXT_MAX        252u

struct server {
    struct channel *channel;
    struct engine_model *model;
    struct codec *codec;
    struct engine_job *job;
    struct queue *queue;
    struct outbox outbox;
    struct buf answer;
    uint64_t now_ns; /* read once a job */
    bool spins;
};

/* What became of a job. */
struct outcome {
    maas_status status;
    struct str param;
    maas_error error;
    enum content_kind content;
    uint32_t rows, json_len;
    uint64_t started_ns;
};

static bool more_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

maas_status server_new(struct channel *channel, struct engine_model *model, struct server **out,
                       maas_error *error)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a server");
    s->channel = channel;
    s->model = model;
    s->spins = more_cores();
    s->now_ns = clock_mono_ns();
    outbox_init(&s->outbox, channel);
    buf_init(&s->answer, channel_record_max(channel, false) - sizeof(struct complete_frame));
    s->queue = queue_new(channel, QUEUE_BYTES_MAX);
    maas_status status = s->queue ? codec_new(BODY_MAX, &s->codec, error)
                                  : fail(error, MAAS_E_EXHAUSTED, "no memory for a queue");
    if (status == MAAS_OK)
        status = engine_job_new(ARENA_MAX, &s->job, error);
    if (status != MAAS_OK) {
        server_free(s);
        return status;
    }
    *out = s;
    return MAAS_OK;
}

void server_free(struct server *s)
{
    if (!s)
        return;
    engine_job_free(s->job);
    codec_free(s->codec);
    queue_free(s->queue);
    outbox_release(&s->outbox);
    buf_release(&s->answer);
    free(s);
}

/* ---- one job */

struct cancel_key {
    const struct channel *channel;
    uint32_t loop;
    uint64_t job;
};

static bool is_cancelled(void *arg)
{
    const struct cancel_key *key = arg;
    return channel_is_cancelled(key->channel, key->loop, key->job);
}

/* Not worth beginning? */
static maas_status due(const struct server *s, const struct job *job, maas_error *error)
{
    if (channel_is_cancelled(s->channel, job->loop, job->frame.job))
        return fail(error, MAAS_E_CANCELLED, "the caller left");
    if (job->frame.deadline_ns && s->now_ns >= job->frame.deadline_ns)
        return fail(error, MAAS_E_DEADLINE, "the deadline passed before the inference began");
    return MAAS_OK;
}

static maas_status infer(struct server *s, const struct job *job, struct outcome *o)
{
    struct cancel_key key = { s->channel, job->loop, job->frame.job };
    struct codec_context context = { .surface = job->frame.surface,
                                     .model = job->name,
                                     .version = job->version,
                                     .request_id = job->request_id,
                                     .body = job->body,
                                     .json_len = job->frame.json_len,
                                     .max_rows = job->frame.max_rows,
                                     .signature = engine_signature(s->model) };
    struct engine_request request = { .deadline_ns = job->frame.deadline_ns,
                                      .trace_id = job->request_id,
                                      .cancelled = is_cancelled,
                                      .cancelled_arg = &key };
    maas_status status = codec_decode(s->codec, &context, s->job, &request, &o->param, &o->error);
    if (status == MAAS_OK)
        status = engine_infer(s->model, s->job, &request, &o->param, &o->error);
    if (status == MAAS_OK)
        status = codec_encode(&context, s->job, request.rows, &s->answer, &o->content, &o->json_len,
                              &o->error);
    o->rows = request.rows;
    return status;
}

/* A plugin may return any number; the gateway gets one of the codes. */
static maas_status known(maas_status status)
{
    return status >= MAAS_OK && status <= MAAS_E_UNAUTHENTICATED ? status : MAAS_E_INTERNAL;
}

static uint32_t microseconds(uint64_t from_ns, uint64_t to_ns)
{
    uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static void answer(struct server *s, const struct job *job, const struct outcome *o)
{
    bool ok = o->status == MAAS_OK;
    struct str body = ok ? buf_view(&s->answer) : (struct str){ NULL, 0 };
    size_t param_len = ok ? 0 : o->param.len < CODEC_PARAM_MAX ? o->param.len : CODEC_PARAM_MAX;
    size_t text_len = ok ? 0 : strnlen(o->error.text, TEXT_MAX);
    struct complete_frame frame = { .kind = COMPLETE_DONE,
                                    .content = (uint16_t)o->content,
                                    .status = o->status,
                                    .job = job->frame.job,
                                    .rows = ok ? o->rows : 0,
                                    .json_len = o->json_len,
                                    .queue_us = microseconds(job->arrived_ns, o->started_ns),
                                    .compute_us = microseconds(o->started_ns, s->now_ns),
                                    .param_len = (uint16_t)param_len,
                                    .text_len = (uint16_t)text_len,
                                    .body_len = (uint32_t)body.len };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { o->param.data, param_len },
                                          { o->error.text, text_len },
                                          { body.data, body.len } };
    outbox_put(&s->outbox, job->loop, parts, COUNT_OF(parts));
}

static void job_run(struct server *s, const struct job *job)
{
    struct outcome o = { .error = MAAS_ERROR_INIT,
                         .content = CONTENT_JSON,
                         .json_len = UINT32_MAX,
                         .started_ns = s->now_ns };
    engine_job_reset(s->job);
    buf_clear(&s->answer);
    o.status = due(s, job, &o.error);
    if (o.status == MAAS_OK) {
        channel_mark_started(s->channel, job->loop, job->frame.job);
        o.status = known(infer(s, job, &o));
        s->now_ns = clock_mono_ns();
    }
    answer(s, job, &o);
}

/* ---- the loop */

bool server_turn(struct server *s)
{
    uint64_t start = s->now_ns = clock_mono_ns();
    outbox_retry(&s->outbox);
    bool any = queue_drain(s->queue, start);
    struct job *job;
    while (s->now_ns - start < TURN_NS && s->outbox.waiting_bytes <= WAIT_BYTES_MAX &&
           (job = queue_pop(s->queue)) != NULL) {
        job_run(s, job);
        queue_recycle(s->queue, job);
        any = true;
    }
    outbox_wake(&s->outbox);
    return any;
}

static void pause_core(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool spin(struct server *s)
{
    uint64_t until = s->now_ns + SPIN_NS;
    while (s->spins && clock_mono_ns() < until) {
        for (int i = 0; i < 16; i++)
            pause_core();
        if (queue_drain(s->queue, s->now_ns))
            return true;
    }
    return false;
}

static void sleep_until_woken(struct server *s)
{
    struct pollfd fd = { .fd = channel_worker_eventfd(s->channel), .events = POLLIN };
    uint64_t count;
    channel_worker_sleeps(s->channel, true);
    /* a loop does not tell when it made room for answers that wait */
    int timeout_ms = s->outbox.waiting_bytes ? 1 : -1;
    if (!queue_drain(s->queue, s->now_ns) && !channel_broken(s->channel) &&
        poll(&fd, 1, timeout_ms) > 0 && read(fd.fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        LOG(LOG_ERROR, "worker.eventfd", F_STR("reason", strerror(errno)));
    channel_worker_sleeps(s->channel, false);
}

bool server_run(struct server *s)
{
    while (!channel_broken(s->channel)) {
        if (!server_turn(s) && !spin(s))
            sleep_until_woken(s);
    }
    return false;
}
