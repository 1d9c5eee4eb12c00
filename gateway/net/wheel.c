/*
 * wheel.c: the timing wheel behind loop.h's timers.
 *
 * A timer's level is the position of the highest base-64 digit in which its tick and the wheel's
 * present differ; all higher digits agree, so within a level the slots after the present one are in
 * time order and never wrap. The lowest occupied level holds the earliest timers. When the present
 * reaches the start of a slot of a higher level, the slot's timers are added again and land lower.
 *
 * Rejected: a heap (O(log n) for the stop of every request's deadline, 512 deep under load) and
 * libh2o's h2o_timeout_t (one list per fixed duration, on the wall clock).
 */
#include "net/wheel.h"

#include <string.h>

#define FIRING UINT32_MAX

static void list_push(struct timer **head, struct timer *timer)
{
    timer->next = *head;
    timer->link = head;
    if (*head != NULL)
        (*head)->link = &timer->next;
    *head = timer;
}

static void list_unlink(struct timer *timer)
{
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
}

void wheel_init(struct wheel *w, uint64_t now)
{
    memset(w, 0, sizeof(*w));
    w->now = now;
}

void wheel_add(struct wheel *w, struct timer *timer, uint64_t tick)
{
    if (tick <= w->now)
        tick = w->now + 1;
    const unsigned high = 63u - (unsigned)__builtin_clzll((w->now ^ tick) | (WHEEL_SLOTS - 1));
    unsigned level = high / WHEEL_BITS;
    if (level >= WHEEL_LEVELS)
        level = WHEEL_LEVELS - 1; /* beyond 139 years */
    const unsigned slot = (unsigned)(tick >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1);
    timer->tick = tick;
    timer->slot = level * WHEEL_SLOTS + slot;
    list_push(&w->slots[timer->slot], timer);
    w->occupied[level] |= UINT64_C(1) << slot;
}

void wheel_remove(struct wheel *w, struct timer *timer)
{
    list_unlink(timer);
    if (timer->slot != FIRING && w->slots[timer->slot] == NULL)
        w->occupied[timer->slot / WHEEL_SLOTS] &= ~(UINT64_C(1) << (timer->slot % WHEEL_SLOTS));
}

/* The first occupied slot in time order as its index in slots[], and the tick it starts at. */
static bool first_slot(const struct wheel *w, uint32_t *out_index, uint64_t *out_tick)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (w->occupied[level] == 0)
            continue;
        const unsigned slot = (unsigned)__builtin_ctzll(w->occupied[level]);
        const unsigned shift = level * WHEEL_BITS;
        const uint64_t higher = w->now >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);
        *out_index = level * WHEEL_SLOTS + slot;
        *out_tick = higher | ((uint64_t)slot << shift);
        return true;
    }
    return false;
}

uint64_t wheel_next(const struct wheel *w)
{
    uint32_t index;
    uint64_t tick;
    return first_slot(w, &index, &tick) ? tick : UINT64_MAX;
}

/* Takes a slot's timers out into `firing`, which tolerates removal by the timers that fire. */
static void take_slot(struct wheel *w, uint32_t index)
{
    w->occupied[index / WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % WHEEL_SLOTS));
    while (w->slots[index] != NULL) {
        struct timer *timer = w->slots[index];
        list_unlink(timer);
        timer->slot = FIRING;
        list_push(&w->firing, timer);
    }
}

static void run_slot(struct wheel *w)
{
    while (w->firing != NULL) {
        struct timer *timer = w->firing;
        list_unlink(timer);
        if (timer->tick > w->now) {
            wheel_add(w, timer, timer->tick);
            continue;
        }
        timer->due_ns = 0;
        timer->fire(timer);
    }
}

void wheel_advance(struct wheel *w, uint64_t now)
{
    uint32_t index;
    uint64_t tick;
    while (first_slot(w, &index, &tick) && tick <= now) {
        w->now = tick;
        take_slot(w, index);
        run_slot(w);
    }
    if (now > w->now)
        w->now = now;
}
