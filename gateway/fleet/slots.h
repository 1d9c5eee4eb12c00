/*
 * slots.h: the requests that one loop has in flight on one worker, by slot. Private to fleet/.
 * [loop]
 *
 * A slot's number and generation make the job id, so a late or forged answer names no other
 * request. A slot outlives a request that ended by its deadline: it stays busy, without a job,
 * until the worker answers or dies.
 */
#ifndef MAAS_FLEET_SLOTS_H
#define MAAS_FLEET_SLOTS_H

#include "fleet/fleet.h"

struct slot {
    struct job *job;     /* NULL while free, and when the request ended before its work */
    uint64_t overdue_ns; /* when it ended so */
    uint32_t generation;
    uint32_t next_free;
    bool busy;
};

struct slots {
    struct slot *all;
    uint32_t count, busy, free_head;
};

bool MUST_USE slots_init(struct slots *slots, uint32_t count); /* false: no memory */
void slots_release(struct slots *slots);
/* The number of a free slot, which now has the job. Not to be called when all are busy. */
uint32_t slots_take(struct slots *slots, struct job *job);
void slots_give(struct slots *slots, uint32_t number); /* free; its id is void from now on */
/* The request of a busy slot ends before its work: by its deadline. */
void slots_end_early(struct slots *slots, uint32_t number, uint64_t now_ns);
/* Of the slots that are still busy with such a request, the one that is so the longest; `count`
 * when there is none. */
uint32_t slots_longest_overdue(const struct slots *slots);
uint64_t slots_id(const struct slots *slots, uint32_t number);
bool slots_has(const struct slots *slots, uint64_t id); /* a busy slot has this id */

#endif
