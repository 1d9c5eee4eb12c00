/* loop_until.h: runs a loop from a test until a condition holds or time is up. Header only. */
#ifndef MAAS_TESTS_LOOP_UNTIL_H
#define MAAS_TESTS_LOOP_UNTIL_H

#include "net/loop.h"

struct loop_until {
    struct timer timer;
    struct loop *loop;
    bool (*condition)(void *arg);
    void *arg;
    uint64_t end_ns;
    bool held;
};

static inline void loop_until_fire(struct timer *timer)
{
    struct loop_until *u = (struct loop_until *)timer;
    u->held = u->condition && u->condition(u->arg);
    if (u->held || loop_now_ns(u->loop) >= u->end_ns)
        loop_stop(u->loop);
    else
        timer_start(u->loop, &u->timer, 1);
}

/* Looks at it every millisecond; false when it did not hold within `ms`. */
static inline bool loop_until(struct loop *loop, uint32_t ms, bool (*condition)(void *arg),
                              void *arg)
{
    struct loop_until u = { .timer.fire = loop_until_fire,
                            .loop = loop,
                            .condition = condition,
                            .arg = arg,
                            .end_ns = clock_mono_ns() + 1000000ull * ms };
    timer_start(loop, &u.timer, 0);
    loop_run(loop);
    timer_stop(&u.timer);
    return u.held;
}

static inline void loop_for(struct loop *loop, uint32_t ms)
{
    (void)loop_until(loop, ms, NULL, NULL);
}

#endif
