/*
 * quota.c: the units of a quota in hand: one word, spent by compare-and-swap, and what is said to
 * PostgreSQL about it.
 */
#include "limits/quota.h"

#define BLOCK_PART 64 /* of what is left in the pot, at most, in one block */

static uint32_t units_of(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static bool is_current(const struct quota *quota, uint64_t real_us)
{
    return real_us >= atomic_load_explicit(&quota->start_us, memory_order_acquire) &&
           real_us < atomic_load_explicit(&quota->end_us, memory_order_acquire) &&
           !atomic_load_explicit(&quota->doubted, memory_order_acquire);
}

uint32_t quota_units(const struct quota *quota, uint64_t real_us)
{
    uint64_t word = atomic_load_explicit(&quota->word, memory_order_acquire);
    return is_current(quota, real_us) ? units_of(word) : 0;
}

bool quota_take(struct quota *quota, uint32_t cost, uint64_t real_us, uint32_t *out_generation,
                uint64_t *out_left)
{
    uint64_t word = atomic_load_explicit(&quota->word, memory_order_acquire);
    do {
        if (units_of(word) < cost || !is_current(quota, real_us))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&quota->word, &word, word - cost,
                                                    memory_order_acq_rel, memory_order_acquire));
    atomic_fetch_add_explicit(&quota->spent, cost, memory_order_relaxed);
    *out_generation = generation_of(word);
    *out_left = units_of(word) - cost;
    return true;
}

void quota_give_back(struct quota *quota, uint32_t generation, uint32_t units)
{
    uint64_t word = atomic_load_explicit(&quota->word, memory_order_relaxed);
    while (units > 0 && generation_of(word) == generation)
        if (atomic_compare_exchange_weak_explicit(&quota->word, &word, word + units,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
            atomic_fetch_sub_explicit(&quota->spent, units, memory_order_relaxed);
            return;
        }
}

/* Empties the hand; the generation stays, so what is at work may still come back. */
static uint32_t take_all(struct quota *quota)
{
    uint64_t word = atomic_load_explicit(&quota->word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&quota->word, &word, word - units_of(word),
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    return units_of(word);
}

uint64_t quota_demand(struct quota *quota, uint64_t now_ns)
{
    uint64_t spent = atomic_load_explicit(&quota->spent, memory_order_relaxed);
    uint64_t age_ns = now_ns - quota->noted_ns;
    uint64_t more = spent > quota->noted_spent ? spent - quota->noted_spent : 0;
    if (quota->noted_ns == 0 || age_ns >= 1000000000ull) {
        quota->per_s = quota->noted_ns == 0 ? 0 : (uint64_t)((double)more * 1e9 / (double)age_ns);
        quota->noted_spent = spent;
        quota->noted_ns = now_ns;
    }
    return more > quota->per_s ? more : quota->per_s;
}

void quota_prepare(struct quota *quota, uint64_t now_ns, uint64_t real_us, uint64_t want,
                   uint64_t least, bool all, struct quota_ask *out)
{
    bool over = real_us >= atomic_load(&quota->end_us) || real_us < atomic_load(&quota->start_us);
    bool doubted = atomic_exchange(&quota->doubted, false);
    if (all || over || doubted) {
        uint64_t put_away = take_all(quota);
        quota->keep -= put_away < quota->keep ? put_away : quota->keep;
    }
    quota->known &= !over;
    quota->serial = now_ns > quota->serial ? now_ns : quota->serial + 1;
    *out = (struct quota_ask){ .serial = quota->serial,
                               .at_us = real_us,
                               .start_us = atomic_load(&quota->start_us),
                               .keep = quota->keep,
                               .known = quota->known,
                               .want = want,
                               .least = least };
}

/* A new period: what comes back from the old one belongs to nobody any more. */
static void begin_period(struct quota *quota, const struct quota_answer *answer)
{
    uint64_t word = atomic_load_explicit(&quota->word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&quota->word, &word,
                                                  (uint64_t)(generation_of(word) + 1) << 32,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    atomic_store_explicit(&quota->start_us, answer->start_us, memory_order_release);
    atomic_store_explicit(&quota->end_us, answer->end_us, memory_order_release);
    atomic_fetch_add_explicit(&quota->word, 1ull << 32, memory_order_acq_rel);
}

uint64_t quota_install(struct quota *quota, const struct quota_ask *ask,
                       const struct quota_answer *answer)
{
    if (!answer->done)
        return 0;
    bool same = ask->known && answer->start_us == ask->start_us &&
                answer->end_us == atomic_load(&quota->end_us);
    /* Not known: the account may hold units of a bucket that went; they are spent, as it were. */
    uint64_t base = same ? ask->keep : answer->account - answer->granted;
    uint64_t granted = answer->account - base;
    if (!same)
        begin_period(quota, answer);
    quota->keep = answer->account;
    quota->known = true;
    atomic_store_explicit(&quota->left, answer->left, memory_order_relaxed);
    if (granted > 0)
        atomic_fetch_add_explicit(&quota->word, granted, memory_order_acq_rel);
    return granted;
}

uint64_t quota_put_away(struct quota *quota)
{
    uint64_t put_away = take_all(quota);
    quota->keep -= put_away < quota->keep ? put_away : quota->keep;
    return quota->keep;
}

void quota_lease(struct quota_pot *pot, struct quota_account *account, uint64_t amount,
                 const struct quota_ask *ask, bool same_period, struct quota_answer *out)
{
    out->done = !account->exists || ask->serial > account->serial;
    if (!out->done)
        return;
    uint64_t base = ask->known && same_period ? ask->keep : account->granted;
    uint64_t held = pot->granted - account->granted + base;
    uint64_t left = amount > held ? amount - held : 0;
    uint64_t block = (left + BLOCK_PART - 1) / BLOCK_PART;
    uint64_t grant = ask->want < block ? ask->want : block;
    if (grant < ask->least)
        grant = ask->least;
    if (grant > left)
        grant = 0;
    *account = (struct quota_account){ true, base + grant, ask->serial };
    pot->granted = held + grant;
    out->account = account->granted;
    out->granted = grant;
    out->left = left - grant;
}
