#!lua
-- Adds messages to a queue, in the order given, but those that were added within
-- the window. Nothing is added if the lease is not held under the token, or if
-- others use the queue in another way.
--
-- KEYS[1]    the ids of the window     sorted set: id → when it ends, microseconds
-- KEYS[2]    how the queue is used     string
-- KEYS[3]    the dead letters          stream
-- KEYS[4…]   the queue's streams       one, or one per partition
-- KEYS[last] the lease                 hash: symbol, token, until; only with a token
-- ARGV[1]    how the caller uses the queue
-- ARGV[2]    how many messages its streams may hold together
-- ARGV[3]    the window, microseconds
-- ARGV[4]    "", which refuses what is beyond; or how many dead letters there may be,
--            a space and the consumers' group: the oldest that wait give way
-- ARGV[5]    "", or the lease's token, a space and its symbol
-- ARGV[6…]   for each message its id and body; where there are partitions also which,
--            from 1, and its key
-- Returns    {dead letters that gave way, messages displaced, for each message 1
--            added, 2 added before, 3 refused: full}
--            or {-1, the token of the lease, or "" if nobody has it}
--            or {-2, how the queue is used or ""}
-- Retry: safe (what was added is then found within the window)

-- @include clock

local seen, streams, cap, window = KEYS[1], #KEYS - 3, tonumber(ARGV[2]), tonumber(ARGV[3])
local use = redis.call('GET', KEYS[2])
if use ~= ARGV[1] then
  return {-2, use or ''}
end
if ARGV[5] ~= '' then
  -- @include stamp
  streams = streams - 1
  local token, symbol = ARGV[5]:match('^(%S+) (.*)$')
  local lease = redis.call('HMGET', KEYS[#KEYS], 'symbol', 'token', 'until')
  local held = lease[1] == symbol and lease[3] and lease[3] > stamp(now) and lease[2]
  if held ~= token then
    return {-1, held or ''}
  end
end

local length, dropped, displaced = 0, 0, 0
for i = 4, 3 + streams do
  length = length + redis.call('XLEN', KEYS[i])
end

-- displace moves the oldest message that nobody was given to the dead letters, if
-- it may.
local displace
if ARGV[4] ~= '' then
  -- @include bury

  -- older tells the order of ids of two streams, which know the millisecond alone:
  -- each stream numbers what came within one by itself.
  local function older(a, b)
    return tonumber(a:match('^%d+')) < tonumber(b:match('^%d+'))
  end

  local dead_cap, consumers = ARGV[4]:match('^(%d+) (.*)$')
  local delivered = {} -- by stream, the last id that a consumer was given

  function displace()
    local oldest, at
    for i = 1, streams do
      local stream = KEYS[3 + i]
      if not delivered[i] then
        delivered[i] = '0-0'
        if redis.call('EXISTS', stream) == 1 then
          for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
            local name, last
            for f = 1, #group, 2 do
              if group[f] == 'name' then name = group[f + 1] end
              if group[f] == 'last-delivered-id' then last = group[f + 1] end
            end
            if name == consumers then
              delivered[i] = last
            end
          end
        end
      end
      local first = redis.call('XRANGE', stream, '(' .. delivered[i], '+', 'COUNT', 1)[1]
      if first and (not oldest or older(first[1], oldest[1])) then
        oldest, at = first, i
      end
    end
    if not oldest then
      return false
    end
    local partition = streams > 1 and tostring(at - 1) or ''
    dropped = dropped + bury(KEYS[3], tonumber(dead_cap), 'displaced: the queue was full', 0, partition, oldest[1], oldest[2])
    redis.call('XDEL', KEYS[3 + at], oldest[1])
    displaced = displaced + 1
    length = length - 1
    return true
  end
end

local results, added, ends = {}, false, string.format('%.0f', now + window)
for first = 6, #ARGV, streams > 1 and 4 or 2 do
  local id, body = ARGV[first], ARGV[first + 1]
  local result = 1
  if redis.call('ZADD', seen, 'NX', ends, id) == 0 then
    if tonumber(redis.call('ZSCORE', seen, id)) > now then
      result = 2
    else
      redis.call('ZADD', seen, ends, id)
    end
  end
  if result == 1 and length >= cap and not (displace and displace()) then
    redis.call('ZREM', seen, id)
    result = 3
  end
  if result == 1 then
    if streams == 1 then
      redis.call('XADD', KEYS[4], '*', 'id', id, 'body', body)
    else
      redis.call('XADD', KEYS[3 + ARGV[first + 2]], '*', 'id', id, 'key', ARGV[first + 3], 'body', body)
    end
    length, added = length + 1, true
  end
  results[#results + 1] = result
end

-- More than come are forgotten, so that the set shrinks, but few at a time; of
-- calls with few messages one in eight does it for the others.
if #results > 50 or now % 8 == 0 then
  local many = math.min(16 * #results + 64, 2000)
  local over = redis.call('ZRANGEBYSCORE', seen, '-inf', string.format('%.0f', now), 'LIMIT', 0, many)
  if #over > 0 then
    redis.call('ZREM', seen, unpack(over))
  end
end
-- A bit more than is needed is not written each time; but if nothing was added, it
-- is the write that replicas confirm.
local left, ttl = redis.call('PTTL', seen), math.ceil(window / 1000)
if left < ttl or not added then
  redis.call('PEXPIRE', seen, math.max(left, ttl + math.ceil(ttl / 8)))
end
return {dropped, displaced, unpack(results)}
