#!lua
-- Records that a process is alive of which nothing else is to be told, while all of
-- its type are. Everything else is left to process_beat. There are many of these
-- calls, so it does as little as it can.
--
-- KEYS[1]  the process               hash
-- KEYS[2]  its type's processes      sorted set
-- KEYS[3]  when they count as dead   sorted set
-- ARGV[1]  id
-- ARGV[2]  instance
-- ARGV[3]  after how many microseconds without a heartbeat it counts as dead
-- ARGV[4]  number of this write among those of the instance
-- ARGV[5]  TTL after the last heartbeat, milliseconds
-- Returns  1 if that is recorded; 0 if nothing is
-- Retry: safe (the same again changes nothing but times)

-- @include clock
-- @include stamp

local stored = redis.pcall('HMGET', KEYS[1], 'instance', 'seq', 'died')
if stored.err or stored[1] ~= ARGV[2] or (tonumber(stored[2]) or now) > tonumber(ARGV[4]) or stored[3] then
  return 0
end
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if not first[2] or tonumber(first[2]) <= now then
  return 0
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[1])
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[1], 'seq', ARGV[4], 'heartbeat', stamp(now))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
