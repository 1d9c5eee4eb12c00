/*
 * used.c: on which day a key was used last. A loop notes a key once a day, in the principal that it
 * holds for it; what was noted goes to the database in batches, so a request pays a comparison and
 * the database a row a day and key.
 *
 * Rejected: a trigger on usage (the day of a key that only reads its usage would be missing, and
 * each batch of events would touch the rows of keys that every gateway's look-ups read).
 */
#include "registry/registry_private.h"

#include "base/buf.h"
#include "base/log.h"

#define FLUSH_NS 2000000000ull
#define DAY_US   86400000000ull

void registry_note_use(struct registry *r, struct principal *p, uint64_t real_us)
{
    uint32_t day = (uint32_t)(real_us / DAY_US);
    if (p->used_day == day)
        return;
    pthread_mutex_lock(&r->used.lock);
    if (r->used.count < USED_MAX) { /* else at its next use */
        memcpy(r->used.ids[r->used.count++], p->key_id, KEY_ID_LEN);
        r->used.day = day;
        p->used_day = day;
    }
    pthread_mutex_unlock(&r->used.lock);
}

/* "{id,id,…}" of what was noted; how many. */
static size_t take(struct used_keys *used, struct buf *out, uint32_t *out_day)
{
    pthread_mutex_lock(&used->lock);
    size_t count = used->count;
    for (size_t i = 0; i < count; i++) {
        buf_str(out, i ? STR(",") : STR("{"));
        buf_add(out, used->ids[i], KEY_ID_LEN);
    }
    buf_str(out, STR("}"));
    *out_day = used->day;
    used->count = 0;
    pthread_mutex_unlock(&used->lock);
    return count;
}

void used_flush(struct registry *r)
{
    struct buf ids;
    char days[24];
    uint32_t day;
    maas_error error = MAAS_ERROR_INIT;
    if (clock_mono_ns() < r->used.next_ns)
        return;
    r->used.next_ns = clock_mono_ns() + FLUSH_NS;
    buf_init(&ids, USED_MAX * (KEY_ID_LEN + 1) + 2);
    if (take(&r->used, &ids, &day) > 0) {
        *text_uint(days, day) = '\0';
        const struct str values[] = { buf_view(&ids), str_of(days) };
        if (sql_exec(r->loader, "SELECT maas.key_used($1::text[], date '1970-01-01' + $2::integer)",
                     values, COUNT_OF(values), NULL, &error) != MAAS_OK)
            LOG(LOG_WARN, "registry.used", F_STR("why", error.text));
    }
    buf_release(&ids);
}
