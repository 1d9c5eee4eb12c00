/*
 * places.h: concurrency: places for requests at a time. Pure; time is an argument.
 *
 * A gateway leases places from Redis for PLACES_LEASE_MS and renews long before that; its requests
 * take one each and give it back. Redis keeps, per limit, what each gateway holds and until when;
 * the sum of what has not run out never exceeds the limit.
 *
 * WHY THE LIMIT HOLDS. At any time the requests at work in a gateway that renews in time are at
 * most what Redis has down for it: admission stops at `granted`; `granted` is raised only by an
 * answer, after Redis noted it, and lowered before Redis is told; a call that arrives after a later
 * one is ignored (its serial is lower). A gateway that was killed has no requests; its places come
 * free when its lease runs out. A gateway that hears nothing of Redis until its lease has run out
 * admits nothing more (or its share, as the plan says); what it had admitted before may still work
 * beside what others were given since then.
 *
 * After Redis lost its memory, nobody is given new places for one lease: until then the gateways
 * that live have told what they hold, and the leases of the others have run out.
 */
#ifndef MAAS_LIMITS_PLACES_H
#define MAAS_LIMITS_PLACES_H

#include <stdatomic.h>

#include "base/base.h"

#define PLACES_LEASE_MS 1500u
#define PLACES_RENEW_MS 500u

struct places {                  /* zeroed: none */
    _Atomic uint64_t word;       /* granted << 32 | used */
    _Atomic uint64_t expires_ns; /* admits only before it */
    _Atomic uint32_t peak;       /* the most in use since the last ask */
};

/* One more, when fewer than `bound` and than what is granted are used. [any] */
bool places_take(struct places *places, uint64_t bound, uint64_t now_ns);
/* The same without a lease: only `bound` counts. For while Redis is away. [any] */
bool places_take_alone(struct places *places, uint64_t bound);
void places_give_back(struct places *places); /* [any] */
uint32_t places_used(const struct places *places);
uint32_t places_granted(const struct places *places,
                        uint64_t now_ns); /* 0 after the lease ran out */

/* ---- the lessee's side: one caller at a time (whoever holds the bucket's refill) */

/* What to ask for: what was used at most lately, those who wait, and a little stock. Lowers what is
 * granted to it at once. out_used: what must not be refused, it is at work. */
uint32_t places_ask(struct places *places, uint64_t waiting, uint64_t limit, uint32_t *out_used);
void places_grant(struct places *places, uint32_t granted, uint64_t expires_ns);

/* ---- what the script does in Redis, in C: the model its tests and the simulator compare with */

#define PLACES_LESSEES_MAX 64
struct places_lessee {
    struct uuid id;
    uint64_t count, expires_us, serial;
};
struct places_state {
    uint32_t lessees;
    struct places_lessee lessee[PLACES_LESSEES_MAX];
};
struct places_call {
    struct uuid id;
    uint64_t limit, used, want, serial, created_us;
};
struct places_answer {
    uint64_t granted, room; /* room: what nobody holds */
    bool stale;             /* a later call was there before: nothing was done */
};
void places_lease(struct places_state *state, uint64_t born_us, uint64_t now_us,
                  const struct places_call *call, struct places_answer *out);

/*
 * KEYS: SCRIPT_HEARD_KEY of script.h, then a key per limit. ARGV: the lessee, then per limit:
 * limit, used, want, serial, created_us. Answers PLACES_ANSWERS numbers per limit: granted (-1:
 * stale), room.
 */
extern const char places_script[];
enum { PLACES_ARGS = 5, PLACES_ANSWERS = 2 };

#endif
