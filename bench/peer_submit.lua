#!lua
-- What a careful user would write by hand: adds orders that were not added within
-- the window, up to the cap.
--
-- KEYS[1]  the stream
-- KEYS[2]  the ids of the window
-- ARGV[1]  the cap
-- ARGV[2]  the window, microseconds
-- ARGV[3…] id and body of each
-- Returns  how many were added

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local cap, ends = tonumber(ARGV[1]), string.format('%.0f', now + ARGV[2])
local length, added = redis.call('XLEN', KEYS[1]), 0
for i = 3, #ARGV, 2 do
  if length < cap and redis.call('ZADD', KEYS[2], 'NX', ends, ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'body', ARGV[i + 1])
    length, added = length + 1, added + 1
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
return added
