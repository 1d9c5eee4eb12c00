/*
 * wheel.h: a hierarchical timing wheel: timers keyed by a tick, start and stop in O(1), the next
 * expiry in O(levels). Knows no clock: `now` is an argument. Private to net. [one owner]
 *
 * Seven levels of 64 slots: a slot of level n spans 64^n ticks. A timer sits at the level of the
 * highest base-64 digit in which its tick differs from the wheel's present, so it moves down at
 * most once a level before it fires.
 */
#ifndef MAAS_NET_WHEEL_H
#define MAAS_NET_WHEEL_H

#include "net/loop.h"

#define WHEEL_BITS   6
#define WHEEL_SLOTS  (1u << WHEEL_BITS)
#define WHEEL_LEVELS 7

struct wheel {
    uint64_t now;                    /* every tick up to here has fired */
    uint64_t occupied[WHEEL_LEVELS]; /* one bit per slot that holds a timer */
    struct timer *slots[WHEEL_LEVELS * WHEEL_SLOTS];
    struct timer *firing; /* taken out of its slot, waits for its turn */
};

void wheel_init(struct wheel *w, uint64_t now);
/* Puts a timer that is not in the wheel. A tick that is past fires at the next advance. */
void wheel_add(struct wheel *w, struct timer *timer, uint64_t tick);
void wheel_remove(struct wheel *w, struct timer *timer);
/* The tick at which wheel_advance has work next; UINT64_MAX when empty. Never later than the next
 * timer, sometimes earlier (a slot of a higher level has to be spread). */
uint64_t wheel_next(const struct wheel *w);
/* Fires everything due at or before `now`, in the order of the ticks. Clears due_ns before each
 * fire. */
void wheel_advance(struct wheel *w, uint64_t now);

#endif
