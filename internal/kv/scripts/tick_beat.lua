#!lua
-- Records that an exchange's feed is alive, and tells its followers.
--
-- KEYS[1]  the feed's sign of life   string
-- ARGV[1]  its TTL, milliseconds
-- ARGV[2]  PUBLISH or SPUBLISH
-- ARGV[3]  channel of the feed's signs of life
-- Returns  the time
-- Retry: safe

-- @include clock
-- @include stamp

local received = stamp(now)
redis.call('SET', KEYS[1], received, 'PX', ARGV[1])
redis.call(ARGV[2], ARGV[3], 'B ' .. received)
return received
