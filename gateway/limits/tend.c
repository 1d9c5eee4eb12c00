/*
 * tend.c: what happens to leases between requests: places are renewed before they run out and given
 * up when fewer are at work; units of a quota that nobody spends go back to the pot.
 *
 * The port whose call brought the lease looks after the bucket, until there is nothing to look
 * after; one timer serves all its buckets.
 */
#include "limits/port.h"

#define TEND_MS 250

void tend_begin(struct limits_port *port, struct bucket *b)
{
    struct limits_port *nobody = NULL;
    if (!atomic_compare_exchange_strong(&b->tender, &nobody, port))
        return;
    bucket_ref(b);
    b->tended_spent = UINT64_MAX;
    b->tended_ns = loop_now_ns(port->loop);
    b->next_tended = port->tended;
    port->tended = b;
    if (port->tend_timer.due_ns == 0)
        timer_start(port->loop, &port->tend_timer, TEND_MS);
}

static void let_go(struct bucket *b)
{
    atomic_store(&b->tender, NULL);
    bucket_unref(b);
}

/* False: nothing is at work or held any more. */
static bool tend_places(struct limits_port *port, struct bucket *b, uint64_t now_ns)
{
    uint64_t asked_ns = atomic_load_explicit(&b->answered_ns, memory_order_relaxed);
    uint32_t used = places_used(&b->places), granted = places_granted(&b->places, now_ns);
    uint32_t peak = atomic_load_explicit(&b->places.peak, memory_order_relaxed);
    if (used == 0 && granted == 0)
        return false;
    bool many = granted > peak + peak / 8 + 1;
    bool old = now_ns - asked_ns >= PLACES_RENEW_MS * NS_PER_MS;
    if (many || old || b->asked_amount != atomic_load(&b->amount))
        (void)refill_start(port, b, 0, false);
    return true;
}

/* False: nothing is in hand, and the account is known. */
static bool tend_quota(struct limits_port *port, struct bucket *b, uint64_t now_ns)
{
    uint64_t spent = atomic_load_explicit(&b->quota.spent, memory_order_relaxed);
    if (atomic_load(&b->quota.unsure)) { /* the next call sets the account right */
        (void)refill_start(port, b, 0, false);
        return true;
    }
    if ((uint32_t)atomic_load(&b->quota.word) == 0)
        return false;
    if (spent != b->tended_spent) {
        b->tended_spent = spent;
        b->tended_ns = now_ns;
    }
    if (now_ns - b->tended_ns >= QUOTA_IDLE_MS * NS_PER_MS && refill_start(port, b, 0, false))
        b->put_all_away = true;
    return true;
}

void on_tend(struct timer *timer)
{
    struct limits_port *port =
        (struct limits_port *)(void *)((char *)timer - offsetof(struct limits_port, tend_timer));
    uint64_t now_ns = loop_now_ns(port->loop);
    struct bucket **at = &port->tended;
    while (*at) {
        struct bucket *b = *at;
        bool on =
            b->kind == BUCKET_PLACES ? tend_places(port, b, now_ns) : tend_quota(port, b, now_ns);
        if (on) {
            at = &b->next_tended;
            continue;
        }
        *at = b->next_tended;
        let_go(b);
    }
    if (port->tended)
        timer_start(port->loop, &port->tend_timer, TEND_MS);
}

void tend_end(struct limits_port *port)
{
    timer_stop(&port->tend_timer);
    while (port->tended) {
        struct bucket *b = port->tended;
        port->tended = b->next_tended;
        let_go(b);
    }
}
