/*
 * batch.c: what waits while the worker is busy is run by one call. The next in line leads; in fair
 * order, others that are like it join, until the call is full or nobody is left: nobody waits for a
 * batch to fill. Each is decoded and validated alone before it joins, so one that is wrong gets its
 * own refusal and never enters a call.
 *
 * Who is not like the leader (another model of the worker, parameters, extents, rows that do not
 * fit, another tenant where rows are not independent) goes back to its place in the queue, and is
 * remembered by a hash of what it is like, so that it is decoded twice at most: once to learn that,
 * once to run.
 *
 * A call that fails is taken apart: each member goes the way of a single request, from its bytes.
 * The time of the failed call is charged to those that fail on their own as well; if none does, the
 * plugin cannot run merged calls, and for a while it gets none.
 *
 * Nobody joins whom the call would be too long for, or who would make it too long for a member, by
 * what a row took of late: a call that outlasts a member's deadline looks like a hang to the
 * gateway, which ends the worker.
 *
 * Bounds: members, rows, bodies' bytes, requests looked at; all memory is that of one job.
 */
#include <stdlib.h>

#include "worker/run.h"

#define MEMBERS_MAX 64u
#define ASIDE_MAX   16u
#define LOOKS_MAX   (2 * MEMBERS_MAX)
#define ROWS_ANY    4096u /* of a call, where the signature sets no bound */
#define BODIES_MAX  ((size_t)16 << 20)
#define PAUSE_LEAST                                                                                \
    64u /* requests that run alone after a call that failed for no member's sake                   \
         */
#define PAUSE_MOST  65536u
#define LIKE_NOBODY 1u /* a likeness: it runs alone */

struct member {
    struct job *job;
    struct codec_context context;
    struct cancel_key key;
    uint64_t cost_ns;
    maas_status status;
};

struct batch {
    bool merges, shared; /* shared: by tenants */
    uint32_t rows_max;
    uint32_t pause, distrust; /* requests to run alone, and how many the next time */
    uint64_t row_ns;          /* what a row takes on average */
    /* the batch under way */
    uint32_t count, rows, aside_count, looks;
    size_t bytes;
    uint64_t started_ns, earliest_ns; /* earliest: deadline of a member; UINT64_MAX: none */
    struct member members[MEMBERS_MAX];
    struct engine_checked checked[MEMBERS_MAX]; /* of the members */
    struct job *aside[ASIDE_MAX];
};

struct batch *batch_new(const struct engine_model *model)
{
    struct batch *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->merges = engine_merges(model, &b->rows_max);
    b->shared = engine_signature(model)->rows_independent;
    b->rows_max = b->rows_max ? b->rows_max : ROWS_ANY;
    return b;
}

void batch_free(struct batch *b)
{
    free(b);
}

bool batch_possible(struct batch *b)
{
    if (b->pause)
        b->pause--;
    else
        return b->merges;
    return false;
}

void batch_learn(struct batch *b, uint64_t ns, uint32_t rows)
{
    uint64_t row_ns = ns / (rows ? rows : 1);
    b->row_ns = b->row_ns ? b->row_ns - b->row_ns / 8 + row_ns / 8 : row_ns;
}

uint64_t batch_row_ns(const struct batch *b)
{
    return b->row_ns;
}

/* ---- joining */

enum admission { JOINED, ANSWERED, ASIDE };

static maas_status decode(struct runner *r, struct member *m, struct engine_checked *checked,
                          struct outcome *o)
{
    const struct job *job = m->job;
    struct engine_request request = { .deadline_ns = job->frame.deadline_ns,
                                      .trace_id = job->request_id,
                                      .cancelled = run_is_cancelled,
                                      .cancelled_arg = &m->key };
    m->key = (struct cancel_key){ r->channel, job->loop, job->frame.job };
    m->context = run_context(r, job);
    maas_status status =
        codec_decode(r->codec, &m->context, r->job, &request, &o->param, &o->error);
    if (status == MAAS_OK)
        status = engine_check(r->model, r->job, &request, checked, &o->param, &o->error);
    o->param = codec_field(&m->context, o->param);
    if (status == MAAS_OK)
        status = codec_keep(&m->context, r->job, &request, &o->error);
    return status;
}

/* Back to the queue: what is decoded of it is lost. */
static enum admission not_now(struct runner *r, const struct job *job)
{
    channel_unmark_started(r->channel, job->loop, job->frame.job);
    return ASIDE;
}

static enum admission refuse(struct runner *r, struct member *m, const struct outcome *o)
{
    run_answer(r, m->job, o);
    queue_end(r->queue, m->job, m->cost_ns);
    return ANSWERED;
}

static uint64_t deadline_of(const struct job *job)
{
    return job->frame.deadline_ns ? job->frame.deadline_ns : UINT64_MAX;
}

/* Would a call with `rows` more end in time for all? */
static bool has_time(const struct batch *b, const struct job *job, uint32_t rows, uint64_t now_ns)
{
    uint64_t deadline_ns = deadline_of(job);
    if (deadline_ns > b->earliest_ns)
        deadline_ns = b->earliest_ns;
    if (deadline_ns == UINT64_MAX)
        return true;
    return deadline_ns > now_ns && b->row_ns <= (deadline_ns - now_ns) / ((uint64_t)b->rows + rows);
}

/* What asks for an explanation, and what may have ended a worker. */
static bool runs_alone(const struct member *m)
{
    return m->context.explain || m->job->frame.flags & SUBMIT_ALONE;
}

static bool fits(const struct batch *b, const struct engine_checked *checked, const struct job *job,
                 uint64_t now_ns)
{
    uint32_t rows = checked->request.rows;
    return b->count == 0 ||
           (!runs_alone(&b->members[b->count]) && rows <= b->rows_max - b->rows &&
            has_time(b, job, rows, now_ns) && engine_alike(&b->checked[0], checked));
}

static void join(struct batch *b, const struct job *job)
{
    b->rows += job->rows;
    b->count++;
    if (deadline_of(job) < b->earliest_ns)
        b->earliest_ns = deadline_of(job);
}

static enum admission admit(struct runner *r, struct job *job)
{
    struct batch *b = r->batch;
    struct member *m = &b->members[b->count];
    struct engine_checked *checked = &b->checked[b->count];
    struct outcome o = outcome_init(r->now_ns);
    m->job = job;
    m->cost_ns = 0;
    o.status = run_due(r, job, &o.error);
    if (o.status != MAAS_OK)
        return refuse(r, m, &o);
    channel_mark_started(r->channel, job->loop, job->frame.job);
    o.status = run_status(decode(r, m, checked, &o));
    r->now_ns = clock_mono_ns();
    m->cost_ns = r->now_ns - o.started_ns;
    b->bytes += job->body.len;
    if (o.status == MAAS_E_EXHAUSTED && b->count)
        return not_now(r, job); /* it may have a job's memory to itself */
    if (o.status != MAAS_OK)
        return refuse(r, m, &o);
    job->rows = checked->request.rows;
    if (!fits(b, checked, job, r->now_ns)) {
        job->likeness = runs_alone(m) ? LIKE_NOBODY : engine_likeness(checked);
        return not_now(r, job);
    }
    join(b, job);
    return JOINED;
}

/* What is known of it without decoding. */
static bool may_join(const struct batch *b, const struct job *job, uint64_t now_ns)
{
    if (job->frame.model_slot != b->members[0].job->frame.model_slot || b->bytes > BODIES_MAX ||
        job->body.len > BODIES_MAX - b->bytes || job->rows > b->rows_max - b->rows ||
        !has_time(b, job, job->rows ? job->rows : 1, now_ns))
        return false;
    return !job->likeness || job->likeness == engine_likeness(&b->checked[0]);
}

static struct job *next_candidate(struct runner *r)
{
    const struct batch *b = r->batch;
    if (b->count == MEMBERS_MAX || b->rows >= b->rows_max || b->aside_count == ASIDE_MAX ||
        b->looks == LOOKS_MAX)
        return NULL;
    r->batch->looks++;
    return b->shared ? queue_pop(r->queue) : queue_pop_beside(r->queue, b->members[0].job);
}

static void fill(struct runner *r)
{
    struct batch *b = r->batch;
    struct job *job;
    while ((job = next_candidate(r)) != NULL)
        if (!may_join(b, job, r->now_ns) || admit(r, job) == ASIDE)
            b->aside[b->aside_count++] = job;
    while (b->aside_count)
        queue_put_back(r->queue, b->aside[--b->aside_count]);
}

/* ---- running */

static bool all_cancelled(void *arg)
{
    struct batch *b = arg;
    for (uint32_t i = 0; i < b->count; i++)
        if (!run_is_cancelled(&b->members[i].key))
            return false;
    return true;
}

/* The latest member's; none when one has none. */
static uint64_t latest_deadline(const struct batch *b)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t deadline_ns = b->members[i].job->frame.deadline_ns;
        if (!deadline_ns)
            return 0;
        latest = deadline_ns > latest ? deadline_ns : latest;
    }
    return latest;
}

static void charge_rows(struct batch *b, uint64_t ns)
{
    for (uint32_t i = 0; i < b->count; i++)
        b->members[i].cost_ns += (uint64_t)((double)ns * b->members[i].job->rows / b->rows);
}

static void end_all(struct runner *r)
{
    struct batch *b = r->batch;
    for (uint32_t i = 0; i < b->count; i++)
        queue_end(r->queue, b->members[i].job, b->members[i].cost_ns);
}

/* A single run would not have been told a result that nobody waits for. */
static maas_status still_wanted(const struct runner *r, struct member *m, maas_error *error)
{
    uint64_t deadline_ns = m->job->frame.deadline_ns;
    if (run_is_cancelled(&m->key) || (deadline_ns && r->now_ns > deadline_ns))
        return fail(error, MAAS_E_CANCELLED, "cancelled");
    return MAAS_OK;
}

static void answer_member(struct runner *r, struct member *m, const struct outcome *all)
{
    struct outcome o = *all;
    buf_clear(&r->answer);
    o.rows = m->job->rows;
    if (o.status == MAAS_OK) {
        engine_job_next_rows(r->job, o.rows);
        o.status = still_wanted(r, m, &o.error);
    }
    if (o.status == MAAS_OK)
        o.status = run_status(codec_encode(&m->context, r->job, o.rows, &r->answer, &o.content,
                                           &o.json_len, &o.error));
    run_answer(r, m->job, &o);
}

static void count_call(struct runner *r)
{
    const struct batch *b = r->batch;
    uint32_t other = 0;
    while (other < b->count && b->members[other].job->item.tenant == b->members[0].job->item.tenant)
        other++;
    r->counts.merged_calls++;
    r->counts.merged += b->count;
    r->counts.tenants += other < b->count;
}

/* More answers than may wait for a loop that is slow: these members are computed again later. */
static void put_off(struct runner *r, uint32_t from)
{
    struct batch *b = r->batch;
    for (uint32_t i = b->count; i-- > from;) {
        not_now(r, b->members[i].job);
        queue_put_back(r->queue, b->members[i].job);
    }
    b->count = from;
}

/* began_ns: when the call began, after all had been decoded. */
static void answer_all(struct runner *r, const struct outcome *all, uint64_t began_ns)
{
    struct batch *b = r->batch;
    for (uint32_t i = 0; i < b->count; i++) {
        answer_member(r, &b->members[i], all);
        if (r->outbox.waiting_bytes > OUTBOX_WAITING_MAX)
            put_off(r, i + 1);
    }
    r->now_ns = clock_mono_ns();
    if (all->status == MAAS_OK)
        queue_ran(r->queue, r->now_ns - b->started_ns, b->count > 1);
    charge_rows(b, r->now_ns - began_ns);
    end_all(r);
}

/* Each member on its own; who fails again pays for the call that failed. */
static void split(struct runner *r, uint64_t failed_ns)
{
    struct batch *b = r->batch;
    uint32_t culprits = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct member *m = &b->members[i];
        uint64_t alone_ns;
        m->status = run_alone(r, m->job, &alone_ns);
        m->cost_ns += alone_ns;
        culprits += m->status != MAAS_OK;
        if (alone_ns > LONG_NS)
            outbox_wake(&r->outbox);
        if (r->outbox.waiting_bytes > OUTBOX_WAITING_MAX)
            put_off(r, i + 1);
    }
    for (uint32_t i = 0; i < b->count && culprits; i++)
        if (b->members[i].status != MAAS_OK)
            b->members[i].cost_ns += failed_ns / culprits;
    if (!culprits) {
        charge_rows(b, failed_ns);
        b->distrust = b->distrust ? b->distrust * 2 : PAUSE_LEAST;
        b->distrust = b->distrust < PAUSE_MOST ? b->distrust : PAUSE_MOST;
        b->pause = b->distrust;
    }
    r->counts.split++;
    end_all(r);
}

static void run(struct runner *r)
{
    struct batch *b = r->batch;
    uint64_t began_ns = r->now_ns;
    struct engine_request call = { .deadline_ns = latest_deadline(b),
                                   .cancelled = all_cancelled,
                                   .cancelled_arg = b };
    struct outcome o = outcome_init(b->started_ns);
    if (b->row_ns * b->rows > LONG_NS) /* who was refused meanwhile does not wait for it */
        outbox_wake(&r->outbox);
    o.batch = b->count;
    o.batch_rows = b->rows;
    o.status =
        run_status(engine_infer_merged(r->model, r->job, b->checked, b->count, &call, &o.error));
    o.computed_ns = r->now_ns = clock_mono_ns();
    r->counts.calls++;
    if (b->count > 1 && b->rows > r->counts.rows_most)
        r->counts.rows_most = b->rows;
    if (o.status != MAAS_OK && b->count > 1) {
        split(r, r->now_ns - began_ns);
        return;
    }
    if (o.status == MAAS_OK)
        batch_learn(b, r->now_ns - began_ns, b->rows);
    if (b->count > 1) {
        b->distrust = 0;
        count_call(r);
    }
    answer_all(r, &o, began_ns);
}

/* The way of a single request, from its bytes: what explains it comes after the answer. */
static void run_leader_alone(struct runner *r)
{
    struct member *m = &r->batch->members[0];
    uint64_t cost_ns;
    (void)run_alone(r, m->job, &cost_ns);
    queue_end(r->queue, m->job, m->cost_ns + cost_ns);
}

void batch_run(struct runner *r, struct job *leader)
{
    struct batch *b = r->batch;
    b->count = b->rows = b->aside_count = b->looks = 0;
    b->bytes = 0;
    b->started_ns = r->now_ns;
    b->earliest_ns = UINT64_MAX;
    engine_job_reset(r->job);
    if (admit(r, leader) != JOINED)
        return;
    if (runs_alone(&b->members[0])) {
        run_leader_alone(r);
        return;
    }
    if (b->rows < b->rows_max)
        fill(r);
    run(r);
}
