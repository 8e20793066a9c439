#!lua
-- Gives a consumer what is due again: delayed entries, and entries of consumers
-- that did not settle them in time. It also removes dead consumers.
--
-- KEYS[1]  the stream
-- KEYS[2]  what is delayed   sorted set: entry → when it is due, microseconds
-- KEYS[3]  the dead letters  stream
-- ARGV[1]  the consumers' group
-- ARGV[2]  the consumer
-- ARGV[3]  how many entries at most
-- ARGV[4]  after how many milliseconds an entry is another's; "" does not look
-- ARGV[5]  how many deliveries there may be
-- ARGV[6]  why an entry that had them is a dead letter
-- ARGV[7]  how many dead letters there may be
-- ARGV[8]  after how many milliseconds a consumer that owns nothing is dead
-- ARGV[9]  "recover": instead, return what the consumer owns, as it is
-- Returns  {µs until the next is due or -1, dead letters that gave way, the ids of
--          entries that became dead letters, for each entry {id, which delivery it
--          is, fields}}
-- Retry: no (the entries would be the caller's, who would not know)

-- @include clock
-- @include bury

local stream, delayed, dead, group, consumer, limit = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], tonumber(ARGV[3])
local buried, dropped, entries = {}, 0, {}

if ARGV[9] == 'recover' then
  for _, p in ipairs(redis.call('XPENDING', stream, group, '-', '+', limit, consumer)) do
    local entry = redis.call('XRANGE', stream, p[1], p[1])[1]
    if entry then
      entries[#entries + 1] = {p[1], p[4], entry[2]}
    else
      redis.call('XACK', stream, group, p[1])
    end
  end
  return {-1, 0, buried, unpack(entries)}
end

if redis.call('EXISTS', stream) == 0 then
  return {-1, 0, buried}
end

local function claim(id, count)
  local entry = redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', count)[1]
  if entry then
    entries[#entries + 1] = {id, count, entry[2]}
  end
end

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', string.format('%.0f', now), 'LIMIT', 0, limit)
for _, id in ipairs(due) do
  local p = redis.call('XPENDING', stream, group, id, id, 1)[1]
  if p and p[2] == 'delayed' then
    claim(id, p[4] + 1)
  end
  redis.call('ZREM', delayed, id)
end

if ARGV[4] ~= '' then
  local max, parked = tonumber(ARGV[5]), 0
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local c = {}
    for f = 1, #info, 2 do
      c[info[f]] = info[f + 1]
    end
    if c.name == 'delayed' then
      parked = c.pending
    elseif c.pending == 0 then
      if c.name ~= consumer and c.idle >= tonumber(ARGV[8]) then
        redis.call('XGROUP', 'DELCONSUMER', stream, group, c.name)
      end
    elseif #entries < limit then
      for _, p in ipairs(redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], '-', '+', limit - #entries, c.name)) do
        if p[4] < max then
          claim(p[1], p[4] + 1)
        else
          local entry = redis.call('XRANGE', stream, p[1], p[1])[1]
          if entry then
            dropped = dropped + bury(dead, tonumber(ARGV[7]), ARGV[6], p[4], '', p[1], entry[2])
            buried[#buried + 1] = p[1]
          end
          redis.call('XACK', stream, group, p[1])
          redis.call('XDEL', stream, p[1])
        end
      end
    end
  end
  -- What is parked without a time, because somebody removed it, is due.
  if parked > redis.call('ZCARD', delayed) then
    for _, p in ipairs(redis.call('XPENDING', stream, group, '-', '+', parked, 'delayed')) do
      redis.call('ZADD', delayed, 'NX', string.format('%.0f', now), p[1])
    end
  end
end

local nearest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = nearest[2] and math.max(tonumber(nearest[2]) - now, 0) or -1
return {wait, dropped, buried, unpack(entries)}
