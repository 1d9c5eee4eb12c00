/*
 * main.c: maas-sim: runs seeds and stops at the first that breaks an invariant.
 *
 *     maas-sim [--first N] [--seeds N] [--seed N] [--verbose]
 */
#include "gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_NS (8 * S)
#define QUIET_NS  (16 * S) /* leases that nobody uses go back after 5 s */

static void redis_up(void *arg, uint64_t number)
{
    (void)arg, (void)number;
    redis_server.up = true;
}

static void pg_up(void *arg, uint64_t number)
{
    (void)arg, (void)number;
    pg_server.up = true;
}

static void server_fault(void)
{
    switch (any(6)) {
    case 0:
        say("Redis forgets");
        redis_forget();
        break;
    case 1:
        say("Redis is killed");
        redis_forget();
        redis_server.up = false;
        redis_server.life++;
        at(any(2 * S), NULL, redis_up, NULL, 0);
        break;
    case 2:
        say("Redis hangs");
        server_freeze(&redis_server, any(2 * S));
        break;
    case 3:
        say("PostgreSQL is killed");
        pg_server.up = false;
        pg_server.life++;
        at(any(2 * S), NULL, pg_up, NULL, 0);
        break;
    case 4:
        say("PostgreSQL hangs");
        server_freeze(&pg_server, any(S));
        break;
    default:
        gateways_change();
    }
}

static void on_fault(void *arg, uint64_t end_ns)
{
    (void)arg;
    if (sim_now_ns() >= end_ns)
        return;
    if (any(2))
        server_fault();
    else
        gateway_fault();
    at(any(800 * MS), NULL, on_fault, NULL, end_ns);
}

static void on_check(void *arg, uint64_t number)
{
    gateways_check();
    at(5 * MS, NULL, on_check, arg, number);
}

static void choose_limits(void)
{
    uint64_t per_s = 20 + any(400);
    numbers.requests = (struct rate){ per_s, 1000, 1 + any(per_s) };
    numbers.units = any(2) ? (struct rate){ per_s * 60, 60000, 6 + any(3 * per_s) }
                           : (struct rate){ per_s * 3, 1000, 6 + any(4 * per_s) };
    /* in half of the seeds nothing but the rates is tight */
    bool wide = any(2);
    numbers.places = wide ? 100000 : 1 + any(30);
    numbers.quota = wide ? 10000000 : 50 + any(3000);
}

static void run(uint64_t seed)
{
    sim_start(seed);
    redis_server = pg_server = (struct server){ .up = true };
    redis_forget();
    pg_reset();
    choose_limits();
    pg_set_quota(numbers.quota);
    say("requests %" PRIu64 "/%u burst %" PRIu64 ", units %" PRIu64 "/%u burst %" PRIu64,
        numbers.requests.rate, numbers.requests.window_ms, numbers.requests.burst,
        numbers.units.rate, numbers.units.window_ms, numbers.units.burst);
    gateways_start(1 + (unsigned)any(GATEWAYS_MAX));
    uint64_t faults_end = sim_now_ns() + FAULTS_NS, end = faults_end + QUIET_NS;
    at(any(2 * S), NULL, on_fault, NULL, faults_end);
    at(MS, NULL, on_check, NULL, 0);
    while (step(faults_end + 2 * S)) {
    }
    gateways_arrivals(false);
    while (step(end)) {
    }
    gateways_check_drained();
    gateways_end();
    wires_free();
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 1000, admitted = 0, billed = 0, kills = 0;
    for (int i = 1; i < argc; i++) {
        uint64_t n = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--seed") == 0 && ++i)
            first = n, seeds = 1;
        else if (strcmp(argv[i], "--first") == 0 && ++i)
            first = n;
        else if (strcmp(argv[i], "--seeds") == 0 && ++i)
            seeds = n;
        else
            return fprintf(stderr,
                           "usage: maas-sim [--first N] [--seeds N] [--seed N] [--verbose]\n"),
                   2;
    }
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        run(seed);
        admitted += tally.admitted;
        billed += tally.billed;
        kills += tally.kills;
    }
    sim_end();
    printf("%" PRIu64 " seeds: %" PRIu64 " admitted, %" PRIu64 " units billed, %" PRIu64
           " gateways killed\n",
           seeds, admitted, billed, kills);
    return 0;
}
