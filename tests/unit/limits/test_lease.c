/* test_lease.c: tokens in hand: expiry, the two slots, giving back, and many spenders at once. */
#include "limits/lease.h"
#include "limits/local.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static bool take(struct lease *lease, uint32_t cost, uint64_t now)
{
    struct lease_taken taken;
    uint64_t left;
    return lease_take(lease, cost, now, &taken, &left);
}

static void a_lease_is_spent_to_the_last_token_and_not_after_its_expiry(void **state)
{
    (void)state;
    struct lease lease = { 0 };
    assert_false(take(&lease, 1, 0));
    lease_install(&lease, 3, 100, 10);
    assert_true(take(&lease, 2, 99));
    assert_int_equal(lease_tokens(&lease, 99), 1);
    assert_int_equal(lease_tokens(&lease, 100), 0);
    assert_false(take(&lease, 1, 100));
    assert_true(take(&lease, 1, 99));
    assert_false(take(&lease, 1, 99));
}

static void each_token_keeps_its_own_expiry_and_the_older_go_first(void **state)
{
    (void)state;
    struct lease lease = { 0 };
    lease_install(&lease, 2, 100, 0);
    lease_install(&lease, 5, 150, 50);
    assert_true(take(&lease, 1, 60));
    assert_int_equal(lease_tokens(&lease, 60), 6);
    assert_int_equal(lease_tokens(&lease, 100), 5); /* one of the older expired */
    lease_install(&lease, 4, 200, 110);
    assert_int_equal(lease_tokens(&lease, 110), 9);
    assert_int_equal(lease_tokens(&lease, 150), 4);
}

static void a_cost_may_come_from_both_slots_or_from_none(void **state)
{
    (void)state;
    struct lease lease = { 0 };
    lease_install(&lease, 2, 100, 0);
    lease_install(&lease, 3, 150, 0);
    assert_false(take(&lease, 6, 10));
    assert_int_equal(lease_tokens(&lease, 10), 5);
    assert_true(take(&lease, 5, 10));
    assert_int_equal(lease_raw(&lease), 0);
}

static void a_third_lease_shortens_lives_but_never_lengthens_one(void **state)
{
    (void)state;
    struct lease lease = { 0 };
    lease_install(&lease, 1, 100, 0);
    lease_install(&lease, 2, 150, 0);
    lease_install(&lease, 4, 200, 0);
    assert_int_equal(lease_tokens(&lease, 0), 7);
    assert_int_equal(lease_tokens(&lease, 100), 4);
    assert_int_equal(lease_tokens(&lease, 199), 4);
    assert_int_equal(lease_tokens(&lease, 200), 0);
}

static void giving_back_counts_only_while_the_same_lease_is_in_hand(void **state)
{
    (void)state;
    struct lease lease = { 0 };
    struct lease_taken taken;
    uint64_t left;
    lease_install(&lease, 5, 100, 0);
    assert_true(lease_take(&lease, 3, 0, &taken, &left));
    assert_int_equal(left, 2);
    lease_give_back(&lease, &taken);
    assert_int_equal(lease_tokens(&lease, 0), 5);
    assert_true(lease_take(&lease, 5, 0, &taken, &left));
    lease_install(&lease, 7, 200, 0);
    lease_give_back(&lease, &taken); /* it lies in the other slot and runs on */
    assert_int_equal(lease_tokens(&lease, 0), 12);
    assert_true(lease_take(&lease, 12, 0, &taken, &left));
    lease_install(&lease, 1, 300, 0);
    lease_install(&lease, 2, 400, 0);
    lease_give_back(&lease, &taken); /* both slots were taken by later leases */
    assert_int_equal(lease_raw(&lease), 3);
}

/* ---- many spenders, one refiller: nothing is spent twice */

enum { SPENDERS = 3, HAMMER_MS = 150 };
static struct lease shared;
static _Atomic uint64_t clock_now, spent_in_all;
static _Atomic bool done;

static void *spender(void *arg)
{
    (void)arg;
    uint64_t spent = 0;
    struct lease_taken taken;
    uint64_t left;
    for (uint32_t i = 0; !atomic_load(&done); i++) {
        uint32_t cost = 1 + i % 4;
        if (!lease_take(&shared, cost, atomic_load(&clock_now), &taken, &left))
            continue;
        if (i % 5 == 0)
            lease_give_back(&shared, &taken); /* perhaps lost, never doubled */
        else
            spent += cost;
    }
    atomic_fetch_add(&spent_in_all, spent);
    return NULL;
}

static void many_spenders_never_spend_more_than_was_leased(void **state)
{
    (void)state;
    pthread_t threads[SPENDERS];
    uint64_t granted = 0;
    for (int i = 0; i < SPENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spender, NULL), 0);
    uint64_t end_ns = clock_mono_ns() + HAMMER_MS * 1000000ull;
    for (uint32_t i = 0; clock_mono_ns() < end_ns; i++) {
        uint64_t now = atomic_fetch_add(&clock_now, 1) + 1;
        lease_install(&shared, 1 + i % 50, now + 3, now);
        granted += 1 + i % 50;
        if (i % 8 == 0)
            sched_yield();
    }
    atomic_store(&done, true);
    for (int i = 0; i < SPENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&spent_in_all) + lease_raw(&shared) <= granted);
    assert_true(atomic_load(&spent_in_all) > 0);
}

/* ---- the local bucket */

static void the_local_bucket_starts_empty_and_fills_at_its_share(void **state)
{
    (void)state;
    struct local_plan plan;
    struct local local = { 0 };
    uint64_t wait_ns, second = 1000000000, start = 5 * second;
    local_plan_of(&(struct rate){ 100, 1000, 40 }, 4, &plan); /* 25 a second, 10 at once */
    assert_false(local_take(&local, &plan, 1, start, start, &wait_ns));
    assert_int_equal(wait_ns, 40000000);
    assert_false(local_take(&local, &plan, 1, 0, start + 39999999, &wait_ns));
    assert_int_equal(wait_ns, 1);
    assert_true(local_take(&local, &plan, 1, 0, start + 40000000, &wait_ns));
    uint64_t later = start + 60 * second, admitted = 0;
    while (local_take(&local, &plan, 1, 0, later, &wait_ns))
        admitted++;
    assert_int_equal(admitted, 10);
    local_give_back(&local, &plan, 1);
    assert_int_equal(local_tokens(&local, &plan, later), 1);
    assert_true(local_take(&local, &plan, 1, 0, later, &wait_ns));
    assert_false(local_take(&local, &plan, 11, 0, later + 100 * second, &wait_ns));
    assert_int_equal(wait_ns, UINT64_MAX);
}

static void the_local_bucket_of_a_later_outage_starts_empty_again(void **state)
{
    (void)state;
    struct local_plan plan;
    struct local local = { 0 };
    uint64_t wait_ns, second = 1000000000;
    local_plan_of(&(struct rate){ 1, 1000, 100 }, 1, &plan);
    assert_true(local_take(&local, &plan, 5, second, 7 * second, &wait_ns));
    local_sleep(&local);
    assert_false(local_take(&local, &plan, 1, 90 * second, 90 * second, &wait_ns));
    assert_true(local_take(&local, &plan, 1, 90 * second, 91 * second, &wait_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_spent_to_the_last_token_and_not_after_its_expiry),
        cmocka_unit_test(each_token_keeps_its_own_expiry_and_the_older_go_first),
        cmocka_unit_test(a_cost_may_come_from_both_slots_or_from_none),
        cmocka_unit_test(a_third_lease_shortens_lives_but_never_lengthens_one),
        cmocka_unit_test(giving_back_counts_only_while_the_same_lease_is_in_hand),
        cmocka_unit_test(many_spenders_never_spend_more_than_was_leased),
        cmocka_unit_test(the_local_bucket_starts_empty_and_fills_at_its_share),
        cmocka_unit_test(the_local_bucket_of_a_later_outage_starts_empty_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
