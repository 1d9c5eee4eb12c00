/*
 * record.c: the record's bytes. The struct below is the layout; this machine is little-endian
 * (asserted), so it is copied as it is.
 */
#include "meter/record.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

#define MAGIC         0x3145554du /* "MUE1" */
#define WORKED_MAX_US ((1ull << 40) - 1)

struct record {
    uint32_t magic, crc;
    uint64_t seq, at_us;
    struct uuid tenant, key, model, deployment, request;
    uint64_t units;
    uint32_t version, rows, compute_us, latency_us;
    uint16_t http_status;
    uint8_t surface, worked_us[5]; /* from admission to `at`; 12 days at most */
};
_Static_assert(sizeof(struct record) == RECORD_BYTES, "record layout");

static uint32_t crc_of(const struct record *r)
{
    return crc32c(0, &r->seq, sizeof(*r) - offsetof(struct record, seq));
}

/* A record of a version that did not have it says 0: then both are one. */
static void put_worked(struct record *r, const struct usage_event *e)
{
    uint64_t us = e->admitted_us && e->at_us > e->admitted_us ? e->at_us - e->admitted_us : 0;
    us = us < WORKED_MAX_US ? us : WORKED_MAX_US;
    memcpy(r->worked_us, &us, sizeof(r->worked_us));
}

static uint64_t worked_of(const struct record *r)
{
    uint64_t us = 0;
    memcpy(&us, r->worked_us, sizeof(r->worked_us));
    return us < r->at_us ? us : r->at_us;
}

void record_encode(uint8_t out[RECORD_BYTES], uint64_t seq, const struct usage_event *e)
{
    struct record r = { .magic = MAGIC,
                        .seq = seq,
                        .at_us = e->at_us,
                        .tenant = e->tenant,
                        .key = e->key,
                        .model = e->model,
                        .deployment = e->deployment,
                        .request = e->request,
                        .units = e->units,
                        .version = e->version,
                        .rows = e->rows,
                        .compute_us = e->compute_us,
                        .latency_us = e->latency_us,
                        .http_status = e->http_status,
                        .surface = e->surface };
    put_worked(&r, e);
    r.crc = crc_of(&r);
    memcpy(out, &r, sizeof(r));
}

bool record_decode(const uint8_t in[RECORD_BYTES], uint64_t seq, struct usage_event *out)
{
    struct record r;
    memcpy(&r, in, sizeof(r));
    if (r.magic != MAGIC || r.seq != seq || r.crc != crc_of(&r))
        return false;
    *out = (struct usage_event){ .at_us = r.at_us,
                                 .admitted_us = r.at_us - worked_of(&r),
                                 .tenant = r.tenant,
                                 .key = r.key,
                                 .model = r.model,
                                 .deployment = r.deployment,
                                 .request = r.request,
                                 .version = r.version,
                                 .rows = r.rows,
                                 .units = r.units,
                                 .compute_us = r.compute_us,
                                 .latency_us = r.latency_us,
                                 .http_status = r.http_status,
                                 .surface = r.surface };
    return true;
}
