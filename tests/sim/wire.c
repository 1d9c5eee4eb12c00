/*
 * wire.c: connections as bad as they are: requests arrive in order, late, and sometimes twice;
 * answers are lost with the connection; what was sent before a connection broke may be done after
 * what was sent on the next one. The client's side follows store/redis.h and store/pg.h: a deadline
 * per call, a breaker, and reconnecting for ever.
 */
#include "sim.h"

#include <stdlib.h>

#define SILENCE_NS (500 * MS) /* then the connection is given up */

struct flight { /* one call; held by its client and by each copy of it on its way */
    struct wire *wire;
    const struct wire_ops *ops;
    void *request, *arg, *answer;
    uint64_t sent_ns;
    uint32_t connection, life, refs;
    bool told; /* the caller has its answer */
    struct flight *next;
    struct flight *newer, *older; /* all there are */
};
struct wire {
    struct loop *loop;
    struct server *server;
    uint64_t deadline_ns, reconnect_ns, last_arrival_ns;
    uint32_t connection; /* counts them; odd: up */
    bool open, dead;     /* a call missed its deadline; the client ended */
    struct flight *flights;
    struct wire *next;
};
static struct wire *wires;
static struct flight *flights;

void server_freeze(struct server *s, uint64_t ns)
{
    s->frozen_until_ns = sim_now_ns() + ns;
}

static uint64_t latency_ns(void)
{
    return chance(200) ? any(20 * MS) : 30000 + any(300000);
}

static void flight_unref(struct flight *f)
{
    if (--f->refs > 0)
        return;
    *(f->newer ? &f->newer->older : &flights) = f->older;
    if (f->older)
        f->older->newer = f->newer;
    free(f->request);
    free(f->answer);
    free(f);
}

static void tell(struct flight *f, maas_status status, void *answer)
{
    struct flight **link = &f->wire->flights;
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    f->told = true;
    f->ops->answered(f->arg, status, answer);
    flight_unref(f);
}

/* ---- the client */

static void reconnect(void *arg, uint64_t number)
{
    struct wire *wire = arg;
    if (number != wire->connection || wire->connection & 1)
        return;
    if (wire->server->up && wire->server->frozen_until_ns <= sim_now_ns()) {
        wire->connection++;
        wire->open = false;
        wire->last_arrival_ns = 0;
        return;
    }
    at(wire->reconnect_ns / 2 + any(wire->reconnect_ns / 2), wire->loop, reconnect, wire,
       wire->connection);
}

static void lose(struct wire *wire)
{
    if (!(wire->connection & 1))
        return;
    wire->connection++;
    while (wire->flights)
        tell(wire->flights, MAAS_E_UNAVAILABLE, NULL);
    at(20 * MS + any(wire->reconnect_ns / 2), wire->loop, reconnect, wire, wire->connection);
}

bool wire_is_up(const struct wire *wire)
{
    return (wire->connection & 1) && !wire->open;
}

/* The kernel tells of a server that died; silence is noticed by who waits. */
static void watch(void *arg, uint64_t number)
{
    struct wire *wire = arg;
    if (!wire->server->up)
        lose(wire);
    at(MS + any(4 * MS), wire->loop, watch, wire, number);
}

struct wire *wire_new(struct loop *loop, struct server *server, uint64_t deadline_ns,
                      uint64_t reconnect_ns)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    CHECK(wire);
    *wire = (struct wire){ .loop = loop,
                           .server = server,
                           .deadline_ns = deadline_ns,
                           .reconnect_ns = reconnect_ns,
                           .next = wires };
    wires = wire;
    at(any(5 * MS), loop, reconnect, wire, 0);
    at(MS, loop, watch, wire, 0);
    return wire;
}

void wire_end(struct wire *wire)
{
    wire->dead = true;
    while (wire->flights)
        tell(wire->flights, MAAS_E_UNAVAILABLE, NULL);
}

void wires_free(void)
{
    while (flights) {
        flights->refs = 1;
        flight_unref(flights);
    }
    while (wires) {
        struct wire *wire = wires;
        wires = wire->next;
        free(wire);
    }
}

/* ---- on the way */

static void deliver(struct flight *f)
{
    struct wire *wire = f->wire;
    if (!wire->dead && wire->connection == f->connection) {
        wire->open = false;
        if (!f->told)
            tell(f, MAAS_OK, f->answer);
    }
    flight_unref(f);
}

/* In a turn of the client, unless it has ended. */
static void on_reply(void *arg, uint64_t number)
{
    struct flight *f = arg;
    struct wire *wire = f->wire;
    if (!wire->dead && sim_stalled_until(wire->loop) > sim_now_ns()) {
        at(sim_stalled_until(wire->loop) - sim_now_ns(), NULL, on_reply, f, number);
        return;
    }
    bool dead = wire->dead;
    deliver(f);
    if (!dead)
        sim_turn_ends(wire->loop);
}

/* At the server. number: 1 for a second time, whose answer nobody hears. */
static void on_arrival(void *arg, uint64_t number)
{
    struct flight *f = arg;
    struct server *s = f->wire->server;
    if (s->up && s->frozen_until_ns > sim_now_ns()) {
        at(s->frozen_until_ns - sim_now_ns() + any(10000), NULL, on_arrival, f, number);
        return;
    }
    if (!s->up || s->life != f->life) {
        flight_unref(f);
        return;
    }
    void *answer = f->ops->execute(f->request);
    if (number == 0) {
        f->answer = answer;
        at(latency_ns(), NULL, on_reply, f, 0);
        return;
    }
    free(answer);
    flight_unref(f);
}

static void on_deadline(void *arg, uint64_t number)
{
    struct flight *f = arg;
    struct wire *wire = f->wire;
    bool same = !wire->dead && wire->connection == f->connection;
    if (number == 0 && same && !f->told) {
        wire->open = true;
        tell(f, MAAS_E_DEADLINE, NULL);
        at(SILENCE_NS, NULL, on_deadline, f, 1);
        sim_turn_ends(wire->loop);
        return;
    }
    if (number == 1 && same && wire->open)
        lose(wire);
    flight_unref(f);
}

void wire_call(struct wire *wire, const struct wire_ops *ops, void *request, void *arg)
{
    struct flight *f = calloc(1, sizeof(*f)), **end = &wire->flights;
    CHECK(f);
    *f = (struct flight){ .wire = wire,
                          .ops = ops,
                          .request = request,
                          .arg = arg,
                          .sent_ns = sim_now_ns(),
                          .connection = wire->connection,
                          .life = wire->server->life,
                          .refs = 3,
                          .older = flights };
    if (flights)
        flights->newer = f;
    flights = f;
    while (*end)
        end = &(*end)->next;
    *end = f;
    uint64_t arrival = sim_now_ns() + latency_ns();
    if (arrival <= wire->last_arrival_ns)
        arrival = wire->last_arrival_ns + 1;
    wire->last_arrival_ns = arrival;
    if (chance(30))
        arrival += any(2 * S); /* held up somewhere: done after what is sent later */
    at(arrival - sim_now_ns(), NULL, on_arrival, f, 0);
    at(wire->deadline_ns, NULL, on_deadline, f, 0);
    if (chance(50)) {
        f->refs++;
        at(arrival - sim_now_ns() + any(S), NULL, on_arrival, f, 1);
    }
}
