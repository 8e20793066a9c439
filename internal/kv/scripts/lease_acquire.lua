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
-- ARGV[1]  symbol
-- ARGV[2]  holder
-- ARGV[3]  request; the same again is given the same
-- ARGV[4]  how long it lasts, milliseconds
-- ARGV[5]  a token that the caller has seen, or 0
-- ARGV[6]  PUBLISH or SPUBLISH
-- ARGV[7]  "share" what the same holder has, or "refuse"; this and what follows
--          may be missing together
-- ARGV[8]  exchange, to tidy the indexes, or ""
-- ARGV[9]  for how long it waits in line, microseconds, or "" if it does not
-- ARGV[10] channel of who waits
-- Returns  "token since until"     it is given
--          {0, holder, since, until, microseconds until then or 0, place in line
--           from 0 or -1}           somebody has it
--          {2, …}                   as 0: nobody has it, but its holder is to, next
--          {4, symbol}              the key is another symbol's
--          {5, field}               the lease cannot be read
--          {6, text}                the last token cannot be read
-- Retry: safe

-- @include clock
-- @include stamp

local key, fence, index, line, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local symbol, holder, request, ends = ARGV[1], ARGV[2], ARGV[3], now + ARGV[4] * 1000
local exchange, patience = ARGV[8] or '', ARGV[9] or ''

-- mint returns the next token; or nil, and what the fence holds, if no token can
-- follow that.
local function mint()
  local token = ARGV[5] + 1
  if token < now then
    token = now
  end
  local text = string.format('%.0f', token)
  local last = redis.call('SET', fence, text, 'GET')
  if not last or #last == 16 and (tonumber(last) or token) < token then
    return text
  end
  -- Beyond 2^53 the next would be the same.
  if not last:match('^%d+$') or #last > 16 or tonumber(last) >= 9007199254740991 then
    redis.call('SET', fence, last)
    return nil, last
  elseif tonumber(last) >= token then
    text = string.format('%.0f', tonumber(last) + 1)
    redis.call('SET', fence, text)
  end
  return text
end

if exchange ~= '' then
  redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
  if KEYS[6] then
    redis.call('SADD', KEYS[6], exchange)
  end
end

-- Mostly nobody has it, and nobody waits.
if redis.call('EXISTS', key, line) == 0 then
  local token, last = mint()
  if not token then
    return {6, last}
  end
  local since, til, over = stamp(now), stamp(ends), string.format('%.0f', ends)
  -- It is this that can fail, on a key of another type.
  redis.call('ZADD', index, over, symbol)
  redis.call('HSET', key, 'symbol', symbol, 'holder', holder, 'token', token, 'since', since, 'until', til,
    'holds', request .. ' ' .. over, 'alone', token .. ' ' .. request)
  redis.call('PEXPIRE', key, ARGV[4])
  return token .. ' ' .. since .. ' ' .. til
end

-- @include times
-- @include lease

local lease, unreadable = read_lease(key)
if unreadable then
  return {5, unreadable}
elseif lease and lease.symbol ~= symbol then
  return {4, lease.symbol}
end
local first, dropped = first_in_line(line, waiting)
if first and first.symbol ~= symbol then
  return {4, first.symbol}
end

local shares = lease and lease.holder == holder and (ARGV[7] == 'share' or lease.holds[request])
if shares or not lease and (not first or first.request == request) then
  if not lease then
    local token, last = mint()
    if not token then
      return {6, last}
    end
    lease = {symbol = symbol, holder = holder, token = token, since = stamp(now), holds = {}}
  end
  lease.holds[request] = math.max(ends, lease.holds[request] or 0)
  keep(key, index, lease)
  redis.call('HDEL', key, 'alone')
  if first then
    redis.call('ZREM', line, request)
    redis.call('HDEL', waiting, request)
  end
  return lease.token .. ' ' .. lease.since .. ' ' .. lease.til
end

local place = -1
if patience ~= '' then
  redis.call('HDEL', key, 'alone')
  local alive = string.format('%.0f', now + patience)
  local since = (redis.call('HGET', waiting, request) or ''):match('^%d+ (%S+)')
  if not redis.call('ZSCORE', line, request) then
    local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', line, string.format('%.0f', math.max(now, (tonumber(last) or 0) + 1)), request)
  end
  redis.call('HSET', waiting, request,
    table.concat({alive, since or stamp(now), #ARGV[10], #symbol, ARGV[10] .. symbol .. holder}, ' '))
  local ttl = string.format('%.0f', math.ceil(2 * patience / 1000))
  redis.call('PEXPIRE', line, ttl)
  redis.call('PEXPIRE', waiting, ttl)
  place = redis.call('ZRANK', line, request)
end
if lease then
  return {0, lease.holder, lease.since, lease.til, string.format('%.0f', math.max(lease.latest - now, 0)), tostring(place)}
end
-- It is free, and who was to take it is gone: the next has not been told.
if dropped > 0 then
  redis.call(ARGV[6], first.channel, first.request)
end
return {2, first.holder, first.since, stamp(first.alive), string.format('%.0f', first.alive - now), tostring(place)}
