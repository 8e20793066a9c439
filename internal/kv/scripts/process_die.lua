#!lua
-- Declares a process dead that has not given a sign of life for too long, and
-- tells those who watch. One that has meanwhile is left alone.
--
-- KEYS, ARGV[1]  as of process_register
-- ARGV[2]  for how many microseconds the caller has been in touch with the
--          server: if it was away, so may have been the process, which gets one
--          interval from then on
-- ARGV[3]  how many intervals it gets beyond
-- ARGV[4]  PUBLISH or SPUBLISH
-- ARGV[5]  channel of the type's processes
-- ARGV[6]  channel that says that revisions began anew
-- ARGV[7]  cap of the history
-- ARGV[8]  its TTL, milliseconds
-- Returns  {1, fields}  it is dead by this call
--          {0, wait}    it is not; if it stays silent, it is after so many
--                       microseconds
--          {2, ""}      there is nothing to declare: it is gone, stopped or dead
-- Retry: no (sent again it would find it dead already)

-- @include clock
-- @include stamp
-- @include revision
-- @include process

local key, processes, due, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local ends = redis.call('ZSCORE', due, id)
if not ends then
  return {2, ''}
end
local stored = redis.pcall('HMGET', key, 'process_id', 'interval')
local interval = not stored.err and tonumber(stored[2]) or 0
local wait = math.max(ends + ARGV[3] * interval, now + interval - ARGV[2]) - now
if wait > 0 then
  return {0, string.format('%.0f', wait)}
end

-- What can fail on a key of another type comes before anything is changed.
redis.call('ZCARD', processes)
redis.call('HLEN', KEYS[4])
redis.call('STRLEN', KEYS[5])
redis.call('ZCARD', KEYS[6])
redis.call('LLEN', KEYS[7])
redis.call('ZREM', due, id)
redis.call('ZREM', KEYS[6], id)
if stored.err or not stored[1] then
  -- What cannot be read is still listed, as corrupt, until it is cleaned up.
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', processes, id)
    redis.call('HDEL', KEYS[4], id)
  end
  publish_gone(id, KEYS[5], ARGV[4], ARGV[5], ARGV[6])
  return {2, ''}
end
redis.call('HSET', key, 'died', stamp(now))
remember(KEYS[7], 'died', key, ARGV[7], ARGV[8])
return {1, publish_process(key, KEYS[5], ARGV[4], ARGV[5], ARGV[6])}
