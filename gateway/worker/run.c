/*
 * run.c: the way of a job through the worker reads as run_alone: due, mark started, decode, infer,
 * encode, answer. The job's and the codec's memory is reused, so a small request makes no system
 * call and no malloc in the steady state.
 *
 * A job that finds nobody behind it goes this way; one with others waiting leads a batch (batch.c),
 * whose members come back here when their call fails.
 */
#include "worker/run.h"

#include <string.h>

#define ARENA_MAX ((size_t)512 << 20) /* of one job, or of one batch */
#define BODY_MAX  ((size_t)64 << 20)
#define TEXT_MAX  252u

/* Of one tenant: what the gateway lets it have by default (workers.tenant_queue_max), a quarter of
 * the requests in flight on a loop (workers.queue_max), and a quarter of the bytes. So one flood
 * leaves room for the others here and there. */
#define TENANT_FRAMES 1024u /* a loop */
#define TENANT_BYTES  ((size_t)64 << 20)
#define ALL_BYTES     ((size_t)256 << 20)
#define TENANTS       1024u

static struct queue *make_queue(struct runner *r, struct queue_refusal refusal)
{
    const struct fair_limits limits = { .tenants = TENANTS,
                                        .frames = TENANT_FRAMES * channel_loops(r->channel),
                                        .bytes = TENANT_BYTES,
                                        .all_bytes = ALL_BYTES };
    return queue_new(r->channel, r->model_count, &limits, refusal);
}

static void refuse(void *arg, uint32_t loop, uint64_t id)
{
    struct runner *r = arg;
    struct job job = { .loop = loop, .frame = { .job = id }, .arrived_ns = r->now_ns };
    struct outcome o = outcome_init(r->now_ns);
    o.status = fail(&o.error, MAAS_E_EXHAUSTED, "too many requests of this tenant are waiting");
    run_answer(r, &job, &o);
    r->counts.refused++;
}

static void select_model(struct runner *r, uint32_t slot)
{
    r->model = r->models[slot].model;
    r->batch = r->models[slot].batch;
}

static bool add_model(struct runner *r, struct engine_model *model)
{
    struct model_slot *slot = &r->models[r->model_count++];
    *slot = (struct model_slot){ .model = model, .batch = batch_new(model) };
    return slot->batch != NULL;
}

maas_status runner_init(struct runner *r, struct channel *channel,
                        struct engine_model *const *models, uint32_t count, maas_error *error)
{
    bool good = true;
    CHECK(count >= 1 && count <= CHANNEL_MODELS_MAX);
    *r = (struct runner){ .channel = channel, .now_ns = clock_mono_ns() };
    for (uint32_t i = 0; i < count; i++)
        good &= add_model(r, models[i]);
    select_model(r, 0);
    outbox_init(&r->outbox, channel);
    buf_init(&r->answer, channel_record_max(channel, false) - sizeof(struct complete_frame));
    r->queue = make_queue(r, (struct queue_refusal){ refuse, r });
    if (!r->queue || !good)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a queue");
    maas_status status = codec_new(BODY_MAX, &r->codec, error);
    return status == MAAS_OK ? engine_job_new(ARENA_MAX, &r->job, error) : status;
}

void runner_release(struct runner *r)
{
    engine_job_free(r->job);
    engine_job_free(r->explained);
    codec_free(r->codec);
    for (uint32_t i = 0; i < r->model_count; i++)
        batch_free(r->models[i].batch);
    queue_free(r->queue);
    outbox_release(&r->outbox);
    buf_release(&r->answer);
}

/* ---- the steps */

bool run_is_cancelled(void *arg)
{
    const struct cancel_key *key = arg;
    return channel_is_cancelled(key->channel, key->loop, key->job);
}

maas_status run_due(struct runner *r, const struct job *job, maas_error *error)
{
    if (channel_is_cancelled(r->channel, job->loop, job->frame.job))
        return fail(error, MAAS_E_CANCELLED, "the caller left");
    enum fair_due due = queue_due(r->queue, job, r->now_ns);
    if (due == FAIR_DUE)
        return MAAS_OK;
    r->counts.late++;
    return fail(error, MAAS_E_DEADLINE,
                due == FAIR_PASSED ? "the deadline passed before the inference began"
                                   : "the deadline would pass before the inference could end");
}

struct codec_context run_context(const struct runner *r, const struct job *job)
{
    return (struct codec_context){ .surface = job->frame.surface,
                                   .model = job->name,
                                   .version = job->version,
                                   .request_id = job->request_id,
                                   .body = job->body,
                                   .behind = QUEUE_BEHIND,
                                   .json_len = job->frame.json_len,
                                   .max_rows = job->frame.max_rows,
                                   .signature = engine_signature(r->model),
                                   .explains = engine_explain_signature(r->model) };
}

/* The parameters that explain itself declares, of those that came with the request. */
static void explain_parameters(const maas_signature *explains, struct engine_request *request)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < request->param_count; i++)
        for (size_t k = 0; explains->params && explains->params[k]; k++)
            if (str_eq(request->params[i].name, str_of(explains->params[k]->name)))
                request->params[kept++] = request->params[i];
    request->param_count = kept;
}

/* The same rows once more, for the reasons; the answer stays in r->job. */
static maas_status explain(struct runner *r, struct codec_context *context,
                           struct engine_request *request, struct outcome *o)
{
    if (!context->explain)
        return MAAS_OK;
    maas_status status =
        r->explained ? MAAS_OK : engine_job_new(ARENA_MAX, &r->explained, &o->error);
    if (status != MAAS_OK)
        return status;
    engine_job_reset(r->explained);
    explain_parameters(context->explains, request);
    context->explained = r->explained;
    return engine_explain(r->model, r->explained, request, &o->param, &o->error);
}

static maas_status infer(struct runner *r, const struct job *job, struct outcome *o)
{
    struct cancel_key key = { r->channel, job->loop, job->frame.job };
    struct codec_context context = run_context(r, job);
    struct engine_request request = { .deadline_ns = job->frame.deadline_ns,
                                      .trace_id = job->request_id,
                                      .cancelled = run_is_cancelled,
                                      .cancelled_arg = &key };
    maas_status status = codec_decode(r->codec, &context, r->job, &request, &o->param, &o->error);
    if (status == MAAS_OK)
        status = engine_infer(r->model, r->job, &request, &o->param, &o->error);
    if (status == MAAS_OK)
        status = explain(r, &context, &request, o);
    o->param = codec_field(&context, o->param);
    if (status == MAAS_OK)
        status = codec_encode(&context, r->job, request.rows, &r->answer, &o->content, &o->json_len,
                              &o->error);
    o->rows = o->batch_rows = request.rows;
    return status;
}

maas_status run_status(maas_status status)
{
    return status >= MAAS_OK && status <= MAAS_E_UNAUTHENTICATED ? status : MAAS_E_INTERNAL;
}

static uint32_t microseconds(uint64_t from_ns, uint64_t to_ns)
{
    uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void run_answer(struct runner *r, const struct job *job, const struct outcome *o)
{
    bool ok = o->status == MAAS_OK;
    struct str body = ok ? buf_view(&r->answer) : (struct str){ NULL, 0 };
    size_t param_len = ok ? 0 : o->param.len < CODEC_PARAM_MAX ? o->param.len : CODEC_PARAM_MAX;
    size_t text_len = ok ? 0 : strnlen(o->error.text, TEXT_MAX);
    struct complete_frame frame = { .kind = COMPLETE_DONE,
                                    .content = (uint16_t)o->content,
                                    .status = o->status,
                                    .job = job->frame.job,
                                    .rows = ok ? o->rows : 0,
                                    .json_len = o->json_len,
                                    .queue_us = microseconds(job->arrived_ns, o->started_ns),
                                    .compute_us = microseconds(o->started_ns, o->computed_ns),
                                    .param_len = (uint16_t)param_len,
                                    .text_len = (uint16_t)text_len,
                                    .body_len = (uint32_t)body.len,
                                    .batch = o->batch,
                                    .batch_rows = o->batch_rows };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { o->param.data, param_len },
                                          { o->error.text, text_len },
                                          { body.data, body.len } };
    outbox_put(&r->outbox, job->loop, parts, COUNT_OF(parts));
}

struct outcome outcome_init(uint64_t started_ns)
{
    return (struct outcome){ .error = MAAS_ERROR_INIT,
                             .content = CONTENT_JSON,
                             .json_len = UINT32_MAX,
                             .started_ns = started_ns,
                             .computed_ns = started_ns };
}

maas_status run_alone(struct runner *r, const struct job *job, uint64_t *out_cost_ns)
{
    struct outcome o = outcome_init(r->now_ns);
    engine_job_reset(r->job);
    buf_clear(&r->answer);
    o.status = run_due(r, job, &o.error);
    if (o.status == MAAS_OK) {
        channel_mark_started(r->channel, job->loop, job->frame.job);
        o.batch = 1;
        o.status = run_status(infer(r, job, &o));
        o.computed_ns = r->now_ns = clock_mono_ns();
        r->counts.calls++;
    }
    *out_cost_ns = o.computed_ns - o.started_ns;
    if (o.status == MAAS_OK) {
        queue_ran(r->queue, *out_cost_ns, false);
        batch_learn(r->batch, *out_cost_ns, o.rows);
    }
    run_answer(r, job, &o);
    return o.status;
}

bool run_next(struct runner *r)
{
    uint64_t cost_ns;
    struct job *job = queue_pop(r->queue);
    if (!job)
        return false;
    select_model(r, job->frame.model_slot);
    if (batch_row_ns(r->batch) > LONG_NS)
        outbox_wake(&r->outbox);
    if (!queue_is_empty(r->queue) && batch_possible(r->batch)) {
        batch_run(r, job);
        return true;
    }
    (void)run_alone(r, job, &cost_ns);
    queue_end(r->queue, job, cost_ns);
    return true;
}
