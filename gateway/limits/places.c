/*
 * places.c: two counters in one word, and the Lua that shares a limit among gateways.
 *
 * Granted and used stand in one word so that lowering what is granted tells exactly how many are at
 * work at that moment: no request can slip in between under the old number.
 *
 * Rejected: a sorted set with a member per request (a call and a write per request, and a killed
 * gateway's members go one by one); a counter with INCR and DECR (a killed gateway leaks).
 */
#include "limits/places.h"

#include "limits/gcra.h"

static uint32_t used_of(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t granted_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t word_of(uint32_t granted, uint32_t used)
{
    return (uint64_t)granted << 32 | used;
}

static void note_peak(struct places *places, uint32_t used)
{
    if (used > atomic_load_explicit(&places->peak, memory_order_relaxed))
        atomic_store_explicit(&places->peak, used, memory_order_relaxed);
}

static bool take(struct places *places, uint64_t bound, bool alone)
{
    uint64_t word = atomic_load(&places->word);
    for (;;) {
        uint64_t most = alone || granted_of(word) > bound ? bound : granted_of(word);
        if (used_of(word) >= most)
            return false;
        if (atomic_compare_exchange_weak(&places->word, &word, word + 1))
            break;
    }
    note_peak(places, used_of(word) + 1);
    return true;
}

bool places_take(struct places *places, uint64_t bound, uint64_t now_ns)
{
    return now_ns < atomic_load(&places->expires_ns) && take(places, bound, false);
}

bool places_take_alone(struct places *places, uint64_t bound)
{
    return take(places, bound, true);
}

void places_give_back(struct places *places)
{
    uint64_t before = atomic_fetch_sub(&places->word, 1);
    CHECK(used_of(before) > 0);
}

uint32_t places_used(const struct places *places)
{
    return used_of(atomic_load_explicit(&places->word, memory_order_relaxed));
}

uint32_t places_granted(const struct places *places, uint64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&places->word, memory_order_relaxed);
    return now_ns < atomic_load_explicit(&places->expires_ns, memory_order_relaxed)
               ? granted_of(word)
               : 0;
}

uint32_t places_ask(struct places *places, uint64_t waiting, uint64_t limit, uint32_t *out_used)
{
    uint64_t word = atomic_load(&places->word);
    uint64_t peak = atomic_exchange_explicit(&places->peak, used_of(word), memory_order_relaxed);
    uint64_t want = (peak > used_of(word) ? peak : used_of(word)) + waiting;
    uint64_t stock = want / 8 < limit / 16 ? want / 8 : limit / 16;
    want = want + stock < limit ? want + stock : limit;
    while (granted_of(word) > want &&
           !atomic_compare_exchange_weak(&places->word, &word,
                                         word_of((uint32_t)want, used_of(word)))) {
    }
    *out_used = used_of(atomic_load(&places->word));
    return (uint32_t)want;
}

void places_grant(struct places *places, uint32_t granted, uint64_t expires_ns)
{
    uint64_t word = atomic_load(&places->word);
    atomic_store(&places->expires_ns, expires_ns);
    while (!atomic_compare_exchange_weak(&places->word, &word, word_of(granted, used_of(word)))) {
    }
}

/* ---- the model */

static struct places_lessee *lessee_of(struct places_state *state, const struct uuid *id)
{
    for (uint32_t i = 0; i < state->lessees; i++)
        if (uuid_eq(&state->lessee[i].id, id))
            return &state->lessee[i];
    CHECK(state->lessees < PLACES_LESSEES_MAX);
    struct places_lessee *l = &state->lessee[state->lessees++];
    *l = (struct places_lessee){ .id = *id };
    return l;
}

static uint64_t held_by_others(struct places_state *state, const struct uuid *id, uint64_t now_us)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < state->lessees;) {
        struct places_lessee *l = &state->lessee[i];
        if (!uuid_eq(&l->id, id) && l->expires_us <= now_us) {
            *l = state->lessee[--state->lessees];
            continue;
        }
        sum += uuid_eq(&l->id, id) ? 0 : l->count;
        i++;
    }
    return sum;
}

void places_lease(struct places_state *state, uint64_t born_us, uint64_t now_us,
                  const struct places_call *call, struct places_answer *out)
{
    uint64_t others = held_by_others(state, &call->id, now_us);
    struct places_lessee *own = lessee_of(state, &call->id);
    uint64_t room = call->limit > others ? call->limit - others : 0, want = call->want;
    *out = (struct places_answer){ .stale = own->serial >= call->serial };
    if (out->stale)
        return;
    if (now_us < born_us + PLACES_LEASE_MS * 1000ull &&
        call->created_us <= born_us + GCRA_CREATED_SLACK_US && want > call->used)
        want = call->used;
    out->granted = want < room ? want : room;
    uint64_t count = out->granted > call->used ? out->granted : call->used;
    out->room = room > count ? room - count : 0;
    *own =
        (struct places_lessee){ call->id, count, now_us + PLACES_LEASE_MS * 1000ull, call->serial };
}

/*
 * An entry is "count expiry serial". One that holds nothing stays until it runs out: its serial
 * fences off calls that are still on their way.
 */
const char places_script[] =
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local born = tonumber(string.match(redis.call('GET', KEYS[1]) or '', '^%d+') or now)\n"
    "local me, lease, out = ARGV[1], 1500000, {}\n"
    "for i = 2, #KEYS do\n"
    "  local a = (i - 2) * 5 + 1\n"
    "  local limit, used, want = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + "
    "3])\n"
    "  local serial, created = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])\n"
    "  local all, others, last = redis.call('HGETALL', KEYS[i]), 0, 0\n"
    "  for k = 1, #all, 2 do\n"
    "    local count, ends, s = string.match(all[k + 1], '^(%d+) (%d+) (%d+)$')\n"
    "    count, ends, s = tonumber(count or 0), tonumber(ends or 0), tonumber(s or 0)\n"
    "    if all[k] == me then\n"
    "      last = s\n"
    "    elseif ends <= now then\n"
    "      redis.call('HDEL', KEYS[i], all[k])\n"
    "    else\n"
    "      others = others + count\n"
    "    end\n"
    "  end\n"
    "  local room = math.max(limit - others, 0)\n"
    "  if last >= serial then\n"
    "    out[#out + 1] = -1\n"
    "    out[#out + 1] = 0\n"
    "  else\n"
    "    if now < born + lease and created <= born + 1000000 then want = math.min(want, used) "
    "end\n"
    "    local granted = math.min(want, room)\n"
    "    local count = math.max(granted, used)\n"
    "    redis.call('HSET', KEYS[i], me,\n"
    "               string.format('%.0f %.0f %.0f', count, now + lease, serial))\n"
    "    redis.call('PEXPIRE', KEYS[i], lease / 1000 + 1000)\n"
    "    out[#out + 1] = granted\n"
    "    out[#out + 1] = math.max(room - count, 0)\n"
    "  end\n"
    "end\n"
    "return out\n";
