/*
 * The scheduler alone: order, weights, caps, deadlines, and a simulation with a clock of its own in
 * which one tenant sends twenty times its share.
 */
#include "worker/fair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dice.h"

struct request {
    struct fair_item item;
    uint32_t who;
    uint64_t arrived, begun, cost;
};

static const struct fair_limits LIMITS = {
    .tenants = 64, .frames = 100, .bytes = 10000, .all_bytes = 50000
};

static struct uuid tenant(uint32_t number)
{
    struct uuid id = { { 0 } };
    memcpy(id.bytes, &number, sizeof(number));
    return id;
}

static enum fair_verdict push(struct fair *f, struct request *r, uint32_t who, uint32_t weight)
{
    struct uuid id = tenant(who);
    r->who = who;
    if (!r->item.bytes)
        r->item.bytes = 10;
    return fair_push(f, &id, weight, &r->item);
}

static struct request *pop(struct fair *f)
{
    return (struct request *)fair_pop(f);
}

static struct fair *fresh(void)
{
    struct fair *f = fair_new(&LIMITS);
    assert_non_null(f);
    return f;
}

/* ---- order */

static void a_tenant_is_served_in_the_order_of_arrival(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[10] = { 0 };
    for (size_t i = 0; i < COUNT_OF(r); i++)
        assert_int_equal(push(f, &r[i], 1, 0), FAIR_TAKEN);
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        assert_ptr_equal(pop(f), &r[i]);
        fair_settle(f, &r[i].item, 100);
    }
    assert_true(fair_is_empty(f));
    assert_null(pop(f));
    fair_free(f);
}

/* Served in turns by cost: two cheap ones for a dear one. */
static void costs_decide_whose_turn_it_is(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[2][60] = { 0 };
    uint64_t spent[2] = { 0 };
    for (size_t i = 0; i < 60; i++)
        for (uint32_t who = 0; who < 2; who++)
            assert_int_equal(push(f, &r[who][i], who, 0), FAIR_TAKEN);
    for (int i = 0; i < 60; i++) {
        struct request *next = pop(f);
        uint64_t cost = next->who ? 2000 : 1000;
        spent[next->who] += cost;
        fair_settle(f, &next->item, cost);
    }
    assert_in_range(spent[0], 39000, 41000);
    assert_in_range(spent[1], 39000, 41000);
    fair_free(f);
}

static void a_weight_is_a_share(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[2][90] = { 0 };
    int served[2] = { 0 };
    for (size_t i = 0; i < 90; i++)
        for (uint32_t who = 0; who < 2; who++)
            assert_int_equal(push(f, &r[who][i], who, who ? 3 : 1), FAIR_TAKEN);
    for (int i = 0; i < 80; i++) {
        struct request *next = pop(f);
        served[next->who]++;
        fair_settle(f, &next->item, 1000);
    }
    assert_in_range(served[0], 19, 21);
    assert_in_range(served[1], 59, 61);
    fair_free(f);
}

/* Alone it may have everything; what it had is not held against it, nor what the other saved. */
static void who_was_away_neither_saves_nor_owes(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[200] = { 0 };
    int served[2] = { 0 };
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(push(f, &r[i], 0, 0), FAIR_TAKEN);
        assert_ptr_equal(pop(f), &r[i]);
        fair_settle(f, &r[i].item, 1000000);
    }
    memset(r, 0, sizeof(r));
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(push(f, &r[i], i % 2, 0), FAIR_TAKEN);
    for (int i = 0; i < 20; i++) {
        struct request *next = pop(f);
        served[next->who]++;
        fair_settle(f, &next->item, 1000000);
    }
    assert_in_range(served[0], 9, 11);
    fair_free(f);
}

static void put_back_leaves_everything_as_it_was(void **state)
{
    (void)state;
    struct fair *f = fresh(), *same = fresh();
    struct request r[30] = { 0 }, s[30] = { 0 };
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(push(f, &r[i], i % 3, i % 3), FAIR_TAKEN);
        assert_int_equal(push(same, &s[i], i % 3, i % 3), FAIR_TAKEN);
    }
    for (uint32_t i = 0; i < 30; i++) {
        struct request *aside[8];
        size_t count = 0;
        while (count < i % 8 && (aside[count] = pop(f)) != NULL)
            count++;
        while (count)
            fair_put_back(f, &aside[--count]->item);
        struct request *one = pop(f), *other = pop(same);
        assert_int_equal(one - r, other - s);
        fair_settle(f, &one->item, 100 + i);
        fair_settle(same, &other->item, 100 + i);
    }
    assert_true(fair_is_empty(f));
    fair_free(f);
    fair_free(same);
}

static void pop_beside_stays_with_the_tenant(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[9] = { 0 };
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(push(f, &r[i], i % 3, 0), FAIR_TAKEN);
    struct request *first = pop(f);
    assert_ptr_equal(first, &r[0]);
    assert_ptr_equal(fair_pop_beside(f, &first->item), &r[3].item);
    assert_ptr_equal(fair_pop_beside(f, &first->item), &r[6].item);
    assert_null(fair_pop_beside(f, &first->item));
    fair_free(f);
}

/* ---- caps */

static void only_a_tenants_own_cap_refuses_it(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request flood[101] = { 0 }, other = { 0 }, large[2] = { 0 };
    for (int i = 0; i < 100; i++)
        assert_int_equal(push(f, &flood[i], 1, 0), FAIR_TAKEN);
    assert_int_equal(push(f, &flood[100], 1, 0), FAIR_REFUSED);
    assert_int_equal(push(f, &other, 2, 0), FAIR_TAKEN);
    large[0].item.bytes = 20000; /* larger than its cap, but its only one */
    assert_int_equal(push(f, &large[0], 3, 0), FAIR_TAKEN);
    assert_int_equal(push(f, &large[1], 3, 0), FAIR_REFUSED);
    struct request *next = pop(f);
    assert_int_equal(next->who, 1);
    assert_int_equal(push(f, &flood[100], 1, 0), FAIR_TAKEN);
    fair_free(f);
}

static void bytes_are_capped_for_one_and_for_all(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[20] = { 0 };
    for (uint32_t i = 0; i < 20; i++)
        r[i].item.bytes = 5000;
    assert_int_equal(push(f, &r[0], 1, 0), FAIR_TAKEN);
    assert_int_equal(push(f, &r[1], 1, 0), FAIR_TAKEN);
    assert_int_equal(push(f, &r[2], 1, 0), FAIR_REFUSED);
    for (uint32_t i = 2; i < 10; i++)
        assert_int_equal(push(f, &r[i], i, 0), FAIR_TAKEN);
    assert_int_equal(push(f, &r[10], 10, 0), FAIR_FULL); /* nobody's fault: it waits outside */
    struct request *next = pop(f);
    fair_settle(f, &next->item, 1);
    assert_int_equal(push(f, &r[10], 10, 0), FAIR_TAKEN);
    fair_free(f);
}

static void tenants_are_bounded_and_the_idle_make_room(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct request r[65] = { 0 };
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < 64; i++)
            assert_int_equal(push(f, &r[i], 1000 * round + i, 0), FAIR_TAKEN);
        assert_int_equal(push(f, &r[64], 1000 * round + 64, 0), FAIR_FULL);
        for (uint32_t i = 0; i < 64; i++)
            fair_settle(f, &pop(f)->item, 100 * i);
        assert_true(fair_is_empty(f));
    }
    fair_free(f);
}

/* ---- deadlines */

static void a_deadline_that_cannot_be_met_is_told_before(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct fair_item none = { 0 }, item = { .deadline_ns = 10000 };
    assert_int_equal(fair_due(f, &none, 1u << 30), FAIR_DUE);
    assert_int_equal(fair_due(f, &item, 9999), FAIR_DUE); /* nothing ran yet: nothing is known */
    assert_int_equal(fair_due(f, &item, 10000), FAIR_PASSED);
    fair_ran(f, 4000, false);
    assert_int_equal(fair_due(f, &item, 6000), FAIR_DUE);
    assert_int_equal(fair_due(f, &item, 6001), FAIR_HOPELESS);
    assert_int_equal(fair_due(f, &item, 10001), FAIR_PASSED);
    fair_free(f);
}

static void the_estimate_is_the_shortest_run_of_late(void **state)
{
    (void)state;
    struct fair *f = fresh();
    fair_ran(f, 80000, true); /* a batch says nothing of a single run, but that it is no longer */
    assert_int_equal(fair_estimate_ns(f), 0);
    fair_ran(f, 8000, false);
    fair_ran(f, 80000, true);
    assert_int_equal(fair_estimate_ns(f), 8000);
    fair_ran(f, 80000, false);
    assert_int_equal(fair_estimate_ns(f), 17000);
    fair_ran(f, 7000, true);
    assert_int_equal(fair_estimate_ns(f), 7000);
    fair_free(f);
}

static void one_slow_run_does_not_refuse_everything_for_ever(void **state)
{
    (void)state;
    struct fair *f = fresh();
    struct fair_item item = { .deadline_ns = 1000000 };
    int refused = 0;
    fair_ran(f, 1000000000, false);
    while (refused < 1000 && fair_due(f, &item, 0) == FAIR_HOPELESS)
        refused++;
    assert_in_range(refused, 1, 60);
    fair_free(f);
}

/* ---- one tenant at twenty times its share */

#define TENANTS    10u
#define SECONDS    20u
#define SECOND     1000000000ull
#define FIXED_NS   2000000ull /* of a batch */
#define ROW_NS     500000ull
#define ABUSER     0u
#define SIM_FRAMES 64u

struct simulation {
    uint32_t batch_max; /* requests that merge */
    uint64_t jitter;    /* a sender's: its interval by this */
    bool abuse;
    struct request *requests[TENANTS];
    size_t count[TENANTS], next[TENANTS];
    uint64_t served_ns[TENANTS], refused[TENANTS], longest;
};

static uint64_t batch_ns(uint32_t rows)
{
    return FIXED_NS + rows * ROW_NS;
}

/* What each may have: the capacity at full batches, in equal parts. */
static uint64_t interval_of(const struct simulation *sim, uint32_t who)
{
    uint64_t fair = TENANTS * batch_ns(sim->batch_max) / sim->batch_max;
    return who == ABUSER ? fair / 20 : fair * 100 / 97;
}

/* Regular senders with a jitter, the same with and without the abuser. */
static void arrivals(struct simulation *sim, uint64_t seed)
{
    for (uint32_t who = 0; who < TENANTS; who++) {
        struct dice dice = { seed + who };
        uint64_t interval = interval_of(sim, who), at = dice_roll(&dice) % interval;
        sim->count[who] = who == ABUSER && !sim->abuse ? 0 : SECONDS * SECOND / interval;
        sim->requests[who] = calloc(sim->count[who] + 1, sizeof(struct request));
        for (size_t i = 0; i < sim->count[who]; i++, at += interval)
            sim->requests[who][i].arrived = at + dice_roll(&dice) % (interval / sim->jitter);
    }
}

/* Whose request comes next; TENANTS: nobody's. */
static uint32_t next_sender(const struct simulation *sim, uint64_t *out_when)
{
    uint32_t sender = TENANTS;
    *out_when = UINT64_MAX;
    for (uint32_t who = 0; who < TENANTS; who++) {
        if (sim->next[who] == sim->count[who] ||
            sim->requests[who][sim->next[who]].arrived >= *out_when)
            continue;
        sender = who;
        *out_when = sim->requests[who][sim->next[who]].arrived;
    }
    return sender;
}

static void arrive(struct simulation *sim, struct fair *f, uint64_t now)
{
    uint64_t when;
    uint32_t who;
    while ((who = next_sender(sim, &when)) < TENANTS && when <= now)
        if (push(f, &sim->requests[who][sim->next[who]++], who, 0) != FAIR_TAKEN)
            sim->refused[who]++;
}

/* One batch, as the worker fills it; its end. */
static uint64_t serve(struct simulation *sim, struct fair *f, uint64_t now)
{
    struct request *members[64];
    uint32_t count = 0;
    while (count < sim->batch_max && (members[count] = pop(f)) != NULL)
        members[count++]->begun = now;
    uint64_t ns = batch_ns(count);
    sim->longest = ns > sim->longest ? ns : sim->longest;
    fair_ran(f, ns, count > 1);
    for (uint32_t i = 0; i < count; i++) {
        fair_settle(f, &members[i]->item, ns / count);
        sim->served_ns[members[i]->who] += ns / count;
    }
    return now + ns;
}

static void simulate(struct simulation *sim, uint64_t seed)
{
    const struct fair_limits limits = {
        .tenants = 64, .frames = SIM_FRAMES, .bytes = 1 << 20, .all_bytes = 1 << 24
    };
    struct fair *f = fair_new(&limits);
    arrivals(sim, seed);
    for (uint64_t now = 0; now < SECONDS * SECOND;) {
        arrive(sim, f, now);
        if (fair_is_empty(f))
            next_sender(sim, &now);
        else
            now = serve(sim, f, now);
    }
    fair_free(f);
}

static void release(struct simulation *sim)
{
    for (uint32_t who = 0; who < TENANTS; who++)
        free(sim->requests[who]);
}

static uint64_t wait_of(const struct request *r)
{
    return r->begun - r->arrived;
}

/* None of the others is refused, each gets 95 % of its share, and waits at most so many halves of
 * the longest batch more than without the abuser. */
static void compare(const struct simulation *with, const struct simulation *without,
                    uint64_t halves)
{
    assert_true(with->refused[ABUSER] > 0);
    for (uint32_t who = 1; who < TENANTS; who++) {
        assert_int_equal(with->refused[who], 0);
        assert_true(with->served_ns[who] * TENANTS * 100 >= SECONDS * SECOND * 95);
        for (size_t i = 0; i < with->count[who]; i++) {
            const struct request *r = &with->requests[who][i], *calm = &without->requests[who][i];
            if (!r->begun || !calm->begun)
                continue; /* the simulation ended */
            if (wait_of(r) > wait_of(calm) + with->longest * halves / 2)
                fail_msg("tenant %u, request %zu: waits %llu us instead of %llu, a batch is %llu",
                         who, i, (unsigned long long)wait_of(r) / 1000,
                         (unsigned long long)wait_of(calm) / 1000,
                         (unsigned long long)with->longest / 1000);
        }
    }
}

static void abuse(uint32_t batch_max, uint64_t jitter, uint64_t halves)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct simulation with = { .batch_max = batch_max, .jitter = jitter, .abuse = true };
        struct simulation without = { .batch_max = batch_max, .jitter = jitter };
        simulate(&with, seed * 1000);
        simulate(&without, seed * 1000);
        compare(&with, &without, halves);
        release(&with);
        release(&without);
    }
}

static void twenty_times_the_share_is_the_abusers_own_trouble(void **state)
{
    (void)state;
    abuse(1, 50, 3);
}

static void twenty_times_the_share_in_batches_too(void **state)
{
    (void)state;
    abuse(16, 4, 3);
    abuse(4, 4, 4); /* a batch that has no room for all of them: one more is waited for, in part */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_is_served_in_the_order_of_arrival),
        cmocka_unit_test(costs_decide_whose_turn_it_is),
        cmocka_unit_test(a_weight_is_a_share),
        cmocka_unit_test(who_was_away_neither_saves_nor_owes),
        cmocka_unit_test(put_back_leaves_everything_as_it_was),
        cmocka_unit_test(pop_beside_stays_with_the_tenant),
        cmocka_unit_test(only_a_tenants_own_cap_refuses_it),
        cmocka_unit_test(bytes_are_capped_for_one_and_for_all),
        cmocka_unit_test(tenants_are_bounded_and_the_idle_make_room),
        cmocka_unit_test(a_deadline_that_cannot_be_met_is_told_before),
        cmocka_unit_test(the_estimate_is_the_shortest_run_of_late),
        cmocka_unit_test(one_slow_run_does_not_refuse_everything_for_ever),
        cmocka_unit_test(twenty_times_the_share_is_the_abusers_own_trouble),
        cmocka_unit_test(twenty_times_the_share_in_batches_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
