#!lua
-- Begins a write of what an entry is a copy of: the entry goes, and until the
-- write has ended or its time is over, nothing that is loaded becomes an entry.
--
-- KEYS[1]  the entry    any type
-- KEYS[2]  its guard    string; another type is overwritten
-- ARGV[1]  the writer's token
-- ARGV[2]  how long the write may take, milliseconds
-- Returns  nothing
-- Retry: safe

-- @include clock
-- @include writers

local others, ttl = writers_beside(redis.pcall('GET', KEYS[2]), ARGV[1])
local expires = string.format('%.0f', now + ARGV[2] * 1000)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], 'W ' .. expires .. ' ' .. ARGV[1] .. others, 'PX', math.max(ttl, tonumber(ARGV[2])))
return ''
