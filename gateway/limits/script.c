/*
 * script.c: the Lua that grants leases.
 *
 * One call serves up to 64 buckets, because a call costs Redis about 1.2 us before it does anything
 * and the connection a round trip. Time is Redis' own. The epoch is the moment at which Redis'
 * memory was first seen: a flushed or restarted Redis has no such key, so every bucket that is
 * missing then starts empty at that moment, except those of limits that are younger than it. A
 * bucket's key lives until the bucket is full, when being missing says the same; nothing is written
 * when nothing is granted.
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
    "local epoch = tonumber(values[1] or nil)\n"
    "if not epoch then\n"
    "  epoch = now\n"
    "  redis.call('SET', KEYS[1], string.format('%.0f', now))\n"
    "end\n"
    "local function accrued(level, from, num, cap)\n"
    "  if now <= from then return math.min(level, cap) end\n"
    "  return math.min(level + math.min((now - from) * num, cap), cap)\n"
    "end\n"
    "local out = {}\n"
    "for i = 2, #KEYS do\n"
    "  local a = (i - 2) * 6\n"
    "  local num, den, cap = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])\n"
    "  local created = tonumber(ARGV[a + 4])\n"
    "  local want, least = tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])\n"
    "  local level\n"
    "  if values[i] then\n"
    "    local l, d, at = string.match(values[i], '^(%d+) (%d+) (%d+)$')\n"
    "    l, d, at = tonumber(l or 0), tonumber(d or den), tonumber(at or now)\n"
    "    if d ~= den then l = math.min(math.floor(l / d) * den, cap) end\n"
    "    level = accrued(l, at, num, cap)\n"
    "  elseif created > epoch + 1000000 then\n"
    "    level = cap\n"
    "  else\n"
    "    level = accrued(0, epoch, num, cap)\n"
    "  end\n"
    "  local left = math.floor(level / den)\n"
    "  local granted = 0\n"
    "  if left >= least then granted = math.min(left, want) end\n"
    "  level = level - granted * den\n"
    "  if granted > 0 then\n"
    "    local ttl = math.ceil((cap - level) / num / 1000) + 1\n"
    "    redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f', level, den, now),\n"
    "               'PX', string.format('%.0f', ttl))\n"
    "  end\n"
    "  out[#out + 1] = granted\n"
    "  out[#out + 1] = level\n"
    "end\n"
    "return out\n";
