/*
 * script.h: the Lua that grants leases, as text for redis_script_new().
 *
 * KEYS[1] is the epoch's key, the others are one bucket each; ARGV holds, per bucket and in order,
 * num, den, cap, created_us, want, least. The answer is one flat array of integers, two a bucket:
 * tokens granted, ticks left. gcra_take() in gcra.c is the same algorithm in C.
 */
#ifndef MAAS_LIMITS_SCRIPT_H
#define MAAS_LIMITS_SCRIPT_H

#define SCRIPT_BUCKETS_MAX 64 /* of one call: bounds how long a call holds Redis */
#define SCRIPT_EPOCH_KEY   "maas:limits:epoch"
#define SCRIPT_ARGS        6 /* per bucket */
#define SCRIPT_ANSWERS     2 /* per bucket */

extern const char limits_script[];

#endif
