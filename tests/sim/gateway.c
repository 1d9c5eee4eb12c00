/*
 * gateway.c: what a gateway does with its limits, and what happens to it.
 */
#include "gateway.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLACK_S  0.001
#define SINGLE_S 0.011 /* single tokens are admitted up to wait_ms after Redis granted them */

struct gateway;
struct request {
    struct limits_waiter waiter; /* first */
    struct limits_hold hold;
    struct gateway *gateway;
    unsigned port;
    uint64_t units, period;
    struct admission *admission; /* NULL: decided without Redis */
    bool working, local, exempt; /* exempt: its places' lease ran out while it worked */
    struct request *next, *prev;
};
struct gateway {
    bool alive, ending;
    uint32_t life;
    struct uuid lessee;
    struct limiter *limiter;
    struct loop *loops[PORTS];
    struct redis *redis[PORTS];
    struct pg *pg[PORTS];
    struct limits_port *ports[PORTS];
    struct bucket *buckets[LIMITS];
    struct request requests; /* sentinel */
};
static struct gateway gateways[GATEWAYS_MAX];
static unsigned count;
static bool arrivals, jumped; /* some wall clock did */
static struct uuid dead[256]; /* lessees whose spools wait to be adopted */
static size_t dead_count;
static uint64_t places_most;
struct numbers numbers;
struct tally tally;

/* ---- rates: what was admitted, and in the end cost, beside a bucket of burst b and rate r that
 * nobody can cheat. What a request gave back was not spent when it was admitted. */

enum { ADMISSIONS_MAX = 1 << 16 };
static struct admission {
    uint64_t ns, units;
} admissions[ADMISSIONS_MAX];
static size_t admission_count;

static struct admission *note_admission(uint64_t units)
{
    CHECK(admission_count < ADMISSIONS_MAX);
    admissions[admission_count] = (struct admission){ sim_now_ns(), units };
    return &admissions[admission_count++];
}

static void check_rate(const struct rate *rate, bool units)
{
    struct gcra_plan plan;
    gcra_plan_of(rate, &plan);
    double per_s = (double)rate->rate * 1000 / rate->window_ms, level = (double)rate->burst;
    double slack = per_s * (plan.lease_us ? SLACK_S : SINGLE_S) + 1e-6;
    for (size_t i = 0; i < admission_count; i++) {
        uint64_t passed_ns = i ? admissions[i].ns - admissions[i - 1].ns : 0;
        level += per_s * (double)passed_ns / 1e9;
        if (level > (double)rate->burst)
            level = (double)rate->burst;
        level -= units ? (double)admissions[i].units : 1;
        if (level < -slack)
            broken("at %.6f a window holds %.3f %s more than b + r*W",
                   (double)admissions[i].ns / 1e9 - 1000, -level, units ? "units" : "requests");
    }
}

/* ---- requests */

static void request_free(struct request *q)
{
    q->prev->next = q->next;
    q->next->prev = q->prev;
    free(q);
}

static void on_end(void *arg, uint64_t number)
{
    struct request *q = arg;
    uint64_t spent = chance(8000) ? 1 + any(q->units) : 0;
    (void)number;
    if (spent) {
        pg_bill(&q->gateway->lessee, q->period, spent);
        tally.billed += spent;
    }
    limits_settle(&q->hold, spent);
    if (q->admission)
        q->admission->units = spent;
    request_free(q);
}

static void decided(struct request *q, const struct limits_verdict *v)
{
    struct loop *loop = q->gateway->loops[q->port];
    if (v->outcome != LIMITS_YES) {
        *(v->outcome == LIMITS_NO ? &tally.refused : &tally.away) += 1;
        request_free(q);
        return;
    }
    tally.admitted++;
    tally.local += v->local;
    q->working = true;
    q->local = v->local;
    q->period = period_of(loop_real_us(loop));
    if (!v->local)
        q->admission = note_admission(q->units);
    at(MS + any(chance(500) ? 3 * S : 60 * MS), loop, on_end, q, 0);
}

static void on_decided(struct limits_waiter *waiter, const struct limits_verdict *v)
{
    struct request *q = (struct request *)waiter;
    if (q->gateway->alive)
        decided(q, v);
}

static void arrive(struct gateway *g, unsigned port)
{
    struct request *q = calloc(1, sizeof(*q));
    struct limits_verdict v;
    CHECK(q);
    q->gateway = g;
    q->port = port;
    q->units = 1 + any(6);
    q->waiter.done = on_decided;
    q->waiter.hold = &q->hold;
    q->next = &g->requests;
    q->prev = g->requests.prev;
    q->prev->next = g->requests.prev = q;
    const struct limits_want want = { g->buckets, LIMITS, q->units, AWAY_LOCAL };
    uint64_t now_ns = loop_now_ns(g->loops[port]);
    limits_try(g->ports[port], &want, now_ns, &q->hold, &v);
    if (v.outcome != LIMITS_WAIT) {
        decided(q, &v);
        return;
    }
    tally.waited++;
    limits_wait(g->ports[port], &q->waiter, &want, now_ns);
}

static void on_arrival(void *arg, uint64_t number)
{
    struct gateway *g = arg;
    unsigned port = (unsigned)number;
    /* a trickle, and now and then a flood, which finds what the trickle left */
    for (uint64_t n = chance(150) ? 1 + any(300) : 1; arrivals && !g->ending && n > 0; n--)
        arrive(g, port);
    at(any(40 * MS), g->loops[port], on_arrival, g, port);
    struct request *q = g->requests.next; /* a client that leaves while it waits */
    if (q != &g->requests && !q->working && q->port == port && chance(300)) {
        limits_cancel(g->ports[port], &q->waiter);
        request_free(q);
    }
}

/* ---- life */

static const struct uuid tenant = { { 1 } };

static void read_limits(struct gateway *g)
{
    const struct limit limits[LIMITS] = {
        [RATE_REQUESTS] = { LIMIT_KEY, MEASURE_REQUESTS, tenant, { { 0 } }, numbers.requests, 1 },
        [RATE_UNITS] = { LIMIT_TENANT, MEASURE_UNITS, tenant, { { 0 } }, numbers.units, 1 },
        [PLACES] = { LIMIT_TENANT,
                     MEASURE_CONCURRENCY,
                     tenant,
                     { { 0 } },
                     { numbers.places, 0, 0 },
                     1 },
        [QUOTA] = { LIMIT_TENANT, MEASURE_DAY, tenant, { { 0 } }, { numbers.quota, 0, 0 }, 1 },
    };
    for (int i = 0; i < LIMITS; i++) {
        struct bucket *b = bucket_get(g->limiter, &limits[i]);
        CHECK(b);
        bucket_unref(g->buckets[i]);
        g->buckets[i] = b;
    }
}

static void birth(void *arg, uint64_t life)
{
    struct gateway *g = arg;
    struct limiter_config config = { .gateways_max = count, .buckets_max = 16, .wait_ms = 10 };
    int64_t mono_ns = (int64_t)any(1000 * S), real_us = (int64_t)any(4000000) - 2000000;
    for (size_t i = 0; i < sizeof(config.lessee.bytes); i++)
        config.lessee.bytes[i] = (uint8_t)any(256);
    *g = (struct gateway){ .alive = true, .life = (uint32_t)life, .lessee = config.lessee };
    g->requests.next = g->requests.prev = &g->requests;
    CHECK(limiter_new(&config, &g->limiter, NULL) == MAAS_OK);
    for (unsigned i = 0; i < PORTS; i++) {
        g->loops[i] = sim_loop(mono_ns, real_us);
        CHECK(redis_new(g->loops[i], "", 0, &g->redis[i], NULL) == MAAS_OK);
        CHECK(pg_new(g->loops[i], "", 0, &g->pg[i], NULL) == MAAS_OK);
        CHECK(limits_port_new(g->limiter, g->loops[i], g->redis[i], g->pg[i], &g->ports[i], NULL) ==
              MAAS_OK);
        at(any(40 * MS), g->loops[i], on_arrival, g, i);
    }
    read_limits(g);
    say("gateway %ld is born", g - gateways);
}

static void bury(struct gateway *g)
{
    g->alive = false;
    while (g->requests.next != &g->requests) {
        struct request *q = g->requests.next;
        if (!q->working)
            limits_cancel(g->ports[q->port], &q->waiter);
        limits_settle(&q->hold, 0);
        request_free(q);
    }
    for (unsigned i = 0; i < PORTS; i++)
        limits_port_free(g->ports[i]);
    for (unsigned i = 0; i < PORTS; i++) {
        redis_free(g->redis[i]);
        pg_free(g->pg[i]);
        sim_loop_end(g->loops[i]);
    }
    for (int i = 0; i < LIMITS; i++)
        bucket_unref(g->buckets[i]);
    limiter_free(g->limiter);
}

static void on_adopt(void *arg, uint64_t number)
{
    (void)arg;
    if (!pg_server.up || pg_server.frozen_until_ns > sim_now_ns()) {
        at(100 * MS + any(S), NULL, on_adopt, NULL, number);
        return;
    }
    pg_close(&dead[number]);
    if (chance(3000))
        pg_close(&dead[number]); /* again without effect */
    dead[number] = (struct uuid){ { 0 } };
}

static void kill_9(struct gateway *g)
{
    say("gateway %ld is killed", g - gateways);
    tally.kills++;
    CHECK(dead_count < COUNT_OF(dead));
    dead[dead_count] = g->lessee;
    at(any(3 * S), NULL, on_adopt, NULL, dead_count++);
    bury(g);
    at(1 + any(S), NULL, birth, g, g->life + 1);
}

/* Nothing is admitted any more; when the last request is done, leases go back. */
static void on_ending(void *arg, uint64_t life)
{
    struct gateway *g = arg;
    if (!g->alive || g->life != life)
        return;
    if (g->requests.next != &g->requests) {
        at(20 * MS, NULL, on_ending, g, life);
        return;
    }
    struct quota *quota = &g->buckets[QUOTA]->quota;
    struct uuid lessee = g->lessee;
    bool known = quota->known && pg_server.up && pg_server.frozen_until_ns <= sim_now_ns();
    uint64_t period = period_of(atomic_load(&quota->start_us)), keep = quota_put_away(quota);
    tally.ends++;
    say("gateway %ld ends%s", g - gateways, known ? "" : ", and cannot say so");
    bury(g);
    if (known) {
        pg_end(&lessee, keep, period);
    } else {
        CHECK(dead_count < COUNT_OF(dead));
        dead[dead_count] = lessee;
        at(any(3 * S), NULL, on_adopt, NULL, dead_count++);
    }
    at(1 + any(S), NULL, birth, g, g->life + 1);
}

void gateways_start(unsigned n)
{
    memset(gateways, 0, sizeof(gateways));
    count = n;
    arrivals = true;
    jumped = false;
    dead_count = 0;
    tally = (struct tally){ 0 };
    admission_count = 0;
    places_most = numbers.places;
    for (unsigned i = 0; i < n; i++)
        birth(&gateways[i], 1);
}

void gateways_arrivals(bool on)
{
    arrivals = on;
}

void gateway_fault(void)
{
    struct gateway *g = &gateways[any(count)];
    if (!g->alive || g->ending)
        return;
    switch (any(4)) {
    case 0:
        kill_9(g);
        break;
    case 1:
        g->ending = true;
        at(1, NULL, on_ending, g, g->life);
        break;
    case 2:
        say("gateway %ld is stalled", g - gateways);
        sim_loop_stall(g->loops[any(PORTS)], any(chance(2000) ? 3 * S : 200 * MS));
        break;
    default: {
        int64_t by_us = (int64_t)any(6000000) - 3000000;
        say("gateway %ld's clock jumps by %" PRId64 " ms", g - gateways, by_us / 1000);
        jumped = true;
        for (unsigned i = 0; i < PORTS; i++)
            sim_loop_jump(g->loops[i], by_us);
    }
    }
}

static void on_read(void *arg, uint64_t life)
{
    struct gateway *g = arg;
    if (g->alive && g->life == life)
        read_limits(g);
}

void gateways_change(void)
{
    if (numbers.quota > 1000000)
        return; /* nothing but the rates is tight in this seed */
    numbers.quota = 50 + any(2000);
    numbers.places = 1 + any(20);
    places_most = places_most > numbers.places ? places_most : numbers.places;
    pg_set_quota(numbers.quota);
    say("the quota is %" PRIu64 ", concurrency %" PRIu64, numbers.quota, numbers.places);
    for (unsigned i = 0; i < count; i++)
        at(any(900 * MS), NULL, on_read, &gateways[i], gateways[i].life);
}

/* ---- what holds */

void gateways_check(void)
{
    uint64_t working = 0;
    for (unsigned i = 0; i < count; i++) {
        struct gateway *g = &gateways[i];
        if (!g->alive)
            continue;
        bool leased = places_granted(&g->buckets[PLACES]->places, loop_now_ns(g->loops[0])) > 0;
        for (struct request *q = g->requests.next; q != &g->requests; q = q->next) {
            q->exempt |= !leased;
            working += q->working && !q->local && !q->exempt;
        }
    }
    if (working > places_most)
        broken("%" PRIu64 " requests are at work, of %" PRIu64, working, places_most);
    pg_check();
}

void gateways_check_drained(void)
{
    check_rate(&numbers.requests, false);
    check_rate(&numbers.units, true);
    for (unsigned i = 0; i < count; i++) {
        struct gateway *g = &gateways[i];
        if (!g->alive)
            broken("gateway %u did not come back", i);
        if (g->requests.next != &g->requests)
            broken("a request of gateway %u %s for ever", i,
                   g->requests.next->working ? "works" : "waits");
        uint64_t period = period_of(loop_real_us(g->loops[0]));
        /* what comes back to a period that the clock has left counts as spent until the lessee ends
         */
        if (pg_granted(period) != pg_billed(period) && !jumped)
            broken("%" PRIu64 " units are held and %" PRIu64 " billed when nothing is at work",
                   pg_granted(period), pg_billed(period));
    }
}

void gateways_end(void)
{
    for (unsigned i = 0; i < count; i++)
        if (gateways[i].alive)
            bury(&gateways[i]);
}
