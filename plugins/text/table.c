/*
 * table.c: from a feature's key to its place. The keys are hashes already, so their high bits say
 * where to look first; what stands there goes to the next place.
 */
#include "text.h"

uint32_t table_slot(const struct table *table, uint32_t key)
{
    uint32_t mask = table->slots - 1, at = (key * 0x9e3779b1u) >> 3 & mask;
    while (table->keys[at] != key && table->keys[at] != 0)
        at = (at + 1) & mask;
    return at;
}
