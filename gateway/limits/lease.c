/*
 * lease.c: two words and a compare-and-swap.
 *
 * Spending is one CAS on the word. A word read before its slot was replaced has an old generation,
 * so the CAS fails and nothing is taken under the wrong expiry; giving back compares the generation
 * for the same reason. Installing over a slot that still has tokens first moves them into the other
 * slot, which expires earlier: they lose a little life, never gain any.
 *
 * Rejected: a mutex (the spender of one loop would wait for another's preemption); a 16-byte CAS
 * (three times the cost of 8); one slot with the tokens merged under the earlier expiry (a refill
 * that came early would be worth nothing) or with the rest dropped (a quarter of each lease).
 */
#include "limits/lease.h"

static uint32_t tokens_of(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t word_of(uint32_t generation, uint32_t tokens)
{
    return (uint64_t)generation << 32 | tokens;
}

static uint32_t slot_tokens(const struct lease_slot *slot, uint64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    if (tokens_of(word) == 0)
        return 0;
    return now_ns < atomic_load_explicit(&slot->expires_ns, memory_order_acquire) ? tokens_of(word)
                                                                                  : 0;
}

uint64_t lease_tokens(const struct lease *lease, uint64_t now_ns)
{
    return (uint64_t)slot_tokens(&lease->slots[0], now_ns) + slot_tokens(&lease->slots[1], now_ns);
}

uint64_t lease_raw(const struct lease *lease)
{
    return (uint64_t)tokens_of(atomic_load(&lease->slots[0].word)) +
           tokens_of(atomic_load(&lease->slots[1].word));
}

/* Takes up to `cost`; returns how many, and of which word. */
static uint32_t slot_take(struct lease_slot *slot, uint32_t cost, uint64_t now_ns,
                          uint64_t *out_word)
{
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    for (;;) {
        uint32_t n = tokens_of(word) < cost ? tokens_of(word) : cost;
        if (n == 0 || now_ns >= atomic_load_explicit(&slot->expires_ns, memory_order_acquire))
            return 0;
        if (atomic_compare_exchange_weak_explicit(&slot->word, &word, word - n,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            *out_word = word - n;
            return n;
        }
    }
}

static void slot_give_back(struct lease_slot *slot, uint32_t generation, uint32_t tokens)
{
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    while (tokens > 0 && generation_of(word) == generation) {
        if (atomic_compare_exchange_weak_explicit(&slot->word, &word, word + tokens,
                                                  memory_order_acq_rel, memory_order_relaxed))
            return;
    }
}

void lease_give_back(struct lease *lease, const struct lease_taken *taken)
{
    for (size_t i = 0; i < 2; i++)
        slot_give_back(&lease->slots[i], taken->generation[i], taken->tokens[i]);
}

bool lease_take(struct lease *lease, uint32_t cost, uint64_t now_ns, struct lease_taken *out_taken,
                uint64_t *out_left)
{
    uint32_t first = atomic_load_explicit(&lease->older, memory_order_relaxed) & 1;
    uint32_t need = cost;
    *out_taken = (struct lease_taken){ { 0, 0 }, { 0, 0 } };
    for (uint32_t k = 0; k < 2 && need > 0; k++) {
        uint32_t i = first ^ k;
        uint64_t word = 0;
        uint32_t n = slot_take(&lease->slots[i], need, now_ns, &word);
        out_taken->generation[i] = generation_of(word);
        out_taken->tokens[i] = n;
        need -= n;
    }
    if (need > 0) {
        lease_give_back(lease, out_taken);
        return false;
    }
    *out_left = lease_tokens(lease, now_ns);
    return true;
}

/* Ends the slot's lease: who took from it can no longer give back. Returns what was left. */
static uint64_t slot_end(struct lease_slot *slot)
{
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&slot->word, &word,
                                                  word_of(generation_of(word) + 1, 0),
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    return word;
}

static void slot_begin(struct lease_slot *slot, uint32_t tokens, uint64_t expires_ns)
{
    uint64_t ended = atomic_load_explicit(&slot->word, memory_order_relaxed);
    CHECK(tokens_of(ended) == 0);
    atomic_store_explicit(&slot->expires_ns, expires_ns, memory_order_release);
    atomic_store_explicit(&slot->word, word_of(generation_of(ended) + 1, tokens),
                          memory_order_release);
}

/* Adds to a running lease that expires no later than what is added; the sum keeps to 31 bits. */
static void slot_add(struct lease_slot *slot, uint32_t tokens)
{
    if (tokens > INT32_MAX - tokens_of(atomic_load(&slot->word)))
        return;
    atomic_fetch_add_explicit(&slot->word, tokens, memory_order_acq_rel);
}

void lease_install(struct lease *lease, uint32_t tokens, uint64_t expires_ns, uint64_t now_ns)
{
    uint32_t older = atomic_load_explicit(&lease->older, memory_order_relaxed) & 1;
    bool older_done = slot_tokens(&lease->slots[older], now_ns) == 0;
    uint32_t target = older_done ? older : older ^ 1;
    /* what is given back to an older slot that was seen empty is lost, not moved onto itself */
    bool target_runs = !older_done && slot_tokens(&lease->slots[target], now_ns) > 0;
    uint64_t ended = slot_end(&lease->slots[target]);
    if (target_runs)
        slot_add(&lease->slots[older], tokens_of(ended));
    slot_begin(&lease->slots[target], tokens, expires_ns);
    atomic_store_explicit(&lease->older, target ^ 1, memory_order_relaxed);
}
