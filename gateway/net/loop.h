/*
 * loop.h: one event loop on libh2o's evloop, one thread each. All of it is [loop]: called on the
 * loop's own thread, but for loop_post and loop_stop, which are [any].
 *
 * A turn:  turn.before_poll → poll (blocks only if before_poll said nothing is left to do) →
 * turn.after_poll h2o.h appears behind net/ only: this header names no type of the library.
 */
#ifndef MAAS_NET_LOOP_H
#define MAAS_NET_LOOP_H

#include "base/base.h"

struct loop;

/* What runs once a turn. Several may be added; all are called, in order. */
struct loop_turn {
    /* Just before polling. True: work is left, poll without waiting. Rings set `sleeping` here. */
    bool (*before_poll)(void *arg);
    /* Just after polling and before the events of the next poll: drain rings, flush batches. */
    void (*after_poll)(void *arg);
    void *arg;
};

maas_status MUST_USE loop_new(uint32_t index, struct loop **out, maas_error *error);
void loop_free(struct loop *loop);
uint32_t loop_index(const struct loop *loop);
void loop_add_turn(struct loop *loop, const struct loop_turn *turn); /* copied; at most 8 */
void loop_run(struct loop *loop);                                    /* until loop_stop */
void loop_stop(struct loop *loop);                                   /* [any] */
uint64_t loop_now_ns(const struct loop *loop);  /* CLOCK_MONOTONIC as read once this turn */
uint64_t loop_real_us(const struct loop *loop); /* CLOCK_REALTIME, likewise */
uint64_t
loop_turns(const struct loop *loop); /* [any] counts turns (relaxed): the liveness of /healthz */

#define LOOP_SLOW_NS 20000000ull
uint64_t loop_slow_turns(const struct loop *loop); /* [any] turns that worked longer than that */

/* Runs post->run(post) on the loop, in order. The poster owns the memory until it ran. [any] */
struct loop_post {
    struct loop_post *next;
    void (*run)(struct loop_post *post);
};
void loop_post(struct loop *loop, struct loop_post *post);

/*
 * ---- one-shot timers, intrusive; millisecond resolution; start of a running timer moves it. Start
 * and stop are O(1) (wheel.h). A timer may stop, start or free any timer, itself too, while it
 * fires. Zeroed memory is a timer that does not run.
 */
struct timer {
    void (*fire)(struct timer *timer);
    struct loop *loop;
    uint64_t due_ns;            /* 0: not running */
    struct timer *next, **link; /* private: the wheel's list */
    uint64_t tick;              /* private: due, in the wheel's milliseconds */
    uint32_t slot;              /* private: where in the wheel */
};
void timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms);
void timer_stop(struct timer *timer);

/*
 * ---- a foreign descriptor on the loop (hiredis, libpq, eventfd). The descriptor is dup'ed: each
 * side closes its own. Level-triggered; on_readable/on_writable do their own I/O on the foreign
 * descriptor. A callback may free the watch.
 */
struct watch;
struct watch_ops {
    void (*on_readable)(void *arg);
    void (*on_writable)(void *arg);
};
maas_status MUST_USE watch_new(struct loop *loop, int fd, const struct watch_ops *ops, void *arg,
                               struct watch **out, maas_error *error);
void watch_want_read(struct watch *watch, bool on); /* off at birth */
void watch_want_write(struct watch *watch,
                      bool on); /* one event a call: ask again to get the next */
void watch_free(struct watch *watch);

#endif
