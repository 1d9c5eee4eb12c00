/*
 * refill_quota.c: what a quota asks of its pot in PostgreSQL: maas.quota_lease, whose model in C is
 * quota_lease() of quota.c.
 */
#include "limits/port.h"

#include <stdlib.h>

#define EXHAUSTED_NS 1000000000ull /* a pot without enough is asked this seldom */
#define FAILED_NS    100000000ull

enum { Q_DONE, Q_START, Q_END, Q_ACCOUNT, Q_GRANTED, Q_LEFT, Q_AMOUNT };
static const char statement[] =
    "SELECT done, start_us, end_us, account, granted, rest, amount FROM "
    "maas.quota_lease($1::uuid, $2::bigint, $3::integer, $4::uuid, $5::uuid, $6::integer, "
    "$7::bigint, $8::bigint, $9::bigint, $10::bigint, $11::bigint)";

struct lease_call {
    struct limits_port *port;
    struct bucket *bucket;
    struct quota_ask ask;
};

static uint64_t number(const struct pg_result *row, int column)
{
    return strtoull(pg_cell(row, 0, column).data, NULL, 10);
}

/* The pot may hold less than a request needs and more than nothing: those who want less may still
 * ask. */
static void installed(struct bucket *b, const struct quota_ask *ask, uint64_t granted,
                      uint64_t now_ns)
{
    uint64_t block = quota_demand(&b->quota, now_ns);
    bool short_of = granted < ask->least || (ask->want > 0 && granted == 0);
    atomic_store_explicit(&b->hold_ns, short_of ? now_ns + EXHAUSTED_NS : 0, memory_order_relaxed);
    atomic_store_explicit(&b->low_mark, block > 1 && !short_of ? (uint32_t)(block / 2) : 0,
                          memory_order_relaxed);
}

static void on_row(void *arg, maas_status status, const struct pg_result *row)
{
    struct lease_call *call = arg;
    struct bucket *b = call->bucket;
    struct limits_port *port = call->port;
    uint64_t now_ns = port->closed ? 0 : loop_now_ns(port->loop);
    if (status == MAAS_OK && row->rows == 1) {
        const struct quota_answer answer = { .done = str_eq(pg_cell(row, 0, Q_DONE), STR("t")),
                                             .start_us = number(row, Q_START),
                                             .end_us = number(row, Q_END),
                                             .account = number(row, Q_ACCOUNT),
                                             .granted = number(row, Q_GRANTED),
                                             .left = number(row, Q_LEFT) };
        installed(b, &call->ask, quota_install(&b->quota, &call->ask, &answer), now_ns);
        atomic_store(&b->quota.unsure, false);
    } else {
        atomic_store(&b->quota.unsure, true);
        atomic_store_explicit(&b->hold_ns, 0, memory_order_relaxed);
        port->refused_until_ns[BUCKET_QUOTA] = now_ns + FAILED_NS;
        count_up(&port->refill_timeouts);
    }
    if (!port->closed)
        tend_begin(port, b);
    refill_end(port, b);
    free(call);
}

static struct lease_call *call_of(struct limits_port *port, struct bucket *b)
{
    uint64_t now_ns = loop_now_ns(port->loop), real_us = loop_real_us(port->loop);
    uint64_t waiting = atomic_load_explicit(&b->waiting_cost, memory_order_relaxed);
    uint64_t hand = quota_units(&b->quota, real_us), want = 2 * quota_demand(&b->quota, now_ns);
    struct lease_call *call = malloc(sizeof(*call));
    if (!call)
        return NULL;
    want = want > hand ? want - hand : 0;
    if (waiting > hand && want < waiting - hand)
        want = waiting - hand;
    if (want < b->least)
        want = b->least;
    if (b->put_all_away)
        want = b->least = 0;
    if (want > QUOTA_HAND_MAX / 2)
        want = QUOTA_HAND_MAX / 2;
    *call = (struct lease_call){ .port = port, .bucket = b };
    quota_prepare(&b->quota, now_ns, real_us, want, b->least, b->put_all_away, &call->ask);
    b->put_all_away = false;
    return call;
}

void quota_send(struct limits_port *port, struct bucket *b)
{
    char id[2][UUID_TEXT_MAX], text[8][WORD_MAX];
    uint64_t now_ns = loop_now_ns(port->loop);
    struct lease_call *call = port_can_ask(port, BUCKET_QUOTA, now_ns) ? call_of(port, b) : NULL;
    if (!call) {
        refill_end(port, b);
        return;
    }
    uuid_format(&b->limit.id, id[0]);
    uuid_format(&b->limit.id2, id[1]);
    const struct quota_ask *ask = &call->ask;
    const struct str keep = ask->known ? word_of(text[4], ask->keep) : (struct str){ NULL, 0 };
    const struct str values[] = { str_of(port->limiter->lessee_text),
                                  word_of(text[0], ask->serial),
                                  word_of(text[1], b->limit.scope),
                                  str_of(id[0]),
                                  str_of(id[1]),
                                  word_of(text[2], b->limit.measure),
                                  word_of(text[3], ask->at_us),
                                  keep,
                                  word_of(text[5], ask->start_us),
                                  word_of(text[6], ask->want),
                                  word_of(text[7], ask->least) };
    count_up(&port->quota_calls);
    pg_query(port->pg, NULL, statement, values, COUNT_OF(values), on_row, call);
}
