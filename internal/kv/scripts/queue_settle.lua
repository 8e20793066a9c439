#!lua
-- Settles deliveries of one stream that are not simply done. With a token, which partitions have, it does
-- so only while the lease is the caller's.
--
-- KEYS[1]  the stream
-- KEYS[2]  what is delayed        sorted set: entry ("partition entry" in a
--                                 partition) → when it is due, microseconds
-- KEYS[3]  the dead letters       stream
-- KEYS[4]  the partitions' leases hash
-- ARGV[1]  the consumers' group
-- ARGV[2]  the consumer
-- ARGV[3]  the partition, or ""
-- ARGV[4]  the lease's token, or ""
-- ARGV[5]  how many dead letters there may be
-- ARGV[6…] operations, each a letter, an entry and more:
--            N entry count µs max why    again after a delay; at max deliveries a dead letter
--            R entry why                 a dead letter
--            E entry                     its time begins anew
--            H entry count               back untouched (not in a partition)
--            B entry count max why       its consumer died: one more delivery (only in a
--                                        partition); at max deliveries a dead letter
--          where count is which delivery it was
-- Returns  {dead letters that gave way, for each operation 1 done, 2 it became a
--          dead letter, 0 the entry is not the caller's (any more)}
--          or {-1} the lease is another's
-- Retry: no (what was done would be reported as not the caller's)

-- @include clock
-- @include bury

local stream, delayed, dead = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, partition, cap = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if ARGV[4] ~= '' then
  local lease = redis.call('HGET', KEYS[4], partition)
  if not lease or lease:match('^(%d+) ') ~= ARGV[4] then
    return {-1}
  end
end

local dropped, results = 0, {}
local function member(id)
  return partition == '' and id or partition .. ' ' .. id
end

-- deliveries is how often the caller's entry was delivered, or nil.
local function deliveries(id)
  local pending = redis.pcall('XPENDING', stream, group, id, id, 1)
  if not pending.err and pending[1] and pending[1][2] == consumer then
    return pending[1][4]
  end
end

local function to_dead(id, count, why)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if entry then
    dropped = dropped + bury(dead, cap, why, count, partition, id, entry[2])
  end
  redis.call('XACK', stream, group, id)
  redis.call('XDEL', stream, id)
  redis.call('ZREM', delayed, member(id))
  return 2
end

local ops = {
  N = {5, function(id, count, delay, max, why)
    local had = deliveries(id)
    if not had then
      return 0
    elseif had >= tonumber(max) and had <= tonumber(count) then
      return to_dead(id, had, why)
    end
    -- First the time, then the place: an entry without a time would wait for ever.
    redis.call('ZADD', delayed, string.format('%.0f', now + tonumber(delay)), member(id))
    if partition == '' then
      redis.call('XCLAIM', stream, group, 'delayed', 0, id, 'RETRYCOUNT', had, 'JUSTID')
    else
      redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', count + 1, 'JUSTID')
    end
    return 1
  end},
  R = {2, function(id, why)
    local had = deliveries(id)
    return had and to_dead(id, had, why) or 0
  end},
  E = {1, function(id)
    local had = deliveries(id)
    if not had then
      return 0
    end
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', had, 'JUSTID')
    return 1
  end},
  H = {2, function(id, count)
    if not deliveries(id) then
      return 0
    end
    redis.call('ZADD', delayed, string.format('%.0f', now), id)
    redis.call('XCLAIM', stream, group, 'delayed', 0, id, 'RETRYCOUNT', count - 1, 'JUSTID')
    return 1
  end},
  B = {4, function(id, count, max, why)
    local had = deliveries(id)
    if not had then
      return 0
    elseif had > tonumber(count) then
      return 1
    elseif had >= tonumber(max) then
      return to_dead(id, had, why)
    end
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', count + 1, 'JUSTID')
    return 1
  end},
}

local at = 6
while at <= #ARGV do
  local op = ops[ARGV[at]]
  results[#results + 1] = op[2](unpack(ARGV, at + 1, at + op[1]))
  at = at + 1 + op[1]
end

return {dropped, unpack(results)}
