#!lua
-- Acknowledges entries of one stream: they are done and gone. With a token, which
-- partitions have, it does so only while the lease is the caller's.
--
-- KEYS[1]  the stream
-- KEYS[2]  what is delayed         sorted set: entry ("partition entry" in a
--                                  partition) → when it is due, microseconds
-- KEYS[3]  the partitions' leases  hash
-- ARGV[1]  the consumers' group
-- ARGV[2]  the partition, or ""
-- ARGV[3]  the lease's token, or ""
-- ARGV[4…] the entries
-- Returns  {the places, from 1, of entries that were done before} or {-1} the lease
--          is another's
-- Retry: no (what was done would be reported as done before)

local stream, group, partition = KEYS[1], ARGV[1], ARGV[2]
if ARGV[3] ~= '' then
  local lease = redis.call('HGET', KEYS[3], partition)
  if not lease or lease:match('^(%d+) ') ~= ARGV[3] then
    return {-1}
  end
end

local before = {}
if redis.call('XACK', stream, group, unpack(ARGV, 4)) < #ARGV - 3 then
  for i = 4, #ARGV do
    if #redis.call('XRANGE', stream, ARGV[i], ARGV[i]) == 0 then
      before[#before + 1] = i - 3
    end
  end
end
redis.call('XDEL', stream, unpack(ARGV, 4))
if redis.call('ZCARD', KEYS[2]) > 0 then
  local members = {}
  for i = 4, #ARGV do
    members[i - 3] = partition == '' and ARGV[i] or partition .. ' ' .. ARGV[i]
  end
  redis.call('ZREM', KEYS[2], unpack(members))
end
return before
