/*
 * host.c: the host's functions, as plugins call them.
 *
 * alloc serves from the arena of the job that runs on the calling thread, else (load, training, a
 * plugin's own threads) from the heap; a word before each block says which, so free needs no
 * search. emit and done belong to the job (job.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/border.h"
#include "engine/internal.h"

#define LOG_TEXT_MAX 1024

__thread struct engine_job *current_job;
static void (*wrap_table)(maas_host *table); /* of the conformance runner, else NULL */

/* The table is the host's first member and the request its slot's: the way back from what a plugin
 * holds, which is const to it alone. */
static struct engine_host *host_of(const maas_host *table)
{
    return (struct engine_host *)(uintptr_t)table;
}

static struct job_slot *slot_of(const maas_request *request)
{
    return (struct job_slot *)(uintptr_t)request;
}

static struct str bounded(const char *text)
{
    return text ? (struct str){ text, strnlen(text, LOG_TEXT_MAX) } : STR("");
}

static void host_log(const maas_host *host, int32_t level, const char *text)
{
    enum log_level to = level <= MAAS_LOG_DEBUG  ? LOG_DEBUG
                        : level == MAAS_LOG_INFO ? LOG_INFO
                        : level == MAAS_LOG_WARN ? LOG_WARN
                                                 : LOG_ERROR;
    LOG(to, "plugin.says", F_STR("plugin", host_of(host)->plugin_id),
        F_STRN("text", bounded(text)));
}

void host_complain(const maas_host *host, const char *text)
{
    atomic_fetch_add_explicit(&host_of(host)->misbehaved, 1, memory_order_relaxed);
    LOG(LOG_WARN, "plugin.misbehaves", F_STR("plugin", host_of(host)->plugin_id),
        F_STRN("text", bounded(text)));
}

static uint64_t host_now_ns(const maas_host *host)
{
    (void)host;
    return clock_mono_ns();
}

/* ---- memory */

struct block_head {
    void *heap; /* to be freed; NULL: the arena's */
    uint64_t magic;
};
#define BLOCK_MAGIC 0x6d616173626c6f63u
#define BLOCK_FREED 0x6672656564626c6fu

static void *take(size_t bytes, size_t align)
{
    struct engine_job *job = current_job;
    if (!job)
        return aligned_alloc(align, (bytes + align - 1) & ~(align - 1));
    pthread_mutex_lock(&job->lock);
    void *memory = arena_alloc(job->arena, bytes, align);
    pthread_mutex_unlock(&job->lock);
    return memory;
}

static void *host_alloc(const maas_host *host, size_t bytes, size_t align)
{
    (void)host;
    if (align < sizeof(struct block_head))
        align = sizeof(struct block_head);
    if ((align & (align - 1)) || align > 4096 || bytes > SIZE_MAX / 2)
        return NULL;
    char *base = take(bytes + align, align);
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
        host_complain(host, "freed memory twice, or memory that the host did not give");
        return;
    }
    head->magic = BLOCK_FREED;
    free(head->heap);
}

/* ---- requests */

static void host_metric(const maas_host *host, int32_t kind, const char *name, double value)
{
    LOG(LOG_DEBUG, "plugin.metric", F_STR("plugin", host_of(host)->plugin_id), F_INT("kind", kind),
        F_STRN("name", bounded(name)), F_DOUBLE("value", value));
}

static int32_t host_cancelled(const maas_host *host, const maas_request *request)
{
    (void)host;
    return job_cancelled(slot_of(request));
}

static maas_status host_emit(const maas_host *host, const maas_request *request,
                             const maas_named *outputs, uint32_t count)
{
    return job_emit(host, slot_of(request), outputs, count);
}

static void host_done(const maas_host *host, const maas_request *request, maas_status status,
                      const char *text)
{
    job_done(host, slot_of(request), status, text);
}

static const void *host_extension(const maas_host *host, const char *id)
{
    (void)host;
    (void)id;
    return NULL;
}

void host_init(struct engine_host *host, const char *plugin_id)
{
    host->plugin_id = plugin_id;
    atomic_init(&host->misbehaved, 0);
    host->table = (maas_host){ .size = sizeof(host->table),
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
    if (wrap_table)
        wrap_table(&host->table);
}

void engine_host_wrap(void (*wrap)(maas_host *table))
{
    wrap_table = wrap;
}
