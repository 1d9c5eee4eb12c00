/*
 * principal.c: a key's row as an immutable record. The plan's limits become buckets here, once, so
 * that a request finds them ready. Scopes that no longer parse are left out, which denies.
 */
#include "registry/registry_private.h"

#include "base/log.h"
#include "limits/limit_text.h"

#include <stdlib.h>
#include <string.h>

enum column {
    C_KEY,
    C_TENANT,
    C_SLUG,
    C_STATE,
    C_PLAN_ID,
    C_PLAN,
    C_REVOKED,
    C_NOT_BEFORE,
    C_EXPIRES,
    C_PEPPER,
    C_MAC,
    C_SCOPES,
    C_ALLOW,
    C_BODY_MAX,
    C_V2_BODY_MAX,
    C_MAX_ROWS,
    C_WEIGHT,
    C_AWAY,
    C_TIME_ZONE,
    C_LIMITS,
    C_KEY_ID
};
const char principal_query[] =
    "SELECT key, tenant, tenant_slug, tenant_state, plan_id, plan, revoked, not_before_us,"
    " expires_us, pepper_version, encode(mac, 'hex'), array_to_string(scopes, E'\\n'), allow, "
    "body_max,"
    " v2_body_max, max_rows, weight, away, time_zone, limits, $1::text "
    "FROM maas.key_lookup($1), maas.limits_of(tenant, key, plan_id)";

static uint64_t number(const struct pg_result *row, enum column column)
{
    return strtoull(pg_cell(row, 0, (int)column).data, NULL, 10);
}

static bool read_state(struct str text, struct principal *p)
{
    if (str_eq(text, STR("active")))
        p->tenant_state = TENANT_ACTIVE;
    else if (str_eq(text, STR("suspended")))
        p->tenant_state = TENANT_SUSPENDED;
    else if (str_eq(text, STR("closed")))
        p->tenant_state = TENANT_CLOSED;
    else
        return false;
    return true;
}

static void read_scopes(struct str lines, struct principal *p)
{
    struct str one;
    maas_error error = MAAS_ERROR_INIT;
    while (limit_line(&lines, &one))
        if (scope_add(&p->scopes, one, &error) != MAAS_OK)
            LOG(LOG_WARN, "registry.bad_scope", F_STR("key", p->key_id), F_STR("why", error.text));
}

/* A range that is not understood must not be one that is not there. */
static bool read_allow(struct str lines, struct principal *p)
{
    struct str one;
    if (lines.len == 0)
        return true;
    p->allow = calloc(1, sizeof *p->allow);
    CHECK(p->allow);
    while (limit_line(&lines, &one))
        if (allow_add(p->allow, one, NULL) != MAAS_OK)
            return false;
    return true;
}

static enum limits_away away_of(struct str text)
{
    return str_eq(text, STR("local"))  ? AWAY_LOCAL
           : str_eq(text, STR("open")) ? AWAY_OPEN
                                       : AWAY_CLOSED;
}

static bool add_model_limit(struct principal *p, const struct limit *limit, struct bucket *bucket)
{
    struct model_limit *more =
        realloc(p->model_limits, (p->model_limit_count + 1) * sizeof *p->model_limits);
    CHECK(more);
    p->model_limits = more;
    more[p->model_limit_count++] = (struct model_limit){ limit->id2, bucket };
    return true;
}

static bool add_limit(struct principal *p, struct limit *limit, struct limiter *limiter)
{
    limit->id = limit->scope == LIMIT_KEY ? p->key : p->tenant;
    if (limit->scope != LIMIT_TENANT_MODEL && p->bucket_count == LIMITS_MAX)
        return false;
    struct bucket *bucket = bucket_get(limiter, limit);
    if (!bucket)
        return false;
    if (limit->scope == LIMIT_TENANT_MODEL)
        return add_model_limit(p, limit, bucket);
    p->buckets[p->bucket_count++] = bucket;
    return true;
}

static bool read_limits(struct str lines, struct limiter *limiter, struct principal *p)
{
    struct str line;
    struct limit limit;
    while (limit_line(&lines, &line))
        if (!limit_parse(line, &limit) || !add_limit(p, &limit, limiter))
            return false;
    return true;
}

uint32_t principal_buckets(const struct principal *p, const struct snapshot *s,
                           const struct deployment *d, struct bucket *out[LIMITS_MAX])
{
    uint32_t count = p->bucket_count, room = LIMITS_MAX;
    memcpy(out, p->buckets, count * sizeof *out);
    for (uint32_t i = 0; i < p->model_limit_count; i++)
        if (uuid_eq(&p->model_limits[i].deployment, &d->id)) {
            if (count == room)
                return room + 1;
            out[count++] = p->model_limits[i].bucket;
        }
    if (count + d->bucket_count + s->bucket_count > room)
        return room + 1;
    if (d->bucket_count > 0)
        memcpy(out + count, d->buckets, d->bucket_count * sizeof *out);
    memcpy(out + count + d->bucket_count, s->buckets, s->bucket_count * sizeof *out);
    return count + d->bucket_count + s->bucket_count;
}

static bool read_row(const struct pg_result *row, struct principal *p, struct uuid *out_plan)
{
    p->revoked = str_eq(pg_cell(row, 0, C_REVOKED), STR("t"));
    p->not_before_us = number(row, C_NOT_BEFORE);
    p->expires_us = number(row, C_EXPIRES);
    p->pepper_version = (uint16_t)number(row, C_PEPPER);
    p->body_max = number(row, C_BODY_MAX);
    p->v2_body_max = number(row, C_V2_BODY_MAX);
    p->max_rows = (uint32_t)number(row, C_MAX_ROWS);
    p->weight = (uint32_t)number(row, C_WEIGHT);
    p->away = away_of(pg_cell(row, 0, C_AWAY));
    return uuid_parse(pg_cell(row, 0, C_KEY), &p->key) &&
           uuid_parse(pg_cell(row, 0, C_TENANT), &p->tenant) &&
           uuid_parse(pg_cell(row, 0, C_PLAN_ID), out_plan) &&
           text_copy(pg_cell(row, 0, C_SLUG), p->tenant_slug, sizeof p->tenant_slug) &&
           text_copy(pg_cell(row, 0, C_PLAN), p->plan, sizeof p->plan) &&
           text_copy(pg_cell(row, 0, C_TIME_ZONE), p->time_zone, sizeof p->time_zone) &&
           text_copy(pg_cell(row, 0, C_KEY_ID), p->key_id, sizeof p->key_id) &&
           hex_decode(pg_cell(row, 0, C_MAC), p->mac, sizeof p->mac) &&
           read_state(pg_cell(row, 0, C_STATE), p) && read_allow(pg_cell(row, 0, C_ALLOW), p);
}

maas_status principal_new(const struct pg_result *row, struct limiter *limiter,
                          struct principal **out, struct uuid *out_plan, maas_error *error)
{
    struct principal *p = calloc(1, sizeof *p);
    CHECK(p);
    p->refs = 1;
    maas_status status = MAAS_OK;
    if (!read_row(row, p, out_plan))
        status = fail(error, MAAS_E_INTERNAL, "a key's row makes no sense");
    else
        read_scopes(pg_cell(row, 0, C_SCOPES), p);
    if (status == MAAS_OK && !read_limits(pg_cell(row, 0, C_LIMITS), limiter, p))
        status = fail(error, MAAS_E_EXHAUSTED, "no bucket for a key's limits");
    if (status == MAAS_OK)
        *out = p;
    else
        principal_unref(p);
    return status;
}

void principal_ref(struct principal *p)
{
    p->refs++;
}

void principal_unref(struct principal *p)
{
    CHECK(p->refs > 0);
    if (--p->refs > 0)
        return;
    for (uint32_t i = 0; i < p->bucket_count; i++)
        bucket_unref(p->buckets[i]);
    for (uint32_t i = 0; i < p->model_limit_count; i++)
        bucket_unref(p->model_limits[i].bucket);
    free(p->model_limits);
    free(p->allow);
    free(p);
}
