#!lua
-- Forgets a process that has stopped or was declared dead, and tells those who watch.
--
-- KEYS, ARGV[1]  as of process_register
-- ARGV[2]  for how many microseconds at least it must have been silent
-- ARGV[3]  PUBLISH or SPUBLISH
-- ARGV[4]  channel of the type's processes
-- ARGV[5]  channel that says that revisions began anew
-- Returns  1, or 0 if it lives, is yet to be declared dead, was heard of since or is
--          unknown
-- Retry: no (sent again it would find nothing)

-- @include clock
-- @include stamp
-- @include revision
-- @include process

local id = ARGV[1]
local heartbeat = redis.call('ZSCORE', KEYS[2], id)
if not heartbeat or heartbeat + ARGV[2] > now or redis.call('ZSCORE', KEYS[3], id) then
  return 0
end
-- What can fail on a key of another type comes before anything is changed.
redis.call('HLEN', KEYS[4])
redis.call('STRLEN', KEYS[5])
redis.call('ZCARD', KEYS[6])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], id)
redis.call('HDEL', KEYS[4], id)
redis.call('ZREM', KEYS[6], id)
publish_gone(id, KEYS[5], ARGV[3], ARGV[4], ARGV[5])
return 1
