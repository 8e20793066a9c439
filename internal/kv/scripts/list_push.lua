#!lua
-- Appends to a list and drops the oldest elements beyond its cap.
--
-- KEYS[1]  list
-- ARGV[1]  cap
-- ARGV[2]  element
-- Returns  1
-- Retry: no (sent again it would append twice)

local over = redis.call('RPUSH', KEYS[1], ARGV[2]) - tonumber(ARGV[1])
if over > 0 then
  redis.call('LTRIM', KEYS[1], over, -1)
end
return 1
