/*
 * line.c: the requests that wait for a lease.
 *
 * Waiters stand in one line per loop and are tried again, in order, when the bucket that blocked
 * them has news; each trial is the decision of limits.c, so waiting has no rules of its own. A
 * bucket's news from another loop comes as a post. All wait equally long, so the first gives up
 * first and one timer serves the line.
 *
 * Rejected: holding tokens of one bucket while waiting for another (two requests could starve each
 * other, and the tokens expire); a line per bucket (memory for each bucket of each loop).
 */
#include "limits/port.h"

static void line_unlink(struct limits_waiter *w)
{
    w->next->prev = w->prev;
    w->prev->next = w->next;
    w->next = w->prev = NULL;
}

static void line_push(struct limits_waiter *ends, struct limits_waiter *w)
{
    w->prev = ends->prev;
    w->next = ends;
    w->prev->next = w->next->prev = w;
}

static void line_move(struct limits_waiter *from, struct limits_waiter *to)
{
    while (from->next != from) {
        struct limits_waiter *w = from->next;
        line_unlink(w);
        line_push(to, w);
    }
}

static void give_up_start(struct limits_port *port, uint64_t now_ns)
{
    const struct limits_waiter *first = port->waiting.next;
    if (first == &port->waiting)
        timer_stop(&port->give_up_timer);
    else
        timer_start(port->loop, &port->give_up_timer,
                    first->give_up_ns > now_ns ? ms_up(first->give_up_ns - now_ns) : 0);
}

/* Remembers what it waits for. The bit is set before the refill is looked at: either its end sees
 * the bit, or this sees that it has ended. */
static void waiter_block(struct limits_port *port, struct limits_waiter *w, uint64_t now_ns)
{
    unsigned lacking = limits_lacking(w->buckets, w->count, w->cost, now_ns);
    w->blocked = NULL;
    if (lacking) {
        struct bucket *b = w->buckets[__builtin_ctz(lacking)];
        w->answers = atomic_load(&b->answers);
        atomic_fetch_or(&b->waiting_ports, 1ull << port->slot);
        if (atomic_load(&b->refill) == REFILL_UNDERWAY)
            w->blocked = b;
    }
    if (!w->blocked)
        port->rescan = true;
}

void limits_wait(struct limits_port *port, struct limits_waiter *waiter,
                 struct bucket *const *buckets, size_t count, uint64_t cost, uint64_t now_ns)
{
    CHECK(count <= LIMITS_MAX);
    waiter->count = count;
    waiter->cost = cost;
    waiter->give_up_ns = now_ns + NS_PER_MS * port->limiter->config.wait_ms;
    for (size_t i = 0; i < count; i++) {
        waiter->buckets[i] = bucket_ref(buckets[i]);
        atomic_fetch_add_explicit(&buckets[i]->waiting_cost, cost, memory_order_relaxed);
    }
    count_up(&port->waited);
    line_push(&port->waiting, waiter);
    if (port->waiting.next == waiter)
        give_up_start(port, now_ns);
    waiter_block(port, waiter, now_ns);
}

static void buckets_leave(struct bucket *const *buckets, size_t count, uint64_t cost)
{
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_sub_explicit(&buckets[i]->waiting_cost, cost, memory_order_relaxed);
        bucket_unref(buckets[i]);
    }
}

void limits_cancel(struct limits_port *port, struct limits_waiter *waiter)
{
    (void)port;
    if (!waiter->next)
        return;
    line_unlink(waiter);
    buckets_leave(waiter->buckets, waiter->count, waiter->cost);
}

/* The waiter may be gone when done returns; the verdict's bucket must not. */
static void waiter_finish(struct limits_waiter *w, const struct limits_verdict *verdict)
{
    struct bucket *buckets[LIMITS_MAX];
    size_t count = w->count;
    uint64_t cost = w->cost;
    for (size_t i = 0; i < count; i++)
        buckets[i] = w->buckets[i];
    line_unlink(w);
    w->done(w, verdict);
    buckets_leave(buckets, count, cost);
}

static void waiter_retry(struct limits_port *port, struct limits_waiter *w, uint64_t now_ns)
{
    bool give_up = now_ns >= w->give_up_ns;
    struct limits_verdict verdict;
    line_unlink(w);
    line_push(&port->waiting, w);
    if (w->blocked && atomic_load(&w->blocked->answers) == w->answers && !give_up)
        return;
    limits_try(port, w->buckets, w->count, w->cost, now_ns, &verdict);
    if (verdict.outcome == LIMITS_WAIT && give_up)
        limits_try_local(port, w->buckets, w->count, w->cost, now_ns, &verdict);
    if (verdict.outcome == LIMITS_WAIT)
        waiter_block(port, w, now_ns);
    else
        waiter_finish(w, &verdict);
}

/* Tries the whole line again, in order. done may cancel any of them. */
void line_scan(struct limits_port *port)
{
    uint64_t now_ns = loop_now_ns(port->loop);
    port->rescan = false;
    line_move(&port->waiting, &port->scanning);
    while (port->scanning.next != &port->scanning)
        waiter_retry(port, port->scanning.next, now_ns);
    give_up_start(port, now_ns);
}

void line_close(struct limits_port *port)
{
    struct limits_verdict verdict;
    uint64_t now_ns = loop_now_ns(port->loop);
    timer_stop(&port->give_up_timer);
    line_move(&port->waiting, &port->scanning);
    while (port->scanning.next != &port->scanning) {
        struct limits_waiter *w = port->scanning.next;
        limits_try_local(port, w->buckets, w->count, w->cost, now_ns, &verdict);
        waiter_finish(w, &verdict);
    }
}
