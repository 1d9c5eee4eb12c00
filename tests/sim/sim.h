/*
 * sim.h: a world for the real limits: a clock, event loops, a Redis and a PostgreSQL that exist in
 * one thread and are as unreliable as a seed says.
 *
 * The headers net/loop.h, store/redis.h and store/pg.h are implemented here over one queue of
 * events; gateway/limits is linked as it is. What Redis and PostgreSQL compute are the models in C
 * with which the unit tests compare the Lua and the SQL (gcra_take, places_lease, quota_lease).
 *
 * Not here: threads, sockets, the spool (a bill is durable at once; a dead gateway's accounts are
 * closed some time after its death, as by the adoption of its spool).
 */
#ifndef MAAS_TESTS_SIM_H
#define MAAS_TESTS_SIM_H

#include "limits/bucket.h"
#include "limits/limits.h"

#define MS 1000000ull
#define S  (1000 * MS)

/* ---- time, chance, events (world.c) */

struct loop;
struct event {
    uint64_t at_ns, order;
    void (*run)(void *arg, uint64_t number);
    void *arg;
    uint64_t number;
    struct loop *loop; /* a turn of it, when it is scheduled; NULL: the world's */
};

uint64_t sim_now_ns(void);
void sim_start(uint64_t seed);
void sim_end(void);
uint64_t any(uint64_t below); /* from the seed; 0 for 0 */
bool chance(uint32_t of_10000);
void at(uint64_t delay_ns, struct loop *loop, void (*run)(void *arg, uint64_t number), void *arg,
        uint64_t number);
void forget(const struct loop *loop); /* its events */
bool step(uint64_t end_ns);           /* one event; false when there is none before the end */
void say(const char *fmt, ...) PRINTF_LIKE(1, 2); /* with --verbose */
extern bool verbose;
/* The invariant that broke, the seed and the time; ends the program. */
_Noreturn void broken(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- loops (loop.c) */

struct loop *sim_loop(int64_t mono_offset_ns, int64_t real_offset_us);
void sim_loop_end(struct loop *loop);
void sim_loop_jump(struct loop *loop, int64_t by_us); /* its wall clock */
void sim_loop_stall(struct loop *loop, uint64_t ns);  /* not scheduled for so long */
uint64_t sim_stalled_until(const struct loop *loop);
void sim_turn_ends(struct loop *loop); /* posts and hooks */

/* A word of a call: digits, of its length and no further. */
static inline uint64_t word_number(struct str word)
{
    uint64_t n = 0;
    for (size_t i = 0; i < word.len; i++)
        n = n * 10 + (uint64_t)(word.data[i] - '0');
    return n;
}

/* ---- a server and its clients' connections (wire.c): what Redis and PostgreSQL have in common */

struct server {
    bool up;
    uint64_t frozen_until_ns;
    uint32_t life; /* of the process: what was sent to another is lost */
};
void server_freeze(struct server *s, uint64_t ns);

struct wire; /* a client's connection: up or not, in order, with deadlines */
struct wire_ops {
    /* At the server, some time after it was sent; may run twice, or after its client gave up. */
    void *(*execute)(const void *request);                         /* → answer, malloc'ed */
    void (*answered)(void *arg, maas_status status, void *answer); /* in a turn; answer borrowed */
};
struct wire *wire_new(struct loop *loop, struct server *server, uint64_t deadline_ns,
                      uint64_t reconnect_ns);
void wire_end(struct wire *wire); /* those who wait are told at once */
void wires_free(void);            /* all, at the end of a seed */
bool wire_is_up(const struct wire *wire);
/* Takes the request, malloc'ed. */
void wire_call(struct wire *wire, const struct wire_ops *ops, void *request, void *arg);

extern struct server redis_server, pg_server;
void redis_forget(void); /* its memory */

/* ---- PostgreSQL's truth (pg.c) */

#define AMOUNT_POTS 64
void pg_reset(void);
void pg_set_quota(uint64_t amount);
uint64_t pg_quota_most(uint64_t period); /* the largest amount in force in it */
uint64_t period_of(uint64_t real_us);
void pg_bill(const struct uuid *lessee, uint64_t period, uint64_t units);
void pg_close(const struct uuid *lessee); /* as quota_close: what it did not bill comes free */
void pg_end(const struct uuid *lessee, uint64_t keep,
            uint64_t period); /* as quota_return, quota_end */
void pg_check(void);          /* accounts and pots agree */
uint64_t pg_billed(uint64_t period), pg_granted(uint64_t period);

#endif
