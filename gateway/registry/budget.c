/*
 * budget.c: at most so many look-ups a second for ids that turn out not to exist. A look-up takes
 * from the budget when it is sent and gives back when the id did exist, so real keys never wait for
 * more than a round trip, however many are new at once (a gateway that just started), while a flood
 * of keys that are not there reaches Postgres at the stated rate.
 */
#include "registry/registry_private.h"

#define SECOND_NS 1000000000u

void budget_init(struct budget *budget, uint32_t per_s)
{
    atomic_init(&budget->next_ns, 0);
    budget->step_ns = SECOND_NS / per_s;
}

bool budget_take(struct budget *budget, uint64_t now_ns)
{
    uint64_t next = atomic_load_explicit(&budget->next_ns, memory_order_relaxed);
    for (;;) {
        uint64_t after = (next > now_ns ? next : now_ns) + budget->step_ns;
        if (after - now_ns > SECOND_NS)
            return false;
        if (atomic_compare_exchange_weak_explicit(&budget->next_ns, &next, after,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}

void budget_return(struct budget *budget)
{
    atomic_fetch_sub_explicit(&budget->next_ns, budget->step_ns, memory_order_relaxed);
}
