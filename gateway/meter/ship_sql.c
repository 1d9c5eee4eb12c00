/*
 * ship_sql.c: batches into PostgreSQL: one call of maas.usage_append with binary arrays, built in
 * one buffer that is reused. The connection is opened when it is first needed, so a gateway starts
 * while PostgreSQL is away.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ship.h"
#include "store/sql.h"

enum {
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_UUID = 2950,
    OID_INT8_ARRAY = 1016,
    OID_INT4_ARRAY = 1007,
    OID_UUID_ARRAY = 2951
};
enum { ARRAYS = 14, PARAMS = 17 };

struct ship_sql {
    char *conninfo;
    uint32_t timeout_ms;
    struct sql *sql;
    struct buf arrays[ARRAYS];
};

static void put32(struct buf *b, uint32_t value)
{
    uint32_t big = __builtin_bswap32(value);
    buf_add(b, &big, sizeof(big));
}

static void put64(struct buf *b, uint64_t value)
{
    uint64_t big = __builtin_bswap64(value);
    buf_add(b, &big, sizeof(big));
}

static void array_begin(struct buf *b, uint32_t element_oid, uint32_t count)
{
    buf_clear(b);
    put32(b, 1);
    put32(b, 0);
    put32(b, element_oid);
    put32(b, count);
    put32(b, 1);
}

static uint32_t clamp(uint32_t value)
{
    return value > INT32_MAX ? INT32_MAX : value;
}

static void put_event(struct buf *a, const struct usage_event *e)
{
    const struct uuid *ids[] = { &e->tenant, &e->key, &e->model, &e->deployment, &e->request };
    const uint32_t words[] = { e->version,    e->rows,        0,         e->compute_us,
                               e->latency_us, e->http_status, e->surface };
    put32(&a[0], 8);
    put64(&a[0], e->at_us);
    put32(&a[ARRAYS - 1], 8);
    put64(&a[ARRAYS - 1], e->admitted_us);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        put32(&a[1 + i], 16);
        buf_add(&a[1 + i], ids[i]->bytes, 16);
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        put32(&a[6 + i], i == 2 ? 8 : 4);
        if (i == 2)
            put64(&a[8], e->units);
        else
            put32(&a[6 + i], clamp(words[i]));
    }
}

static const uint32_t element_oids[ARRAYS] = { OID_INT8, OID_UUID, OID_UUID, OID_UUID, OID_UUID,
                                               OID_UUID, OID_INT4, OID_INT4, OID_INT8, OID_INT4,
                                               OID_INT4, OID_INT4, OID_INT4, OID_INT8 };

static uint32_t array_oid(uint32_t element)
{
    return element == OID_INT8   ? OID_INT8_ARRAY
           : element == OID_INT4 ? OID_INT4_ARRAY
                                 : OID_UUID_ARRAY;
}

static maas_status connect_once(struct ship_sql *s, maas_error *error)
{
    return s->sql ? MAAS_OK : sql_open(s->conninfo, s->timeout_ms, &s->sql, error);
}

static maas_status say_of(struct ship_sql *s, const char *statement, const struct uuid *spool,
                          maas_error *error)
{
    char text[UUID_TEXT_MAX];
    const struct str id = { text, UUID_TEXT_MAX - 1 };
    uuid_format(spool, text);
    maas_status status = connect_once(s, error);
    return status ? status : sql_exec(s->sql, statement, &id, 1, NULL, error);
}

/* What the spool's owner leased and did not bill comes free. */
static maas_status finish(void *arg, const struct uuid *spool, maas_error *error)
{
    return say_of(arg, "SELECT maas.quota_close($1)", spool, error);
}

static maas_status gone(void *arg, const struct uuid *spool, maas_error *error)
{
    return say_of(arg, "SELECT maas.gateway_gone($1)", spool, error);
}

static maas_status append(void *arg, const struct uuid *spool, uint32_t loop, uint64_t first_seq,
                          const struct usage_event *events, uint32_t count, maas_error *error)
{
    struct ship_sql *s = arg;
    uint32_t loop_big = __builtin_bswap32(loop);
    uint64_t seq_big = __builtin_bswap64(first_seq);
    struct sql_param params[PARAMS] = {
        { OID_UUID, true, { (const char *)spool->bytes, 16 } },
        { OID_INT4, true, { (const char *)&loop_big, 4 } },
        { OID_INT8, true, { (const char *)&seq_big, 8 } },
    };
    maas_status status = connect_once(s, error);
    if (status)
        return status;
    for (size_t i = 0; i < ARRAYS; i++)
        array_begin(&s->arrays[i], element_oids[i], count);
    for (uint32_t i = 0; i < count; i++)
        put_event(s->arrays, &events[i]);
    for (size_t i = 0; i < ARRAYS; i++) {
        if (s->arrays[i].failed)
            return fail(error, MAAS_E_EXHAUSTED, "no memory for a batch of %u events", count);
        params[3 + i] =
            (struct sql_param){ array_oid(element_oids[i]), true, buf_view(&s->arrays[i]) };
    }
    return sql_exec_params(
        s->sql,
        "SELECT maas.usage_append($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,"
        "$17)",
        params, PARAMS, NULL, error);
}

static void close_sink(void *arg)
{
    struct ship_sql *s = arg;
    if (s->sql)
        sql_close(s->sql);
    for (size_t i = 0; i < ARRAYS; i++)
        buf_release(&s->arrays[i]);
    free(s->conninfo);
    free(s);
}

maas_status ship_sql_open(const char *conninfo, uint32_t call_timeout_ms, struct usage_sink *out,
                          maas_error *error)
{
    struct ship_sql *s = calloc(1, sizeof(*s));
    if (!s || !(s->conninfo = strdup(conninfo))) {
        free(s);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the shipper");
    }
    s->timeout_ms = call_timeout_ms;
    for (size_t i = 0; i < ARRAYS; i++)
        buf_init(&s->arrays[i], 1 << 20);
    *out = (struct usage_sink){
        .append = append, .close = close_sink, .arg = s, .finish = finish, .gone = gone
    };
    return MAAS_OK;
}
