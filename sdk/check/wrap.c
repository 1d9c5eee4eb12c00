/*
 * wrap.c: the host's table with counting functions in front. The real functions find everything
 * through the table's address, which stays the same, so nothing here has to know how they work.
 */
#include "wrap.h"

#include <string.h>

struct wrap wrap;
static maas_host real; /* the functions behind */

static void *counted_alloc(const maas_host *host, size_t bytes, size_t align)
{
    uint64_t turn = atomic_fetch_add(&wrap.allocs, 1) + 1;
    if (wrap.fail_at && turn >= wrap.fail_at && turn <= wrap.fail_to)
        return NULL;
    void *memory = real.alloc(host, bytes, align);
    if (!memory)
        return NULL;
    atomic_fetch_add(&wrap.held, 1);
    /* what a plugin forgets to write is another value each time, and a pointer to nowhere */
    memset(memory, (int)(0x80 | (turn & 0x7f)), bytes);
    return memory;
}

static void counted_free(const maas_host *host, void *memory)
{
    if (memory)
        atomic_fetch_sub(&wrap.held, 1);
    real.free(host, memory);
}

static maas_status counted_emit(const maas_host *host, const maas_request *request,
                                const maas_named *outputs, uint32_t count)
{
    atomic_fetch_add(&wrap.emits, 1);
    return real.emit(host, request, outputs, count);
}

static void counted_done(const maas_host *host, const maas_request *request, maas_status status,
                         const char *text)
{
    atomic_fetch_add(&wrap.dones, 1);
    real.done(host, request, status, text);
}

static void wrap_table(maas_host *table)
{
    real = *table;
    table->size += wrap.grown;
    table->alloc = counted_alloc;
    table->free = counted_free;
    table->emit = counted_emit;
    table->done = counted_done;
}

void wrap_install(void)
{
    engine_host_wrap(wrap_table);
}

void wrap_reset(void)
{
    atomic_store(&wrap.allocs, 0);
    atomic_store(&wrap.held, 0);
    atomic_store(&wrap.emits, 0);
    atomic_store(&wrap.dones, 0);
    wrap.fail_at = wrap.fail_to = 0;
}
