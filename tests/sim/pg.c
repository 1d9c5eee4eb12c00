/*
 * pg.c: store/pg.h over a simulated connection, and the PostgreSQL behind it: pots and accounts of
 * one tenant's quota of a day, by the model of maas.quota_lease. What was done stays done. A day
 * has 20 seconds here.
 */
#include "sim.h"
#include "store/pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_US       20000000ull
#define LESSEES_MAX  256
#define DEADLINE_NS  (200 * MS)
#define RECONNECT_NS (200 * MS)

struct server pg_server;

static struct {
    uint64_t amount, first_period;
    struct quota_pot pots[AMOUNT_POTS];
    uint64_t most[AMOUNT_POTS], billed[AMOUNT_POTS];
    size_t lessees;
    struct lessee {
        struct uuid id;
        bool closed;
        struct quota_account accounts[AMOUNT_POTS];
        uint64_t billed[AMOUNT_POTS];
    } lessee[LESSEES_MAX];
} db;

void pg_reset(void)
{
    memset(&db, 0, sizeof(db));
}

uint64_t period_of(uint64_t real_us)
{
    return real_us / DAY_US;
}

static size_t pot_of(uint64_t period)
{
    if (db.first_period == 0)
        db.first_period = period - AMOUNT_POTS / 2;
    CHECK(period - db.first_period < AMOUNT_POTS);
    return (size_t)(period - db.first_period);
}

void pg_set_quota(uint64_t amount)
{
    db.amount = amount;
    for (size_t i = 0; i < AMOUNT_POTS; i++) /* of running periods and of those to come */
        db.most[i] = db.most[i] > amount ? db.most[i] : amount;
}

static struct lessee *lessee_of(const struct uuid *id)
{
    for (size_t i = 0; i < db.lessees; i++)
        if (uuid_eq(&db.lessee[i].id, id))
            return &db.lessee[i];
    CHECK(db.lessees < LESSEES_MAX);
    db.lessee[db.lessees] = (struct lessee){ .id = *id };
    return &db.lessee[db.lessees++];
}

/* ---- the function */

struct request {
    struct uuid lessee;
    struct quota_ask ask;
};
struct row {
    char cells[7][24];
};

static void *execute(const void *request)
{
    const struct request *q = request;
    struct row *row = calloc(1, sizeof(*row));
    struct lessee *l = lessee_of(&q->lessee);
    uint64_t period = period_of(q->ask.at_us);
    struct quota_answer a = { .start_us = period * DAY_US, .end_us = (period + 1) * DAY_US };
    size_t p = pot_of(period);
    CHECK(row);
    if (!l->closed)
        quota_lease(&db.pots[p], &l->accounts[p], db.amount, &q->ask, q->ask.start_us == a.start_us,
                    &a);
    say("lease of %02x in period %" PRIu64 ": serial %" PRIu64 " keep %" PRIu64 "%s want %" PRIu64
        " → %s, account %" PRIu64 ", granted %" PRIu64,
        q->lessee.bytes[0], period, q->ask.serial, q->ask.keep, q->ask.known ? "" : "?",
        q->ask.want, a.done ? "done" : "nothing", a.account, a.granted);
    snprintf(row->cells[0], 24, "%s", a.done ? "t" : "f");
    const uint64_t numbers[] = { a.start_us, a.end_us, a.account, a.granted, a.left, db.amount };
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        snprintf(row->cells[1 + i], 24, "%" PRIu64, numbers[i]);
    pg_check();
    return row;
}

void pg_bill(const struct uuid *lessee, uint64_t period, uint64_t units)
{
    size_t p = pot_of(period);
    struct lessee *l = lessee_of(lessee);
    if (l->closed)
        broken("a closed lessee bills %" PRIu64, units);
    l->billed[p] += units;
    db.billed[p] += units;
    if (db.billed[p] > db.most[p])
        broken("%" PRIu64 " units billed of a quota of %" PRIu64, db.billed[p], db.most[p]);
}

static void settle(struct lessee *l, size_t p, uint64_t spent)
{
    if (!l->accounts[p].exists)
        return;
    db.pots[p].granted = db.pots[p].granted - l->accounts[p].granted + spent;
    l->accounts[p].granted = spent;
}

void pg_close(const struct uuid *lessee)
{
    struct lessee *l = lessee_of(lessee);
    for (size_t p = 0; p < AMOUNT_POTS; p++)
        settle(l, p, l->billed[p]);
    l->closed = true;
    pg_check();
}

void pg_end(const struct uuid *lessee, uint64_t keep, uint64_t period)
{
    struct lessee *l = lessee_of(lessee);
    size_t p = pot_of(period);
    l->closed = true;
    if (keep < l->billed[p])
        broken("a lessee that ends spent %" PRIu64 " and billed %" PRIu64, keep, l->billed[p]);
    settle(l, p, keep);
    pg_check();
}

void pg_check(void)
{
    for (size_t p = 0; p < AMOUNT_POTS; p++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < db.lessees; i++) {
            const struct quota_account *a = &db.lessee[i].accounts[p];
            sum += a->granted;
            if (db.lessee[i].billed[p] > a->granted)
                broken("lessee %zu billed %" PRIu64 " of %" PRIu64 " that it held", i,
                       db.lessee[i].billed[p], a->granted);
        }
        if (sum != db.pots[p].granted || sum > db.most[p])
            broken("pot %zu handed out %" PRIu64 ", its accounts say %" PRIu64
                   ", the quota was %" PRIu64,
                   p, db.pots[p].granted, sum, db.most[p]);
    }
}

uint64_t pg_billed(uint64_t period)
{
    return db.billed[pot_of(period)];
}

uint64_t pg_granted(uint64_t period)
{
    return db.pots[pot_of(period)].granted;
}

/* ---- the client's side */

struct pg {
    struct wire *wire;
};
struct waiting {
    pg_done done;
    void *arg;
};

static void answered(void *arg, maas_status status, void *answer)
{
    struct waiting w = *(struct waiting *)arg;
    const struct pg_result result = { .rows = 1, .columns = 7, .impl = answer };
    free(arg);
    w.done(w.arg, status, status ? NULL : &result);
}

maas_status pg_new(struct loop *loop, const char *conninfo, uint32_t call_timeout_ms,
                   struct pg **out, maas_error *error)
{
    (void)conninfo, (void)call_timeout_ms, (void)error;
    struct pg *pg = calloc(1, sizeof(*pg));
    CHECK(pg);
    pg->wire = wire_new(loop, &pg_server, DEADLINE_NS, RECONNECT_NS);
    *out = pg;
    return MAAS_OK;
}

void pg_free(struct pg *pg)
{
    wire_end(pg->wire);
    free(pg);
}

bool pg_is_up(const struct pg *pg)
{
    return wire_is_up(pg->wire);
}

struct str pg_cell(const struct pg_result *result, int row, int column)
{
    (void)row;
    return str_of(((const struct row *)result->impl)->cells[column]);
}

void pg_query(struct pg *pg, const struct uuid *tenant, const char *sql, const struct str *values,
              size_t count, pg_done done, void *arg)
{
    static const struct wire_ops ops = { execute, answered };
    struct request *q = calloc(1, sizeof(*q));
    struct waiting *w = malloc(sizeof(*w));
    (void)tenant;
    CHECK(q && w && strstr(sql, "maas.quota_lease(") && count == 11);
    CHECK(uuid_parse(values[0], &q->lessee));
    q->ask = (struct quota_ask){ .serial = word_number(values[1]),
                                 .at_us = word_number(values[6]),
                                 .known = values[7].data != NULL,
                                 .keep = word_number(values[7]),
                                 .start_us = word_number(values[8]),
                                 .want = word_number(values[9]),
                                 .least = word_number(values[10]) };
    *w = (struct waiting){ done, arg };
    wire_call(pg->wire, &ops, q, w);
}
