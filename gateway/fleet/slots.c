/*
 * slots.c: a table and a list of its free places.
 */
#include "fleet/slots.h"

#include <stdlib.h>

bool slots_init(struct slots *slots, uint32_t count)
{
    *slots = (struct slots){ .all = calloc(count, sizeof(*slots->all)), .count = count };
    if (!slots->all)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        slots->all[i].generation = 1;
        slots->all[i].next_free = i + 1;
    }
    return true;
}

void slots_release(struct slots *slots)
{
    free(slots->all);
}

uint32_t slots_take(struct slots *slots, struct job *job)
{
    uint32_t number = slots->free_head;
    CHECK(number < slots->count);
    struct slot *slot = &slots->all[number];
    slots->free_head = slot->next_free;
    slot->job = job;
    slot->busy = true;
    slots->busy++;
    return number;
}

void slots_give(struct slots *slots, uint32_t number)
{
    struct slot *slot = &slots->all[number];
    slot->busy = false;
    slot->job = NULL;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->next_free = slots->free_head;
    slots->free_head = number;
    slots->busy--;
}

void slots_end_early(struct slots *slots, uint32_t number, uint64_t now_ns)
{
    slots->all[number].job = NULL;
    slots->all[number].overdue_ns = now_ns;
}

uint32_t slots_longest_overdue(const struct slots *slots)
{
    uint32_t longest = slots->count;
    for (uint32_t i = 0; i < slots->count; i++) {
        const struct slot *slot = &slots->all[i];
        if (slot->busy && !slot->job &&
            (longest == slots->count || slot->overdue_ns < slots->all[longest].overdue_ns))
            longest = i;
    }
    return longest;
}

uint64_t slots_id(const struct slots *slots, uint32_t number)
{
    return job_id(number, slots->all[number].generation);
}

bool slots_has(const struct slots *slots, uint64_t id)
{
    uint32_t number = (uint32_t)id;
    return number < slots->count && slots->all[number].busy && slots_id(slots, number) == id;
}
