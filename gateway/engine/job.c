/*
 * job.c: a job's memory and the host's functions, as plugins call them.
 *
 * The request a plugin sees is the first member of its job, so emit and done find the job without a
 * table. emit and done take the job's lock, because they may come from any thread; on the usual
 * synchronous way it is free. host->alloc serves from the arena of the job that runs on the calling
 * thread, else from the heap; a word before each block says which, so free needs no search.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "engine/internal.h"

__thread struct engine_job *current_job;

/* ---- tensors */

size_t dtype_bytes(maas_dtype dtype)
{
    if (dtype.lanes != 1)
        return 0;
    if (dtype.code == MAAS_HANDLE)
        return dtype.bits == 128 ? sizeof(maas_str) : 0;
    if (dtype.code == MAAS_BOOL)
        return dtype.bits == 8 ? 1 : 0;
    if (dtype.code == MAAS_BFLOAT)
        return dtype.bits == 16 ? 2 : 0;
    bool real = dtype.code == MAAS_FLOAT;
    if (dtype.code > MAAS_FLOAT || (real && dtype.bits < 16))
        return 0;
    return dtype.bits == 8 || dtype.bits == 16 || dtype.bits == 32 || dtype.bits == 64
               ? dtype.bits / 8u
               : 0;
}

bool dtype_eq(maas_dtype a, maas_dtype b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

const char *dtype_name(maas_dtype dtype)
{
    static const struct {
        maas_dtype dtype;
        const char *name;
    } names[] = {
        { { MAAS_BOOL, 8, 1 }, "BOOL" },    { { MAAS_UINT, 8, 1 }, "UINT8" },
        { { MAAS_UINT, 16, 1 }, "UINT16" }, { { MAAS_UINT, 32, 1 }, "UINT32" },
        { { MAAS_UINT, 64, 1 }, "UINT64" }, { { MAAS_INT, 8, 1 }, "INT8" },
        { { MAAS_INT, 16, 1 }, "INT16" },   { { MAAS_INT, 32, 1 }, "INT32" },
        { { MAAS_INT, 64, 1 }, "INT64" },   { { MAAS_FLOAT, 16, 1 }, "FP16" },
        { { MAAS_FLOAT, 32, 1 }, "FP32" },  { { MAAS_FLOAT, 64, 1 }, "FP64" },
        { { MAAS_BFLOAT, 16, 1 }, "BF16" }, { { MAAS_HANDLE, 128, 1 }, "BYTES" },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (dtype_eq(names[i].dtype, dtype))
            return names[i].name;
    return "?";
}

bool tensor_count(const maas_tensor *t, size_t *out)
{
    size_t count = 1;
    for (int32_t i = 0; i < t->ndim; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(count, (size_t)t->shape[i], &count))
            return false;
    *out = count;
    return count <= SIZE_MAX / 16;
}

static bool copy_strings(struct arena *arena, maas_str *strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *copy = arena_alloc(arena, strings[i].len + 1, 8);
        if (!copy)
            return false;
        if (strings[i].len)
            memcpy(copy, strings[i].data, strings[i].len);
        copy[strings[i].len] = '\0';
        strings[i].data = copy;
    }
    return true;
}

maas_status copy_tensor(struct arena *arena, const maas_named *from, maas_named *to)
{
    const maas_tensor *t = &from->tensor;
    size_t count, bytes = dtype_bytes(t->dtype);
    if (t->ndim < 0 || t->ndim > 8 || bytes == 0 || !tensor_count(t, &count) || (count && !t->data))
        return MAAS_E_INVALID;
    *to = *from;
    to->tensor.data = arena_alloc(arena, count * bytes + 1, 64);
    to->tensor.shape = arena_alloc(arena, ((size_t)t->ndim + 1) * sizeof(int64_t), 8);
    if (!to->tensor.data || !to->tensor.shape || !copy_strings(arena, &to->name, 1))
        return MAAS_E_EXHAUSTED;
    if (count)
        memcpy(to->tensor.data, t->data, count * bytes);
    memcpy(to->tensor.shape, t->shape, (size_t)t->ndim * sizeof(int64_t));
    if (t->dtype.code == MAAS_HANDLE && !copy_strings(arena, to->tensor.data, count))
        return MAAS_E_EXHAUSTED;
    return MAAS_OK;
}

/* ---- the host's functions */

static struct engine_job *job_of(const maas_request *request)
{
    union {
        const maas_request *request;
        struct engine_job *job;
    } back = { .request = request }; /* the request is the job's first member */
    return back.job;
}

static void host_log(const maas_host *host, int32_t level, const char *text)
{
    enum log_level to = level <= MAAS_LOG_DEBUG  ? LOG_DEBUG
                        : level == MAAS_LOG_INFO ? LOG_INFO
                                                 : LOG_WARN;
    (void)host;
    LOG(to, level == MAAS_LOG_PLUGIN_MISBEHAVING ? "plugin.misbehaves" : "plugin.says",
        F_STR("text", text));
}

static uint64_t host_now_ns(const maas_host *host)
{
    (void)host;
    return clock_mono_ns();
}

struct block_head {
    void *heap; /* to be freed; NULL: the arena's */
    uint64_t magic;
};
#define BLOCK_MAGIC 0x6d616173626c6f63u

static void *host_alloc(const maas_host *host, size_t bytes, size_t align)
{
    (void)host;
    if (align < sizeof(struct block_head))
        align = sizeof(struct block_head);
    if ((align & (align - 1)) || align > 4096 || bytes > SIZE_MAX / 2)
        return NULL;
    char *base = current_job ? arena_alloc(current_job->arena, bytes + align, align)
                             : aligned_alloc(align, (bytes + 2 * align - 1) & ~(align - 1));
    if (!base)
        return NULL;
    struct block_head *head = (struct block_head *)(void *)(base + align) - 1;
    *head = (struct block_head){ current_job ? NULL : base, BLOCK_MAGIC };
    return base + align;
}

static void host_free(const maas_host *host, void *memory)
{
    if (!memory)
        return;
    struct block_head *head = (struct block_head *)memory - 1;
    if (head->magic != BLOCK_MAGIC) {
        host_log(host, MAAS_LOG_PLUGIN_MISBEHAVING, "freed memory that the host did not give");
        return;
    }
    free(head->heap);
}

static void host_metric(const maas_host *host, int32_t kind, const char *name, double value)
{
    (void)host;
    LOG(LOG_DEBUG, "plugin.metric", F_INT("kind", kind), F_STR("name", name),
        F_DOUBLE("value", value));
}

static int32_t host_cancelled(const maas_host *host, const maas_request *request)
{
    const struct engine_job *job = job_of(request);
    (void)host;
    if (job->cancelled && job->cancelled(job->cancelled_arg))
        return 1;
    return job->deadline_ns && clock_mono_ns() > job->deadline_ns;
}

static maas_status emit_scalars(struct engine_job *job, const maas_named *outputs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[128];
        const maas_tensor *t = &outputs[i].tensor;
        if (t->dtype.code != MAAS_FLOAT || t->dtype.bits != 64 ||
            outputs[i].name.len >= sizeof(name))
            return MAAS_E_INVALID;
        memcpy(name, outputs[i].name.data, outputs[i].name.len);
        name[outputs[i].name.len] = '\0';
        job->on_scalar(job->on_scalar_arg, name, *(const double *)t->data);
    }
    return MAAS_OK;
}

static maas_status emit_outputs(struct engine_job *job, const maas_named *outputs, uint32_t count)
{
    maas_status status = MAAS_OK;
    if (count > COUNT_OF(job->outputs) - job->output_count)
        return MAAS_E_EXHAUSTED;
    for (uint32_t i = 0; i < count && !status; i++)
        status = copy_tensor(job->arena, &outputs[i], &job->outputs[job->output_count + i]);
    if (!status)
        job->output_count += count;
    return status;
}

static maas_status host_emit(const maas_host *host, const maas_request *request,
                             const maas_named *outputs, uint32_t count)
{
    struct engine_job *job = job_of(request);
    maas_status status = MAAS_E_PRECONDITION;
    pthread_mutex_lock(&job->lock);
    if (job->open && !job->done)
        status =
            job->on_scalar ? emit_scalars(job, outputs, count) : emit_outputs(job, outputs, count);
    if (status && !job->emit_status)
        job->emit_status = status;
    pthread_mutex_unlock(&job->lock);
    if (status == MAAS_E_PRECONDITION)
        host_log(host, MAAS_LOG_PLUGIN_MISBEHAVING, "emit after done");
    return status;
}

static void host_done(const maas_host *host, const maas_request *request, maas_status status,
                      const char *text)
{
    struct engine_job *job = job_of(request);
    pthread_mutex_lock(&job->lock);
    bool twice = !job->open || job->done;
    if (!twice) {
        job->done = true;
        job->status = status;
        snprintf(job->text, sizeof(job->text), "%s", text ? text : "");
        pthread_cond_broadcast(&job->ended);
    }
    pthread_mutex_unlock(&job->lock);
    if (twice)
        host_log(host, MAAS_LOG_PLUGIN_MISBEHAVING, "done twice");
}

static const void *host_extension(const maas_host *host, const char *id)
{
    (void)host;
    (void)id;
    return NULL;
}

void host_init(maas_host *host)
{
    *host = (maas_host){ .size = sizeof(*host),
                         .abi = MAAS_ABI,
                         .log = host_log,
                         .now_ns = host_now_ns,
                         .alloc = host_alloc,
                         .free = host_free,
                         .metric = host_metric,
                         .cancelled = host_cancelled,
                         .emit = host_emit,
                         .done = host_done,
                         .extension = host_extension };
}

/* ---- the life of a job */

maas_status engine_job_new(size_t arena_max, struct engine_job **out, maas_error *error)
{
    struct engine_job *job = calloc(1, sizeof(*job));
    if (!job || !(job->arena = arena_new(arena_max))) {
        free(job);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a job");
    }
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
    job->output_count = 0;
}

void *engine_job_alloc(struct engine_job *job, size_t bytes, size_t align)
{
    return arena_alloc(job->arena, bytes, align);
}

const maas_named *engine_job_outputs(const struct engine_job *job, uint32_t *out_count)
{
    *out_count = job->output_count;
    return job->outputs;
}

void job_open(struct engine_job *job, struct engine_model *model)
{
    pthread_mutex_lock(&job->lock);
    job->model = model;
    job->open = true;
    job->done = false;
    job->status = job->emit_status = MAAS_OK;
    job->output_count = 0;
    job->text[0] = '\0';
    pthread_mutex_unlock(&job->lock);
}

maas_status job_wait(struct engine_job *job, maas_error *error)
{
    pthread_mutex_lock(&job->lock);
    while (!job->done)
        pthread_cond_wait(&job->ended, &job->lock);
    maas_status status = job->status ? job->status : job->emit_status;
    job->open = false;
    pthread_mutex_unlock(&job->lock);
    return status ? fail(error, status, "%s",
                         job->text[0] ? job->text : "the plugin ended the request with an error")
                  : MAAS_OK;
}
