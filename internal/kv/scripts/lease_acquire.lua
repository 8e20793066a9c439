#!lua
-- Takes a lease, with a token that is greater than every one before; or takes
-- part in, or prolongs, one that the same holder has.
--
-- KEYS[1]  the lease                                 hash
-- KEYS[2]  its exchange's last token                 string
-- KEYS[3]  the exchange's index of leases            sorted set
-- KEYS[4]  who waits for the lease, in order         sorted set
-- KEYS[5]  what is known of who waits                hash
-- KEYS[6]  the index of exchanges                    set; only where it shares the slot,
--                                                    and is tidied
-- ARGV[1]  exchange
-- ARGV[2]  symbol
-- ARGV[3]  holder
-- ARGV[4]  request; the same again is given the same
-- ARGV[5]  how long it lasts, microseconds
-- ARGV[6]  "share" what the same holder has, or "refuse"
-- ARGV[7]  for how long it waits in line, microseconds, or "" if it does not
-- ARGV[8]  a token that the caller has seen, or 0
-- ARGV[9]  PUBLISH or SPUBLISH
-- ARGV[10] channel of who waits
-- ARGV[11] "tidy" the indexes, or ""
-- Returns  {1, token, since, until}
--          {0, holder, since, until, microseconds until then or 0, place in line
--           from 0 or -1}           somebody has it
--          {2, …}                   as 0: nobody has it, but its holder is to, next
--          {4, symbol}              the key is another symbol's
--          {5, field}               the lease cannot be read
--          {6, text}                the last token cannot be read
-- Retry: safe

-- @include clock
-- @include stamp
-- @include times
-- @include lease

local key, fence, index, line, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local symbol, holder, request, ends = ARGV[2], ARGV[3], ARGV[4], now + tonumber(ARGV[5])

-- begin makes a lease that nobody has yet. It returns nil, and what the fence
-- holds, if no token can follow that.
local function begin()
  local token = math.max(now, tonumber(ARGV[8]) + 1)
  local text = string.format('%.0f', token)
  local last = redis.call('SET', fence, text, 'GET')
  if last then
    -- Beyond 2^53 the next would be the same.
    if not last:match('^%d+$') or #last > 16 or tonumber(last) >= 9007199254740991 then
      redis.call('SET', fence, last)
      return nil, last
    elseif tonumber(last) >= token then
      text = string.format('%.0f', tonumber(last) + 1)
      redis.call('SET', fence, text)
    end
  end
  return {symbol = symbol, holder = holder, token = text, since = stamp(now), holds = {}}
end

local lease, unreadable, first
local dropped = 0
-- Mostly nobody has it, and nobody waits.
if redis.call('EXISTS', key, line) > 0 then
  lease, unreadable = read_lease(key)
  if unreadable then
    return {5, unreadable}
  elseif lease and lease.symbol ~= symbol then
    return {4, lease.symbol}
  end
  first, dropped = first_in_line(line, waiting)
  if first and first.symbol ~= symbol then
    return {4, first.symbol}
  end
end

local shares = lease and lease.holder == holder and (ARGV[6] == 'share' or lease.holds[request])
if shares or not lease and (not first or first.request == request) then
  if ARGV[11] ~= '' then
    redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
    if KEYS[6] then
      redis.call('SADD', KEYS[6], ARGV[1])
    end
  end
  if not lease then
    local last
    lease, last = begin()
    if not lease then
      return {6, last}
    end
  end
  lease.holds[request] = math.max(ends, lease.holds[request] or 0)
  keep(key, index, lease)
  if first then
    redis.call('ZREM', line, request)
    redis.call('HDEL', waiting, request)
  end
  return {1, lease.token, lease.since, lease.til}
end

local place = -1
if ARGV[7] ~= '' then
  local alive = string.format('%.0f', now + tonumber(ARGV[7]))
  local since = (redis.call('HGET', waiting, request) or ''):match('^%d+ (%S+)')
  if not redis.call('ZSCORE', line, request) then
    local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', line, string.format('%.0f', math.max(now, (tonumber(last) or 0) + 1)), request)
    since = stamp(now)
  end
  redis.call('HSET', waiting, request,
    table.concat({alive, since or stamp(now), #ARGV[10], #symbol, ARGV[10] .. symbol .. holder}, ' '))
  local ttl = string.format('%.0f', math.ceil(2 * tonumber(ARGV[7]) / 1000))
  redis.call('PEXPIRE', line, ttl)
  redis.call('PEXPIRE', waiting, ttl)
  place = redis.call('ZRANK', line, request)
end
if lease then
  return {0, lease.holder, lease.since, lease.til, string.format('%.0f', math.max(lease.latest - now, 0)), tostring(place)}
end
-- It is free, and who was to take it is gone: the next has not been told.
if dropped > 0 then
  redis.call(ARGV[9], first.channel, first.request)
end
return {2, first.holder, first.since, stamp(first.alive), string.format('%.0f', first.alive - now), tostring(place)}
