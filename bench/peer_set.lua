#!lua
-- What a careful user would write by hand: a copy of the library's tick_set with
-- its includes put in, taken when the benchmark was written. KEYS and ARGV are
-- as internal/kv/scripts/tick_set.lua documents them.

-- now is the server's time in microseconds since 1970, exact in a Lua number.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- stamp writes such a time as the fixed-width text that the cache stores. The
-- server's Lua has no os.date; days become a date after Howard Hinnant.
local function stamp(us)
  local secs = math.floor(us / 1000000)
  local z = math.floor(secs / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d000Z',
    yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(secs / 3600) % 24, math.floor(secs / 60) % 60, secs % 60, us - secs * 1000000)
end
-- next_revision numbers an update. It is at least the time in microseconds, so
-- that it never goes back: not after a restart without data, not after Clear,
-- not on a replica that missed the last updates. A counter that was missing is
-- announced: whoever follows the exchange must read its state anew.
local function next_revision(counter, publish, channel)
  local rev = string.format('%.0f', now)
  local last = redis.call('SET', counter, rev, 'GET')
  if not last then
    redis.call(publish, channel, 'R ' .. rev)
  elseif tonumber(last) and tonumber(last) >= now then
    rev = string.format('%.0f', tonumber(last) + 1)
    redis.call('SET', counter, rev)
  end
  return rev
end

local latest = now + tonumber(ARGV[3])
if tonumber(ARGV[2]) > latest then
  return {4, stamp(now)}
end

local stored = redis.call('HMGET', KEYS[1], 'symbol', 'time')
local symbol, time = stored[1], stored[2]
if symbol and symbol ~= ARGV[11] then
  return {3, symbol}
end

local received = stamp(now)
if ARGV[4] == '1' then
  redis.call('SET', KEYS[4], received, 'PX', ARGV[5])
end

-- A stored time that no tick can have is corrupt and must not block its pair for
-- ever: the new tick mends it.
if time and time > ARGV[1] and time <= stamp(latest) then
  return {2, time}
end

-- What can fail on a key of another type comes before the ticker is touched.
local rev = next_revision(KEYS[3], ARGV[6], ARGV[9])
redis.call('SADD', KEYS[2], ARGV[11])
if KEYS[5] then
  redis.call('SADD', KEYS[5], ARGV[10])
end

local last_pair = 13 + tonumber(ARGV[13])
redis.call('HSET', KEYS[1], 'exchange', ARGV[10], 'symbol', ARGV[11], 'time', ARGV[1],
  'rev', rev, 'received', received, unpack(ARGV, 14, last_pair))
if last_pair < #ARGV then
  redis.call('HDEL', KEYS[1], unpack(ARGV, last_pair + 1))
end

local message = table.concat({'T', rev, received, ARGV[1], ARGV[12], #ARGV[10], ARGV[10] .. ARGV[11]}, ' ')
redis.call(ARGV[6], ARGV[7], message)
redis.call(ARGV[6], ARGV[8], message)
return {1, rev, (symbol or time) and 0 or 1}
