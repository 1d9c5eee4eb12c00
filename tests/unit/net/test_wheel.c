/* The timing wheel: pure, so time is a number here. */
#include "net/wheel.h"
#include "../../support/dice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 2000 };

struct probe {
    struct timer timer;
    unsigned fired;
    uint64_t fired_at; /* the wheel's present */
};

static struct wheel wheel;

static void on_fire(struct timer *timer)
{
    struct probe *probe = (struct probe *)timer;
    probe->fired++;
    probe->fired_at = wheel.now;
}

static void add(struct probe *probe, uint64_t tick)
{
    probe->timer.fire = on_fire;
    probe->timer.due_ns = 1;
    wheel_add(&wheel, &probe->timer, tick);
}

static void a_timer_fires_at_its_tick_and_once(void **state)
{
    (void)state;
    const uint64_t ticks[] = { 1,
                               2,
                               63,
                               64,
                               65,
                               4095,
                               4096,
                               4097,
                               262143,
                               262144,
                               1000000,
                               16777216,
                               16777217,
                               UINT64_C(1) << 30,
                               UINT64_C(1) << 36 };
    for (size_t i = 0; i < COUNT_OF(ticks); i++) {
        struct probe probe = { 0 };
        wheel_init(&wheel, 0);
        add(&probe, ticks[i]);
        wheel_advance(&wheel, ticks[i] - 1);
        assert_int_equal(probe.fired, 0);
        wheel_advance(&wheel, ticks[i]);
        assert_int_equal(probe.fired, 1);
        assert_int_equal(probe.timer.due_ns, 0);
        wheel_advance(&wheel, ticks[i] * 2);
        assert_int_equal(probe.fired, 1);
        assert_true(wheel_next(&wheel) == UINT64_MAX);
    }
}

static void a_timer_in_the_past_fires_at_the_next_advance(void **state)
{
    (void)state;
    struct probe probe = { 0 };
    wheel_init(&wheel, 500);
    add(&probe, 3);
    wheel_advance(&wheel, 501);
    assert_int_equal(probe.fired, 1);
}

static void the_next_tick_is_never_later_than_the_next_timer(void **state)
{
    (void)state;
    struct probe probe = { 0 };
    wheel_init(&wheel, 100);
    add(&probe, 100000);
    unsigned steps = 0;
    while (probe.fired == 0) {
        const uint64_t next = wheel_next(&wheel);
        assert_true(next > wheel.now && next <= 100000);
        wheel_advance(&wheel, next);
        steps++;
    }
    assert_int_equal(probe.fired_at, 100000);
    assert_true(steps <= WHEEL_LEVELS);
}

static void many_timers_added_moved_and_removed_fire_when_they_should(void **state)
{
    (void)state;
    static struct probe probes[MANY];
    static uint64_t due[MANY]; /* 0: not running */
    memset(probes, 0, sizeof(probes));
    memset(due, 0, sizeof(due));
    wheel_init(&wheel, 0);
    struct dice dice = { 42 };
    for (uint64_t now = 0; now < 3000000; now += 1 + dice_roll(&dice) % 5000) {
        wheel_advance(&wheel, now);
        for (size_t i = 0; i < MANY; i++) {
            if (due[i] == 0)
                continue;
            assert_int_equal(probes[i].fired, due[i] <= now);
            if (probes[i].fired != 0) {
                assert_int_equal(probes[i].fired_at, due[i]);
                due[i] = probes[i].fired = 0;
            }
        }
        for (int k = 0; k < 20; k++) {
            const size_t i = dice_roll(&dice) % MANY;
            if (due[i] != 0)
                wheel_remove(&wheel, &probes[i].timer);
            due[i] = dice_roll(&dice) % 4 == 0
                         ? 0
                         : now + 1 + dice_roll(&dice) % (1u << (dice_roll(&dice) % 22));
            if (due[i] != 0)
                add(&probes[i], due[i]);
        }
    }
}

static struct probe other;

static void fire_and_remove_other(struct timer *timer)
{
    on_fire(timer);
    if (other.timer.due_ns != 0) {
        wheel_remove(&wheel, &other.timer);
        other.timer.due_ns = 0;
    }
}

static void a_timer_may_remove_another_that_is_due_at_the_same_tick(void **state)
{
    (void)state;
    struct probe probe = { 0 };
    memset(&other, 0, sizeof(other));
    wheel_init(&wheel, 0);
    add(&other, 10);
    add(&probe, 10);
    probe.timer.fire = fire_and_remove_other;
    other.timer.fire = on_fire;
    wheel_advance(&wheel, 20);
    assert_int_equal(probe.fired + other.fired, probe.fired_at != 0 && other.fired ? 2 : 1);
    assert_true(wheel_next(&wheel) == UINT64_MAX);
}

static void fire_again(struct timer *timer)
{
    on_fire(timer);
    timer->due_ns = 1;
    wheel_add(&wheel, timer, wheel.now + 10);
}

static void a_timer_may_start_itself_again(void **state)
{
    (void)state;
    struct probe probe = { 0 };
    wheel_init(&wheel, 0);
    add(&probe, 10);
    probe.timer.fire = fire_again;
    wheel_advance(&wheel, 100);
    assert_int_equal(probe.fired, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_at_its_tick_and_once),
        cmocka_unit_test(a_timer_in_the_past_fires_at_the_next_advance),
        cmocka_unit_test(the_next_tick_is_never_later_than_the_next_timer),
        cmocka_unit_test(many_timers_added_moved_and_removed_fire_when_they_should),
        cmocka_unit_test(a_timer_may_remove_another_that_is_due_at_the_same_tick),
        cmocka_unit_test(a_timer_may_start_itself_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
