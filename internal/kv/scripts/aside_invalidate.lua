#!lua
-- Removes an entry, ends a loader's claim on it, whose result may be old by now,
-- and ends the write of a writer. Other writers go on.
--
-- KEYS[1]  the entry    any type
-- KEYS[2]  its guard    any type
-- ARGV[1]  the writer's token, or "" if it is none
-- Returns  nothing
-- Retry: safe

-- @include clock
-- @include writers

local others, ttl = writers_beside(redis.pcall('GET', KEYS[2]), ARGV[1])
redis.call('DEL', KEYS[1])
if others == '' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], 'W' .. others, 'PX', ttl)
end
return ''
