/*
 * worker.h: a real maas-worker beside a bench, spawned as the gateway does, sandbox and all; and
 * one echo request after the other through its channel. For the programs of bench/ only: errors end
 * the program.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "channel/channel.h"

struct bench_worker {
    struct channel *channel;
    int pid;
    uint32_t generation;
};

/* The echo plugin with these options (JSON), pinned to `cpu`. build: the build folder. */
void bench_worker_start(struct bench_worker *w, const char *build, const char *options, int cpu);
void bench_worker_stop(struct bench_worker *w);
/* CPU time that it has used, all threads. */
uint64_t bench_worker_cpu_ns(const struct bench_worker *w);
/* How often its threads went to sleep. */
uint64_t bench_worker_switches(const struct bench_worker *w);

/* A v2 request, of one row unless the body says otherwise. False: the ring is full. */
bool bench_send(struct bench_worker *w, uint32_t slot, uint8_t tenant, struct str body);
/* An answer's frame, if one is there. */
bool bench_take_any(struct bench_worker *w, struct complete_frame *out);
/* Anything but an answer of 200 ends the program. */
bool bench_take(struct bench_worker *w, struct complete_frame *out);

/* ---- for any channel */
/* Sleeps on loop 0's eventfd until a record is there. */
void bench_await(struct channel *channel);
void bench_pin(int cpu); /* this thread */
void bench_fail(const char *what) __attribute__((noreturn));
/* The value at this part (0.5: the median) of `count`, which are sorted in place. */
double bench_quantile(double *values, size_t count, double part);

#endif
