/*
 * job.c: the life of a request inside the engine.
 *
 *     FREE -> RUNNING (job_begin) -> ENDED (done, or infer returned an error) -> FREE (later reuse)
 *
 * The plugin holds a slot's request; emit and done find the slot without a table and take the job's
 * lock, because they may come from any thread (on the usual synchronous way it is free). The states
 * are moved by one function. done twice, emit after done and outputs unlike the signature are the
 * plugin's misbehaviour: logged, counted, and never another request's trouble, because a job goes
 * round its slots. A plugin that never calls done keeps its job waiting; the gateway answers at the
 * deadline and ends the process, which is the only sure way to stop foreign code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

maas_status engine_job_new(size_t arena_max, struct engine_job **out, maas_error *error)
{
    struct engine_job *job = calloc(1, sizeof(*job));
    if (!job || !(job->arena = arena_new(arena_max))) {
        free(job);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a job");
    }
    for (size_t i = 0; i < JOB_SLOTS; i++)
        job->slots[i].job = job;
    job->check.job = job;
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->ended, NULL);
    *out = job;
    return MAAS_OK;
}

void engine_job_free(struct engine_job *job)
{
    if (!job)
        return;
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->ended);
    arena_free(job->arena);
    free(job);
}

void engine_job_reset(struct engine_job *job)
{
    arena_reset(job->arena);
    job->signature = NULL;
    job->emitted = 0;
}

void *engine_job_alloc(struct engine_job *job, size_t bytes, size_t align)
{
    return arena_alloc(job->arena, bytes, align);
}

const maas_named *engine_job_outputs(const struct engine_job *job, uint32_t *out_count)
{
    *out_count = job->signature && job->emitted ? job->signature->output_count : 0;
    return job->outputs;
}

void engine_job_next_rows(struct engine_job *job, uint32_t rows)
{
    CHECK(job->signature && rows <= job->rows - job->shown);
    for (uint32_t i = 0; i < job->signature->output_count; i++) {
        maas_tensor *t = &job->outputs[i].tensor; /* data and shape are copies of ours */
        if (job->shown)
            t->data = (char *)t->data + (size_t)t->shape[0] * tensor_row_bytes(t);
        t->shape[0] = rows;
    }
    job->shown += rows;
}

/* ---- states */

static void slot_move(struct job_slot *slot, enum slot_state from, enum slot_state to)
{
    CHECK((from == SLOT_FREE && to == SLOT_RUNNING) || (from == SLOT_RUNNING && to == SLOT_ENDED) ||
          (from == SLOT_ENDED && to == SLOT_FREE));
    CHECK(atomic_exchange_explicit(&slot->state, (int)to, memory_order_acq_rel) == (int)from);
}

static enum slot_state slot_state(const struct job_slot *slot)
{
    return (enum slot_state)atomic_load_explicit(&slot->state, memory_order_acquire);
}

struct job_slot *job_begin(struct engine_job *job, const maas_request *request)
{
    struct job_slot *slot = &job->slots[job->turn++ % JOB_SLOTS];
    pthread_mutex_lock(&job->lock);
    if (slot_state(slot) == SLOT_ENDED)
        slot_move(slot, SLOT_ENDED, SLOT_FREE);
    slot->request = *request;
    job->rows = request->rows;
    job->shown = 0;
    job->emitted = 0;
    job->status = MAAS_OK;
    job->error.text[0] = '\0';
    slot_move(slot, SLOT_FREE, SLOT_RUNNING);
    pthread_mutex_unlock(&job->lock);
    return slot;
}

struct job_slot *job_check_begin(struct engine_job *job, const maas_request *request)
{
    struct job_slot *slot = &job->check;
    slot->request = *request; /* nobody else holds this slot but while validate runs */
    if (slot_state(slot) == SLOT_ENDED)
        slot_move(slot, SLOT_ENDED, SLOT_FREE);
    slot_move(slot, SLOT_FREE, SLOT_RUNNING);
    return slot;
}

void job_check_end(const maas_host *host, struct job_slot *slot)
{
    pthread_mutex_lock(&slot->job->lock);
    bool running = slot_state(slot) == SLOT_RUNNING;
    if (running)
        slot_move(slot, SLOT_RUNNING, SLOT_ENDED);
    pthread_mutex_unlock(&slot->job->lock);
    if (!running)
        host_complain(host, "called done while it validated");
}

maas_status status_of_plugin(maas_status status)
{
    return status > MAAS_OK && status <= MAAS_E_UNAUTHENTICATED ? status : MAAS_E_INTERNAL;
}

maas_status job_finish(const maas_host *host, struct job_slot *slot, maas_status returned,
                       maas_error *error)
{
    struct engine_job *job = slot->job;
    pthread_mutex_lock(&job->lock);
    if (returned && slot_state(slot) == SLOT_RUNNING)
        slot_move(slot, SLOT_RUNNING, SLOT_ENDED);
    else if (returned)
        host_complain(host, "called done and then returned an error");
    while (slot_state(slot) == SLOT_RUNNING)
        pthread_cond_wait(&job->ended, &job->lock);
    maas_status status = job->status;
    if (!returned && status)
        status = fail(error, status, "%s", job->error.text);
    pthread_mutex_unlock(&job->lock);
    if (!returned)
        return status;
    if (error) /* the plugin wrote it */
        error->text[sizeof(error->text) - 1] = '\0';
    return status_of_plugin(returned);
}

bool job_cancelled(const struct job_slot *slot)
{
    const struct engine_job *job = slot->job;
    if (slot_state(slot) != SLOT_RUNNING)
        return true;
    if (job->cancelled && job->cancelled(job->cancelled_arg))
        return true;
    return job->deadline_ns && clock_mono_ns() > job->deadline_ns;
}

/* ---- emit and done */

static maas_status take_scalar(struct engine_job *job, const maas_named *scalar, maas_error *why)
{
    char name[128];
    double value;
    const maas_tensor *t = &scalar->tensor;
    if (t->dtype.code != MAAS_FLOAT || t->dtype.bits != 64 || !t->data || scalar->name.len == 0 ||
        scalar->name.len >= sizeof(name))
        return fail(why, MAAS_E_INTERNAL, "a job emits named FP64 scalars only");
    memcpy(name, scalar->name.data, scalar->name.len);
    name[scalar->name.len] = '\0';
    memcpy(&value, t->data, sizeof(value));
    if (job->on_scalar)
        job->on_scalar(job->on_scalar_arg, name, value);
    return MAAS_OK;
}

static maas_status take_output(struct engine_job *job, uint32_t rows, const maas_named *output,
                               maas_error *why)
{
    const maas_signature *s = job->signature;
    uint32_t port = 0;
    while (port < s->output_count && !name_eq(s->outputs[port].name, output->name))
        port++;
    if (port == s->output_count)
        return fail(why, MAAS_E_INTERNAL, "emitted an output that its signature does not have");
    if (job->emitted & (1u << port))
        return fail(why, MAAS_E_INTERNAL, "emitted '%s' twice", s->outputs[port].name.data);
    if (tensor_fits(&s->outputs[port], &output->tensor, rows, why))
        return MAAS_E_INTERNAL;
    if (tensor_copy(job->arena, output, &job->outputs[port]))
        return fail(why, MAAS_E_EXHAUSTED, "the outputs are larger than a request's memory");
    job->outputs[port].name = s->outputs[port].name;
    job->emitted |= 1u << port;
    return MAAS_OK;
}

static maas_status take_all(struct job_slot *slot, const maas_named *outputs, uint32_t count,
                            maas_error *why)
{
    struct engine_job *job = slot->job;
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < count && !status; i++)
        status = job->signature ? take_output(job, slot->request.rows, &outputs[i], why)
                                : take_scalar(job, &outputs[i], why);
    return status;
}

maas_status job_emit(const maas_host *host, struct job_slot *slot, const maas_named *outputs,
                     uint32_t count)
{
    struct engine_job *job = slot->job;
    maas_error why = MAAS_ERROR_INIT;
    maas_status status;
    pthread_mutex_lock(&job->lock);
    bool late = slot_state(slot) != SLOT_RUNNING;
    if (late)
        status = fail(&why, MAAS_E_PRECONDITION, "emitted after the end of its request");
    else if (job_cancelled(slot))
        status = fail(&why, MAAS_E_CANCELLED, "cancelled");
    else
        status = take_all(slot, outputs, count, &why);
    if (status && !late && !job->status) {
        job->status = status;
        job->error = why;
    }
    pthread_mutex_unlock(&job->lock);
    if (late || status == MAAS_E_INTERNAL)
        host_complain(host, why.text);
    return status;
}

/* done(OK) without all outputs is no answer. */
static maas_status all_emitted(const struct engine_job *job, maas_error *why)
{
    const maas_signature *s = job->signature;
    for (uint32_t i = 0; s && i < s->output_count; i++)
        if (!(job->emitted & (1u << i)))
            return fail(why, MAAS_E_INTERNAL, "ended without emitting '%s'",
                        s->outputs[i].name.data);
    return MAAS_OK;
}

void job_done(const maas_host *host, struct job_slot *slot, maas_status status, const char *text)
{
    struct engine_job *job = slot->job;
    maas_error why = MAAS_ERROR_INIT;
    pthread_mutex_lock(&job->lock);
    bool late = slot_state(slot) != SLOT_RUNNING;
    if (late) {
        fail(&why, MAAS_E_PRECONDITION, "called done after the end of its request");
    } else {
        if (!job->status && status) {
            job->status = status_of_plugin(status);
            fail(&job->error, status, "%s", text ? text : "the plugin gave no reason");
        } else if (!job->status && all_emitted(job, &why)) {
            job->status = MAAS_E_INTERNAL;
            job->error = why;
        }
        slot_move(slot, SLOT_RUNNING, SLOT_ENDED);
        pthread_cond_broadcast(&job->ended);
    }
    pthread_mutex_unlock(&job->lock);
    if (why.text[0])
        host_complain(host, why.text);
}
