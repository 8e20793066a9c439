#!lua
-- Gives the holder of partitions what comes next in each: first what the group
-- was given and has not settled, from an entry on, then what nobody was given.
--
-- KEYS[1]  the partitions' leases   hash
-- KEYS[2]  what is delayed          sorted set: "partition entry" → when it is due
-- KEYS[3…] the partitions           streams
-- ARGV[1]  the consumers' group
-- ARGV[2]  the group's consumer
-- ARGV[3…] four for each partition: its number, its lease's token, the first
--          entry to look at, how many at most
-- Returns  for each partition {kind, for each entry {id, which delivery it is, µs
--          until it is due, fields}}; kind is 0 what was given before, 1 what is
--          new, -1 the lease is another's
-- Retry: safe (what was given to nobody's knowledge is given again)

-- @include clock

local group, consumer = ARGV[1], ARGV[2]
local results = {}
for i = 3, #KEYS do
  local stream, at = KEYS[i], 3 + (i - 3) * 4
  local partition, token, from, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local lease = redis.call('HGET', KEYS[1], partition)
  local result = {0}
  if not lease or lease:match('^(%d+) ') ~= token then
    result[1] = -1
  else
    local pending = redis.pcall('XPENDING', stream, group, from, '+', count, consumer)
    if pending.err then
      if not pending.err:find('NOGROUP', 1, true) then
        return pending
      end
      redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
      pending = {}
    end
    for _, p in ipairs(pending) do
      local entry = redis.call('XRANGE', stream, p[1], p[1])[1]
      if entry then
        local due = redis.call('ZSCORE', KEYS[2], partition .. ' ' .. p[1])
        result[#result + 1] = {p[1], p[4], due and math.max(tonumber(due) - now, 0) or 0, entry[2]}
      else
        redis.call('XACK', stream, group, p[1])
      end
    end
    if #pending == 0 then
      result[1] = 1
      local got = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
      for _, entry in ipairs(got and got[1][2] or {}) do
        result[#result + 1] = {entry[1], 1, 0, entry[2]}
      end
    end
  end
  results[#results + 1] = result
end
return results
