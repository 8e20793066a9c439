#!lua
-- Stores a loaded entry and gives its claim back, unless the claim was lost: to
-- an invalidation, a writer, or time.
--
-- KEYS[1]  the entry    any type: filling mends a corrupt one
-- KEYS[2]  its guard    string
-- ARGV[1]  the claim's token
-- ARGV[2]  when it was loaded
-- ARGV[3]  for how long it is fresh, microseconds
-- ARGV[4]  generation
-- ARGV[5]  "present" or "absent"
-- ARGV[6]  TTL, milliseconds
-- ARGV[7…] fields and values
-- Returns  1 stored, 0 refused
-- Retry: safe (sent again it refuses what it has stored, and the entry is there)

-- @include clock
-- @include stamp

local guard = redis.pcall('GET', KEYS[2])
if type(guard) ~= 'string' or guard:match('^L (%S+) ') ~= ARGV[1] then
  return 0
end
-- Freshness begins now, so that a load that takes long is of use.
local meta = table.concat({ARGV[2], stamp(now + tonumber(ARGV[3])), ARGV[4], ARGV[5]}, ' ')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '', meta)
-- Lua's stack does not hold them all at once.
for first = 7, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('DEL', KEYS[2])
return 1
