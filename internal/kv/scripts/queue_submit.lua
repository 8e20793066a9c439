#!lua
-- Adds messages to a queue, in the order given, but those that were added within
-- the window. Nothing is added if the fence does not hold the token.
--
-- KEYS[1]    the ids of the window     sorted set: id → when it ends, microseconds
-- KEYS[2]    the dead letters          stream
-- KEYS[3…]   the queue's streams       one, or one per partition
-- KEYS[last] the fence                 string, or hash; only with a token
-- ARGV[1]    how many streams
-- ARGV[2]    how many messages they may hold together
-- ARGV[3]    "refuse" what is beyond, or "displace" the oldest that wait
-- ARGV[4]    how many dead letters there may be
-- ARGV[5]    the window, microseconds
-- ARGV[6]    the consumers' group
-- ARGV[7]    the fence's token, or ""
-- ARGV[8]    the fence's field that holds it, or "" if it is a string
-- ARGV[9…]   four for each message: its stream, from 1; id; key ("" where there are
--            no partitions); body
-- Returns    {dead letters that gave way, messages displaced, for each message 1
--            added, 2 added before, 3 refused: full}
--            or {-1, what the fence holds or ""}
-- Retry: safe (what was added is then found within the window)

-- @include clock
-- @include bury

local streams, cap, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
if ARGV[7] ~= '' then
  local fence = KEYS[3 + streams]
  local held
  if ARGV[8] == '' then
    held = redis.call('GET', fence)
  else
    held = redis.call('HGET', fence, ARGV[8])
  end
  if held ~= ARGV[7] then
    return {-1, held or ''}
  end
end

local length = 0
for i = 1, streams do
  length = length + redis.call('XLEN', KEYS[2 + i])
end

-- older tells the order of two stream ids, far enough for finding the oldest.
local function older(a, b)
  local a1, a2 = a:match('^(%d+)-(%d+)$')
  local b1, b2 = b:match('^(%d+)-(%d+)$')
  a1, b1 = tonumber(a1), tonumber(b1)
  return a1 < b1 or a1 == b1 and tonumber(a2) < tonumber(b2)
end

local delivered = {} -- by stream, the last id that a consumer was given
local dropped, displaced = 0, 0

-- displace moves the oldest message that nobody was given to the dead letters.
local function displace()
  local oldest, at
  for i = 1, streams do
    local stream = KEYS[2 + i]
    if not delivered[i] then
      delivered[i] = '0-0'
      if redis.call('EXISTS', stream) == 1 then
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
          local name, last
          for f = 1, #group, 2 do
            if group[f] == 'name' then name = group[f + 1] end
            if group[f] == 'last-delivered-id' then last = group[f + 1] end
          end
          if name == ARGV[6] then
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
  dropped = dropped + bury(KEYS[2], tonumber(ARGV[4]), 'displaced: the queue was full', 0, partition, oldest[1], oldest[2])
  redis.call('XDEL', KEYS[2 + at], oldest[1])
  displaced = displaced + 1
  length = length - 1
  return true
end

local results, ends = {}, string.format('%.0f', now + window)
for first = 9, #ARGV, 4 do
  local number, id, key, body = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
  local result = 1
  if redis.call('ZADD', KEYS[1], 'NX', ends, id) == 0 then
    if tonumber(redis.call('ZSCORE', KEYS[1], id)) > now then
      result = 2
    else
      redis.call('ZADD', KEYS[1], ends, id)
    end
  end
  if result == 1 and length >= cap and not (ARGV[3] == 'displace' and displace()) then
    redis.call('ZREM', KEYS[1], id)
    result = 3
  end
  if result == 1 then
    if key == '' then
      redis.call('XADD', KEYS[2 + number], '*', 'id', id, 'body', body)
    else
      redis.call('XADD', KEYS[2 + number], '*', 'id', id, 'key', key, 'body', body)
    end
    length = length + 1
  end
  results[#results + 1] = result
end

-- More than come are forgotten, so that the set shrinks, but few at a time.
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, math.min(2 * #results + 8, 2000))
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
end
-- It is also the write that replicas confirm when nothing was added.
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), math.ceil(window / 1000)))
return {dropped, displaced, unpack(results)}
