/*
 * line.c: the requests that wait for a lease.
 *
 * Waiters stand in one line per loop and are tried again, in order, when the bucket that blocked
 * them has news; each trial is the decision of limits.c, so waiting has no rules of its own. A
 * bucket's news from another loop comes as a post. One timer serves the line: it is set to the
 * first that gives up.
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

static struct moment moment_of(const struct limits_port *port, uint64_t now_ns)
{
    return (struct moment){ now_ns, loop_real_us(port->loop) };
}

/* As long as what it lacks may take to come: Redis is given less time than PostgreSQL. */
static uint64_t give_up_ns(const struct limits_waiter *w, unsigned lacking)
{
    const struct limiter_config *config = &w->buckets[0]->limiter->config;
    for (size_t i = 0; i < w->want.count; i++)
        if ((lacking >> i & 1) && w->buckets[i]->kind != BUCKET_QUOTA)
            return w->start_ns + NS_PER_MS * config->wait_ms;
    return w->start_ns + NS_PER_MS * config->quota_wait_ms;
}

static void give_up_start(struct limits_port *port, uint64_t now_ns)
{
    uint64_t first_ns = UINT64_MAX;
    struct moment at = moment_of(port, now_ns);
    for (struct limits_waiter *w = port->waiting.next; w != &port->waiting; w = w->next) {
        uint64_t ns = give_up_ns(w, limits_lacking(&w->want, &at));
        first_ns = ns < first_ns ? ns : first_ns;
    }
    if (first_ns == UINT64_MAX)
        timer_stop(&port->give_up_timer);
    else
        timer_start(port->loop, &port->give_up_timer,
                    first_ns > now_ns ? ms_up(first_ns - now_ns) : 0);
}

/* Remembers what it waits for: one that it lacks and that is on its way (others may not be to be
 * had now). The bit is set before the refill is looked at: either its end sees the bit, or this
 * sees that it has ended. */
static void waiter_block(struct limits_port *port, struct limits_waiter *w, uint64_t now_ns)
{
    struct moment at = moment_of(port, now_ns);
    unsigned lacking = limits_lacking(&w->want, &at);
    w->blocked = NULL;
    for (; lacking && !w->blocked; lacking &= lacking - 1) {
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
                 const struct limits_want *want, uint64_t now_ns)
{
    CHECK(want->count > 0 && want->count <= LIMITS_MAX);
    waiter->want = *want;
    waiter->want.buckets = waiter->buckets;
    waiter->start_ns = now_ns;
    for (size_t i = 0; i < want->count; i++) {
        waiter->buckets[i] = bucket_ref(want->buckets[i]);
        atomic_fetch_add_explicit(&waiter->buckets[i]->waiting_cost,
                                  bucket_cost(waiter->buckets[i], want->units),
                                  memory_order_relaxed);
    }
    count_up(&port->waited);
    line_push(&port->waiting, waiter);
    if (port->give_up_timer.due_ns == 0)
        timer_start(port->loop, &port->give_up_timer, port->limiter->config.wait_ms);
    waiter_block(port, waiter, now_ns);
}

static void buckets_leave(struct bucket *const *buckets, size_t count, uint64_t units)
{
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_sub_explicit(&buckets[i]->waiting_cost, bucket_cost(buckets[i], units),
                                  memory_order_relaxed);
        bucket_unref(buckets[i]);
    }
}

void limits_cancel(struct limits_port *port, struct limits_waiter *waiter)
{
    (void)port;
    if (!waiter->next)
        return;
    line_unlink(waiter);
    buckets_leave(waiter->buckets, waiter->want.count, waiter->want.units);
}

/* The waiter may be gone when done returns; the verdict's bucket must not. */
static void waiter_finish(struct limits_waiter *w, const struct limits_verdict *verdict)
{
    struct bucket *buckets[LIMITS_MAX];
    size_t count = w->want.count;
    uint64_t units = w->want.units;
    for (size_t i = 0; i < count; i++)
        buckets[i] = w->buckets[i];
    line_unlink(w);
    w->done(w, verdict);
    buckets_leave(buckets, count, units);
}

static void waiter_retry(struct limits_port *port, struct limits_waiter *w, uint64_t now_ns)
{
    struct moment at = moment_of(port, now_ns);
    unsigned lacking = limits_lacking(&w->want, &at);
    bool give_up = lacking && now_ns >= give_up_ns(w, lacking);
    struct limits_verdict verdict;
    line_unlink(w);
    line_push(&port->waiting, w);
    if (w->blocked && atomic_load(&w->blocked->answers) == w->answers && !give_up)
        return;
    limits_try(port, &w->want, now_ns, w->hold, &verdict);
    if (verdict.outcome == LIMITS_WAIT && give_up)
        limits_try_local(port, &w->want, now_ns, w->hold, &verdict);
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
        limits_try_local(port, &w->want, now_ns, w->hold, &verdict);
        waiter_finish(w, &verdict);
    }
}
