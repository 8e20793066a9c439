#!lua flags=allow-oom
-- Ends a batch in flight: forgets it, or puts it back in front of its list.
--
-- KEYS[1]  list
-- KEYS[2]  its batches in flight         hash
-- KEYS[3]  when they come back           sorted set
-- KEYS[4]  its info                      hash
-- ARGV[1]  the batch's id
-- ARGV[2]  "ack" or "return"
-- ARGV[3]  how many trades it has
-- Returns  1, or 0 if it is not in flight
-- Retry: no (sent again it would find the batch gone)

-- @include trades

redis.call('HLEN', KEYS[4]) -- of another type, it fails before anything is changed
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return 0
end
if ARGV[2] == 'return' then
  give_back(KEYS[1], KEYS[2], KEYS[3], KEYS[4], {ARGV[1]})
else
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  landed(KEYS[4], KEYS[3], ARGV[3])
end
return 1
