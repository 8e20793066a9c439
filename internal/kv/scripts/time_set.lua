#!lua
-- Sets a time of a hash, unless a later one is stored. What is no time gives way.
--
-- KEYS[1]  hash
-- ARGV[1]  field
-- ARGV[2]  time, fixed-width text
-- Returns  "", or the later time that is stored
-- Retry: safe

-- @include times

local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored and is_time(stored) and stored > ARGV[2] then
  return stored
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ''
