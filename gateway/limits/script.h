/*
 * script.h: the Lua that grants leases of rates, as text for redis_script_new().
 *
 * KEYS[1] is SCRIPT_HEARD_KEY, the others are one bucket each; ARGV[1] is the grace in
 * microseconds, then per bucket and in order num, den, cap, created_us, want, least. The answer is
 * one flat array of integers, two a bucket: tokens granted, ticks left; or -1 and the microseconds
 * until limits are shared (again). gcra_take() in gcra.c is the same algorithm in C.
 */
#ifndef MAAS_LIMITS_SCRIPT_H
#define MAAS_LIMITS_SCRIPT_H

#define SCRIPT_BUCKETS_MAX 64 /* of one call: bounds how long a call holds Redis */
#define SCRIPT_HEARD_KEY   "maas:limits:heard"
#define SCRIPT_ARGS        6 /* per bucket */
#define SCRIPT_ANSWERS     2 /* per bucket */

extern const char limits_script[];

#endif
