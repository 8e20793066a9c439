#!lua
-- Appends to a list, unless it is full.
--
-- KEYS[1]  list
-- ARGV[1]  cap
-- ARGV[2]  element
-- Returns  its length, or 0 if it is full
-- Retry: no (sent again it would append twice)

if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
return redis.call('RPUSH', KEYS[1], ARGV[2])
