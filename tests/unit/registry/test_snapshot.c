/* test_snapshot.c: who finds which deployment under a name. No database. */
#include "registry/registry_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static const struct uuid acme = { { 1 } }, other = { { 2 } }, third = { { 3 } };

static struct deployment make(const struct uuid *owner, const char *name, uint32_t version)
{
    struct deployment d = { .owner = *owner, .version = version };
    snprintf(d.name, sizeof d.name, "%s", name);
    return d;
}

static struct snapshot *sample(void)
{
    static const struct uuid platform;
    struct deployment *d = calloc(5, sizeof *d);
    assert_non_null(d);
    d[0] = make(&acme, "house", 1);
    d[1] = make(&platform, "house", 2);
    d[1].granted_to_all = true;
    d[2] = make(&platform, "secret", 3);
    d[2].grants = calloc(2, sizeof *d[2].grants);
    assert_non_null(d[2].grants);
    d[2].grants[0] = acme;
    d[2].grants[1] = third;
    d[2].grant_count = 2;
    d[3] = make(&other, "mine", 4);
    d[4] = make(&platform, "nobody", 5);
    return snapshot_new(d, 5, 7);
}

static uint32_t version_of(const struct snapshot *s, const struct uuid *tenant, const char *name)
{
    const struct deployment *d = snapshot_resolve(s, tenant, str_of(name));
    return d ? d->version : 0;
}

static void a_tenants_own_deployment_wins_over_the_platforms(void **state)
{
    (void)state;
    struct snapshot *s = sample();
    assert_int_equal(version_of(s, &acme, "house"), 1);
    assert_int_equal(version_of(s, &other, "house"), 2);
    snapshot_unref(s);
}

static void a_grant_opens_a_platform_deployment_to_that_tenant_only(void **state)
{
    (void)state;
    struct snapshot *s = sample();
    assert_int_equal(version_of(s, &acme, "secret"), 3);
    assert_int_equal(version_of(s, &third, "secret"), 3);
    assert_int_equal(version_of(s, &other, "secret"), 0);
    assert_int_equal(version_of(s, &acme, "nobody"), 0);
    snapshot_unref(s);
}

static void foreign_and_missing_look_the_same(void **state)
{
    (void)state;
    struct snapshot *s = sample();
    assert_int_equal(version_of(s, &other, "mine"), 4);
    assert_null(snapshot_resolve(s, &acme, STR("mine")));
    assert_null(snapshot_resolve(s, &acme, STR("missing")));
    assert_null(snapshot_resolve(s, &acme, STR("")));
    char longer[100] = { [0 ... 98] = 'a' };
    assert_null(snapshot_resolve(s, &acme, str_of(longer)));
    assert_false(deployment_visible(&s->deployments[3], &acme));
    assert_true(deployment_visible(&s->deployments[3], &other));
    snapshot_unref(s);
}

static void thousands_are_all_found_and_an_empty_one_finds_nothing(void **state)
{
    (void)state;
    struct snapshot *empty = snapshot_new(NULL, 0, 0);
    assert_null(snapshot_resolve(empty, &acme, STR("house")));
    snapshot_unref(empty);
    struct deployment *d = calloc(3000, sizeof *d);
    assert_non_null(d);
    char name[32];
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "model-%u", i / 3);
        d[i] = make(i % 3 == 0 ? &acme : i % 3 == 1 ? &other : &third, name, i + 1);
    }
    struct snapshot *s = snapshot_new(d, 3000, 1);
    struct snapshot *again = snapshot_ref(s);
    snapshot_unref(s);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "model-%u", i / 3);
        assert_int_equal(version_of(again,
                                    i % 3 == 0   ? &acme
                                    : i % 3 == 1 ? &other
                                                 : &third,
                                    name),
                         i + 1);
    }
    snapshot_unref(again);
}

static void the_budget_lets_a_second_worth_through_and_counts_what_comes_back(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 100);
    uint64_t now = 5000000000u;
    unsigned taken = 0;
    while (budget_take(&budget, now))
        taken++;
    assert_int_equal(taken, 100);
    budget_return(&budget);
    assert_true(budget_take(&budget, now));
    assert_false(budget_take(&budget, now));
    assert_true(budget_take(&budget, now + 10000000));
    assert_false(budget_take(&budget, now + 10000000));
    for (taken = 0; budget_take(&budget, now + 60000000000u); taken++)
        ;
    assert_int_equal(taken, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenants_own_deployment_wins_over_the_platforms),
        cmocka_unit_test(a_grant_opens_a_platform_deployment_to_that_tenant_only),
        cmocka_unit_test(foreign_and_missing_look_the_same),
        cmocka_unit_test(thousands_are_all_found_and_an_empty_one_finds_nothing),
        cmocka_unit_test(the_budget_lets_a_second_worth_through_and_counts_what_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
