/*
 * gateway.h: simulated gateways around the real limits: two loops each, requests that come, wait,
 * work and end, deaths, ends and new incarnations.
 */
#ifndef MAAS_TESTS_SIM_GATEWAY_H
#define MAAS_TESTS_SIM_GATEWAY_H

#include "sim.h"

enum { GATEWAYS_MAX = 4, PORTS = 2 };
enum which { RATE_REQUESTS, RATE_UNITS, PLACES, QUOTA, LIMITS };

struct numbers { /* of the limits in force */
    struct rate requests, units;
    uint64_t places, quota;
};
extern struct numbers numbers;

void gateways_start(unsigned count);
void gateways_arrivals(bool on);
void gateway_fault(void);   /* something happens to one of them */
void gateways_change(void); /* the quota or the concurrency, seen by each in its time */
void gateways_check(void);  /* what holds at every moment */
/* After the faults: nothing waits, nothing works, nothing is held that nobody spent. */
void gateways_check_drained(void);
void gateways_end(void);
struct tally {
    uint64_t admitted, refused, away, local, waited, billed, kills, ends;
};
extern struct tally tally;

#endif
