/*
 * snapshot.c: all active deployments at one moment, immutable and counted. Found by (owner, name)
 * in a table with open addressing, at most half full; the table holds indices into the array.
 */
#include "registry/registry_private.h"

#include "base/log.h"
#include "limits/limit_text.h"

#include <stdlib.h>
#include <string.h>

#define EMPTY UINT32_MAX

struct index {
    _Atomic uint32_t refs;
    uint32_t mask;
    uint32_t slots[];
};

static const struct uuid platform; /* zero */

/* ---- the table */

static uint64_t hash_of(const struct uuid *owner, struct str name)
{
    char key[sizeof *owner + sizeof(((struct deployment *)0)->name)];
    memcpy(key, owner, sizeof *owner);
    memcpy(key + sizeof *owner, name.data, name.len);
    return hash_bytes(key, sizeof *owner + name.len);
}

static const struct deployment *find(const struct snapshot *s, const struct uuid *owner,
                                     struct str name)
{
    const struct index *index = s->impl;
    if (name.len >= sizeof s->deployments->name)
        return NULL;
    for (uint32_t i = (uint32_t)hash_of(owner, name) & index->mask;; i = (i + 1) & index->mask) {
        if (index->slots[i] == EMPTY)
            return NULL;
        const struct deployment *d = &s->deployments[index->slots[i]];
        if (uuid_eq(&d->owner, owner) && str_eq(str_of(d->name), name))
            return d;
    }
}

static struct index *index_new(const struct deployment *deployments, uint32_t count)
{
    uint32_t size = 16;
    while (size < 2 * count)
        size *= 2;
    struct index *index = malloc(sizeof *index + size * sizeof *index->slots);
    CHECK(index);
    atomic_init(&index->refs, 1);
    index->mask = size - 1;
    memset(index->slots, 0xff, size * sizeof *index->slots);
    for (uint32_t d = 0; d < count; d++) {
        uint32_t i = (uint32_t)hash_of(&deployments[d].owner, str_of(deployments[d].name));
        while (index->slots[i & index->mask] != EMPTY)
            i++;
        index->slots[i & index->mask] = d;
    }
    return index;
}

/* ---- life */

struct snapshot *snapshot_new(struct deployment *deployments, uint32_t count, uint64_t seq)
{
    struct snapshot *s = malloc(sizeof *s);
    CHECK(s && count < EMPTY / 4);
    *s = (struct snapshot){ .seq = seq, .deployments = deployments, .count = count };
    s->impl = index_new(deployments, count);
    return s;
}

static void deployments_free(struct deployment *deployments, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free(deployments[i].options_json);
        free(deployments[i].grants);
        for (uint32_t k = 0; k < deployments[i].bucket_count; k++)
            bucket_unref(deployments[i].buckets[k]);
        free(deployments[i].buckets);
    }
    free(deployments);
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    struct index *index = s->impl;
    atomic_fetch_add_explicit(&index->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    if (!s)
        return;
    struct index *index = s->impl;
    if (atomic_fetch_sub_explicit(&index->refs, 1, memory_order_acq_rel) != 1)
        return;
    deployments_free(s->deployments, s->count);
    for (uint32_t i = 0; i < s->bucket_count; i++)
        bucket_unref(s->buckets[i]);
    free(s->plugins);
    free(index);
    free(s);
}

/* ---- who sees what */

static bool is_granted(const struct deployment *d, const struct uuid *tenant)
{
    uint32_t low = 0, high = d->grant_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(&d->grants[middle], tenant, sizeof *tenant);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool deployment_visible(const struct deployment *d, const struct uuid *tenant)
{
    if (!uuid_is_zero(&d->owner))
        return uuid_eq(&d->owner, tenant);
    return d->granted_to_all || is_granted(d, tenant);
}

bool snapshot_allows(const struct snapshot *s, const char *plugin, const uint8_t sha256[32])
{
    for (uint32_t i = 0; i < s->plugin_count; i++)
        if (strcmp(s->plugins[i].id, plugin) == 0 &&
            memcmp(s->plugins[i].sha256, sha256, sizeof s->plugins[i].sha256) == 0)
            return true;
    return false;
}

const struct deployment *snapshot_resolve(const struct snapshot *s, const struct uuid *tenant,
                                          struct str name)
{
    const struct deployment *own = find(s, tenant, name), *shared = find(s, &platform, name);
    if (own && deployment_visible(own, tenant))
        return own;
    return shared && deployment_visible(shared, tenant) ? shared : NULL;
}

/* ---- reading */

enum column {
    C_ID,
    C_MODEL,
    C_VERSION_ID,
    C_OWNER,
    C_NAME,
    C_TASK,
    C_PLUGIN,
    C_VERSION,
    C_ARTIFACT,
    C_ARTIFACT_BYTES,
    C_OPTIONS,
    C_COST_BASE,
    C_COST_PER_ROW,
    C_MIN_ROW_BYTES,
    C_TO_ALL,
    C_GRANTS,
    C_CREATED,
    C_PINNED
};
static const char query[] =
    "SELECT id, model_id, version_id, owner, name, task, plugin, version,"
    " encode(artifact, 'hex'), artifact_bytes, options, cost_base, cost_per_row, min_row_bytes,"
    " visibility = 'all', array_to_string(grants, ','), created_us, pinned "
    "FROM maas.registry_deployments()";

static uint64_t number(const struct sql_result *rows, int row, enum column column)
{
    return strtoull(sql_cell(rows, row, (int)column).data, NULL, 10);
}

/* uuids with commas between, as the server sorted them: byte order. */
static bool read_grants(struct str text, struct deployment *d)
{
    uint32_t count = (uint32_t)((text.len + 1) / UUID_TEXT_MAX);
    if (count == 0)
        return text.len == 0;
    d->grants = calloc(count, sizeof *d->grants);
    CHECK(d->grants);
    for (d->grant_count = 0; d->grant_count < count; d->grant_count++) {
        struct str one = { text.data + (size_t)d->grant_count * UUID_TEXT_MAX, UUID_TEXT_MAX - 1 };
        if (!uuid_parse(one, &d->grants[d->grant_count]))
            return false;
    }
    return true;
}

static bool read_row(const struct sql_result *rows, int row, struct deployment *d)
{
    struct str artifact = sql_cell(rows, row, C_ARTIFACT), options = sql_cell(rows, row, C_OPTIONS);
    d->version = (uint32_t)number(rows, row, C_VERSION);
    d->artifact_bytes = number(rows, row, C_ARTIFACT_BYTES);
    d->cost_base = (uint32_t)number(rows, row, C_COST_BASE);
    d->cost_per_row = (uint32_t)number(rows, row, C_COST_PER_ROW);
    d->min_row_bytes = (uint32_t)number(rows, row, C_MIN_ROW_BYTES);
    d->granted_to_all = str_eq(sql_cell(rows, row, C_TO_ALL), STR("t"));
    d->created_us = number(rows, row, C_CREATED);
    d->pinned = str_eq(sql_cell(rows, row, C_PINNED), STR("t"));
    d->options_json = strndup(options.data, options.len);
    CHECK(d->options_json);
    return uuid_parse(sql_cell(rows, row, C_ID), &d->id) &&
           uuid_parse(sql_cell(rows, row, C_MODEL), &d->model_id) &&
           uuid_parse(sql_cell(rows, row, C_VERSION_ID), &d->version_id) &&
           (sql_is_null(rows, row, C_OWNER) ||
            uuid_parse(sql_cell(rows, row, C_OWNER), &d->owner)) &&
           text_copy(sql_cell(rows, row, C_NAME), d->name, sizeof d->name) &&
           text_copy(sql_cell(rows, row, C_TASK), d->task, sizeof d->task) &&
           text_copy(sql_cell(rows, row, C_PLUGIN), d->plugin, sizeof d->plugin) &&
           text_copy(sql_cell(rows, row, C_VERSION), d->version_text, sizeof d->version_text) &&
           (artifact.len == 0 || hex_decode(artifact, d->artifact, sizeof d->artifact)) &&
           read_grants(sql_cell(rows, row, C_GRANTS), d);
}

static maas_status load_plugins(struct sql *sql, struct snapshot *s, maas_error *error)
{
    struct sql_result *rows = NULL;
    maas_status status =
        sql_exec(sql, "SELECT id, encode(sha256, 'hex') FROM maas.registry_plugins()", NULL, 0,
                 &rows, error);
    if (status != MAAS_OK)
        return status;
    s->plugins = calloc((size_t)sql_rows(rows) + 1, sizeof *s->plugins);
    CHECK(s->plugins);
    for (int row = 0; row < sql_rows(rows); row++) {
        struct plugin_digest *p = &s->plugins[s->plugin_count];
        if (text_copy(sql_cell(rows, row, 0), p->id, sizeof p->id) &&
            hex_decode(sql_cell(rows, row, 1), p->sha256, sizeof p->sha256))
            s->plugin_count++;
    }
    sql_result_free(rows);
    return MAAS_OK;
}

/* ---- limits of deployments, and of all requests together */

static struct deployment *deployment_of(struct snapshot *s, const struct uuid *id)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (uuid_eq(&s->deployments[i].id, id))
            return &s->deployments[i];
    return NULL;
}

static bool deployment_add(struct deployment *d, struct bucket *bucket)
{
    if (d->bucket_count == LIMITS_MAX)
        return false;
    if (!d->buckets)
        d->buckets = calloc(LIMITS_MAX, sizeof *d->buckets);
    CHECK(d->buckets);
    d->buckets[d->bucket_count++] = bucket;
    return true;
}

static bool add_limit(struct snapshot *s, const struct limit *limit, struct limiter *limiter)
{
    struct deployment *d = limit->scope == LIMIT_MODEL ? deployment_of(s, &limit->id) : NULL;
    if (limit->scope == LIMIT_MODEL && !d)
        return true; /* of one that is retired */
    if (!d && s->bucket_count == LIMITS_MAX)
        return false;
    struct bucket *bucket = bucket_get(limiter, limit);
    if (!bucket)
        return false;
    if (!d)
        s->buckets[s->bucket_count++] = bucket;
    else if (!deployment_add(d, bucket)) {
        bucket_unref(bucket);
        return false;
    }
    return true;
}

static maas_status load_limits(struct sql *sql, struct limiter *limiter, struct snapshot *s,
                               maas_error *error)
{
    struct sql_result *rows = NULL;
    struct limit limit;
    maas_status status = sql_exec(sql, "SELECT maas.registry_limits()", NULL, 0, &rows, error);
    for (int row = 0; !status && row < sql_rows(rows); row++)
        if (!limit_parse(sql_cell(rows, row, 0), &limit) || !add_limit(s, &limit, limiter))
            status = fail(error, MAAS_E_EXHAUSTED, "no bucket for a limit of a model or of all");
    sql_result_free(rows);
    return status;
}

static maas_status load_deployments(struct sql *sql, uint64_t seq, struct snapshot **out,
                                    maas_error *error)
{
    struct sql_result *rows = NULL;
    maas_status status = sql_exec(sql, query, NULL, 0, &rows, error);
    if (status != MAAS_OK)
        return status;
    uint32_t count = 0;
    struct deployment *deployments = calloc((size_t)sql_rows(rows) + 1, sizeof *deployments);
    CHECK(deployments);
    for (int row = 0; row < sql_rows(rows); row++) {
        struct deployment *d = &deployments[count];
        if (read_row(rows, row, d)) {
            count++;
            continue;
        }
        LOG(LOG_ERROR, "registry.bad_deployment", F_STRN("id", sql_cell(rows, row, C_ID)));
        free(d->options_json);
        free(d->grants);
        *d = (struct deployment){ 0 };
    }
    sql_result_free(rows);
    *out = snapshot_new(deployments, count, seq);
    return MAAS_OK;
}

/* The second statement sees at least what the first one saw, and a change in between is noted: it
 * makes the next snapshot. */
maas_status snapshot_load(struct sql *sql, uint64_t seq, struct limiter *limiter,
                          struct snapshot **out, maas_error *error)
{
    struct snapshot *s = NULL;
    maas_status status = load_deployments(sql, seq, &s, error);
    if (status == MAAS_OK)
        status = load_plugins(sql, s, error);
    if (status == MAAS_OK)
        status = load_limits(sql, limiter, s, error);
    if (status == MAAS_OK)
        *out = s;
    else
        snapshot_unref(s);
    return status;
}
