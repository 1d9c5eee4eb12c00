/*
 * script.c: the Lua that grants leases.
 *
 * One call serves up to 64 buckets, because a call costs Redis about 1.2 us before it does anything
 * and the connection a round trip. Time is Redis' own.
 *
 * "heard" holds since when Redis remembers, since when it was asked without a gap, and when it was
 * asked last. Gateways ask
 * ten times a second at least, so a gap means that no gateway reached this memory: it is new, or
 * Redis hung or was cut off. Meanwhile they decided alone, and they come back one by one; so a
 * bucket from before the gap counts as missing, and a missing one is shared only `grace` later,
 * when all are back, from empty. Until then the answer says how long, and all go on alone to that
 * same moment. Limits that are younger are not affected: they start full. A bucket's key lives
 * until the bucket is full, when being missing says the same; nothing but "heard" is written when
 * nothing is granted.
 *
 * Numbers: Lua's are doubles. Levels and caps are below 2^51; a product that is larger is only
 * compared with a cap, then replaced by it. tostring() would give 14 digits, hence the formats. If
 * the clock steps back by d, the bucket gains nothing for the call and counts from the new time on:
 * the step may admit up to r*d once.
 *
 * Rejected: the gateways' time as an argument (cheaper by 1.5 us, but the bound would then rest on
 * all their clocks); HINCRBY on fields (three commands a bucket instead of two); returning unspent
 * tokens (crediting what time has refilled already breaks the bound).
 */
#include "limits/script.h"

const char limits_script[] =
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local values = redis.call('MGET', unpack(KEYS))\n"
    "local born, since, last = string.match(values[1] or '', '^(%d+) (%d+) (%d+)$')\n"
    "born, since, last = tonumber(born or now), tonumber(since or now), tonumber(last or 0)\n"
    "if now - last > 500000 then since = now end\n"
    "redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', born, since, now))\n"
    "local opens = since + tonumber(ARGV[1])\n"
    "local function accrued(level, from, num, cap)\n"
    "  if now <= from then return math.min(level, cap) end\n"
    "  return math.min(level + math.min((now - from) * num, cap), cap)\n"
    "end\n"
    "local out = {}\n"
    "for i = 2, #KEYS do\n"
    "  local a = (i - 2) * 6 + 1\n"
    "  local num, den, cap = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])\n"
    "  local created = tonumber(ARGV[a + 4])\n"
    "  local want, least = tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])\n"
    "  local l, d, at = string.match(values[i] or '', '^(%d+) (%d+) (%d+)$')\n"
    "  l, d, at = tonumber(l or 0), tonumber(d or den), tonumber(at or 0)\n"
    "  local level\n"
    "  if at >= since then\n"
    "    if d ~= den then l = math.min(math.floor(l / d) * den, cap) end\n"
    "    level = accrued(l, at, num, cap)\n"
    "  elseif created > since + 1000000 then\n"
    "    level = cap\n"
    "  elseif now >= opens then\n"
    "    level = accrued(0, opens, num, cap)\n"
    "  end\n"
    "  if level then\n"
    "    local left = math.floor(level / den)\n"
    "    local granted = 0\n"
    "    if left >= least then granted = math.min(left, want) end\n"
    "    level = level - granted * den\n"
    "    if granted > 0 then\n"
    "      local ttl = math.ceil((cap - level) / num / 1000) + 1\n"
    "      redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f', level, den, now),\n"
    "                 'PX', string.format('%.0f', ttl))\n"
    "    end\n"
    "    out[#out + 1] = granted\n"
    "    out[#out + 1] = level\n"
    "  else\n"
    "    out[#out + 1] = -1\n"
    "    out[#out + 1] = opens - now\n"
    "  end\n"
    "end\n"
    "return out\n";
