/*
 * port.c: the life of a port: its place in the loop's turn, its place among the limiter's ports.
 *
 * A turn: after the poll the line is tried again if there was news; before the next poll what the
 * turn needs goes to Redis as one call.
 */
#include "limits/port.h"

#include <stdlib.h>

#define HEARTBEAT_MS 100 /* several within GCRA_GAP_US */

uint64_t silent_since(const struct limits_port *port, uint64_t now_ns)
{
    uint64_t wait_ns = NS_PER_MS * port->limiter->config.wait_ms;
    return now_ns > wait_ns ? now_ns - wait_ns : 1;
}

static bool lessor_is_up(const struct limits_port *port, enum bucket_kind kind)
{
    return kind == BUCKET_QUOTA ? port->pg && pg_is_up(port->pg)
                                : port->redis && redis_is_up(port->redis);
}

bool port_can_ask(struct limits_port *port, enum bucket_kind kind, uint64_t now_ns)
{
    bool up = lessor_is_up(port, kind) && now_ns >= port->refused_until_ns[kind];
    if (up)
        port->away_since_ns[kind] = 0;
    else if (port->away_since_ns[kind] == 0)
        port->away_since_ns[kind] = silent_since(port, now_ns);
    return up;
}

uint64_t port_grace_us(const struct limits_port *port)
{
    return port->limiter->config.gateways_max > 1 ? GCRA_GRACE_US : 0;
}

static void heard(void *arg, maas_status status, const struct redis_reply *reply)
{
    (void)arg, (void)status, (void)reply;
}

/* Redis notes that it was heard; here it is noted when it is not. */
static void on_heartbeat(struct timer *timer)
{
    struct limits_port *port =
        (struct limits_port *)(void *)((char *)timer - offsetof(struct limits_port, heartbeat));
    char text[WORD_MAX];
    const struct str grace = word_of(text, port_grace_us(port));
    (void)port_can_ask(port, BUCKET_RATE, loop_now_ns(port->loop));
    if (lessor_is_up(port, BUCKET_RATE))
        redis_script_call(port->rate_script, &STR(SCRIPT_HEARD_KEY), 1, &grace, 1, heard, NULL);
    timer_start(port->loop, timer, HEARTBEAT_MS);
}

static bool on_before_poll(void *arg)
{
    struct limits_port *port = arg;
    if (port->closed)
        return false;
    if (port->urgent)
        refill_flush(port);
    return port->rescan;
}

static void on_after_poll(void *arg)
{
    struct limits_port *port = arg;
    if (port->rescan && !port->closed)
        line_scan(port);
}

static void on_give_up(struct timer *timer)
{
    line_scan((struct limits_port *)((char *)timer - offsetof(struct limits_port, give_up_timer)));
}

static void on_flush(struct timer *timer)
{
    refill_flush((struct limits_port *)((char *)timer - offsetof(struct limits_port, flush_timer)));
}

static void on_wake(struct loop_post *post)
{
    struct limits_port *port =
        (struct limits_port *)((char *)post - offsetof(struct limits_port, post));
    atomic_store(&port->posted, false);
    port->rescan = true;
}

void port_wake(struct limits_port *port)
{
    if (!atomic_exchange(&port->posted, true))
        loop_post(port->loop, &port->post);
}

static bool port_register(struct limits_port *port)
{
    struct limiter *limiter = port->limiter;
    bool found = false;
    pthread_mutex_lock(&limiter->lock);
    for (unsigned i = 0; i < PORTS_MAX && !found; i++) {
        if (!limiter->ports[i]) {
            limiter->ports[i] = port;
            port->slot = i;
            found = true;
        }
    }
    pthread_mutex_unlock(&limiter->lock);
    return found;
}

maas_status limits_port_new(struct limiter *limiter, struct loop *loop, struct redis *redis,
                            struct pg *pg, struct limits_port **out, maas_error *error)
{
    struct limits_port *port = calloc(1, sizeof(*port));
    if (!port)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a port of limits");
    *port = (struct limits_port){ .limiter = limiter,
                                  .loop = loop,
                                  .redis = redis,
                                  .pg = pg,
                                  .give_up_timer.fire = on_give_up,
                                  .flush_timer.fire = on_flush,
                                  .tend_timer.fire = on_tend,
                                  .heartbeat.fire = on_heartbeat,
                                  .post.run = on_wake };
    port->waiting.next = port->waiting.prev = &port->waiting;
    port->scanning.next = port->scanning.prev = &port->scanning;
    port->pending_end = &port->pending;
    port->rate_script = redis ? redis_script_new(redis, limits_script) : NULL;
    port->places_script = redis ? redis_script_new(redis, places_script) : NULL;
    if ((redis && (!port->rate_script || !port->places_script)) || !port_register(port)) {
        free(port);
        return fail(error, MAAS_E_EXHAUSTED, "more than %d ports of limits, or no memory",
                    PORTS_MAX);
    }
    loop_add_turn(loop, &(struct loop_turn){ on_before_poll, on_after_poll, port });
    timer_start(loop, &port->heartbeat, 1);
    *out = port;
    return MAAS_OK;
}

void limits_port_free(struct limits_port *port)
{
    if (!port)
        return;
    struct limiter *limiter = port->limiter;
    line_close(port);
    refill_drop(port);
    tend_end(port);
    timer_stop(&port->flush_timer);
    timer_stop(&port->heartbeat);
    port->closed = true;
    pthread_mutex_lock(&limiter->lock);
    limiter->ports[port->slot] = NULL;
    port->next_closed = limiter->closed;
    limiter->closed = port;
    pthread_mutex_unlock(&limiter->lock);
}

void port_add_counts(const struct limits_port *port, struct limits_counts *sum)
{
    sum->admitted += atomic_load_explicit(&port->admitted, memory_order_relaxed);
    sum->rejected += atomic_load_explicit(&port->rejected, memory_order_relaxed);
    sum->waited += atomic_load_explicit(&port->waited, memory_order_relaxed);
    sum->refills += atomic_load_explicit(&port->refills, memory_order_relaxed);
    sum->refill_timeouts += atomic_load_explicit(&port->refill_timeouts, memory_order_relaxed);
    sum->local_decisions += atomic_load_explicit(&port->local_decisions, memory_order_relaxed);
    sum->redis_calls += atomic_load_explicit(&port->calls, memory_order_relaxed);
    sum->quota_calls += atomic_load_explicit(&port->quota_calls, memory_order_relaxed);
}

struct limits_port **port_next_closed(struct limits_port *port)
{
    return &port->next_closed;
}
