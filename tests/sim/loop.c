/*
 * loop.c: net/loop.h on the world's clock. A turn: what happened, posts, after_poll, then
 * before_poll of the next one. A loop that is stalled gets its events when it is scheduled again.
 */
#include "sim.h"

#include <stdlib.h>

struct loop {
    uint64_t stalled_until_ns;
    int64_t mono_offset_ns, real_offset_us;
    struct loop_turn turns[8];
    size_t turn_count;
    struct loop_post *posts;
};

/* 2026-01-01, so that wall clocks look like some. */
#define REAL_US 1767225600000000ull

struct loop *sim_loop(int64_t mono_offset_ns, int64_t real_offset_us)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    CHECK(loop);
    loop->mono_offset_ns = mono_offset_ns;
    loop->real_offset_us = real_offset_us;
    return loop;
}

void sim_loop_end(struct loop *loop)
{
    forget(loop);
    free(loop);
}

void sim_loop_jump(struct loop *loop, int64_t by_us)
{
    loop->real_offset_us += by_us;
}

void sim_loop_stall(struct loop *loop, uint64_t ns)
{
    loop->stalled_until_ns = sim_now_ns() + ns;
}

uint64_t sim_stalled_until(const struct loop *loop)
{
    return loop->stalled_until_ns;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return (uint64_t)((int64_t)sim_now_ns() + loop->mono_offset_ns);
}

uint64_t loop_real_us(const struct loop *loop)
{
    return (uint64_t)((int64_t)(REAL_US + sim_now_ns() / 1000) + loop->real_offset_us);
}

void loop_add_turn(struct loop *loop, const struct loop_turn *turn)
{
    CHECK(loop->turn_count < COUNT_OF(loop->turns));
    loop->turns[loop->turn_count++] = *turn;
}

static void nothing(void *arg, uint64_t number)
{
    (void)arg, (void)number;
}

static void run_posts(struct loop *loop)
{
    struct loop_post *first = loop->posts;
    loop->posts = NULL;
    while (first) {
        struct loop_post *post = first;
        first = post->next;
        post->run(post);
    }
}

void sim_turn_ends(struct loop *loop)
{
    bool more = false;
    run_posts(loop);
    for (size_t i = 0; i < loop->turn_count; i++)
        loop->turns[i].after_poll(loop->turns[i].arg);
    for (size_t i = 0; i < loop->turn_count; i++)
        more |= loop->turns[i].before_poll(loop->turns[i].arg);
    if (more || loop->posts)
        at(1000, loop, nothing, NULL, 0);
}

void loop_post(struct loop *loop, struct loop_post *post)
{
    struct loop_post **end = &loop->posts;
    while (*end)
        end = &(*end)->next;
    post->next = NULL;
    *end = post;
    at(1000 + any(50000), loop, nothing, NULL, 0);
}

/* `tick` counts the starts and stops of a timer: an event of an older one is none. */
static void on_timer(void *arg, uint64_t number)
{
    struct timer *timer = arg;
    if (timer->due_ns == 0 || timer->tick != number)
        return;
    timer->due_ns = 0;
    timer->fire(timer);
}

void timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms)
{
    timer->loop = loop;
    timer->tick++;
    timer->due_ns = loop_now_ns(loop) + delay_ms * MS + 1;
    at(delay_ms * MS + any(MS), loop, on_timer, timer, timer->tick);
}

void timer_stop(struct timer *timer)
{
    timer->due_ns = 0;
    timer->tick++;
}
