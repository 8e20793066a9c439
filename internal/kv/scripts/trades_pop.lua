#!lua flags=allow-oom
-- Takes the oldest trade off a list, once the batches whose time is over are
-- back.
--
-- KEYS[1]  list
-- KEYS[2]  its batches in flight         hash
-- KEYS[3]  when they come back           sorted set
-- KEYS[4]  its info                      hash
-- Returns  {trade}, or in how many milliseconds a batch comes back; -1 if none
--          is in flight
-- Retry: no (sent again it would take another)

-- @include clock
-- @include trades

reclaim(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local waiting = redis.call('LLEN', KEYS[1])
if waiting > 0 then
  shorten(KEYS[4], waiting, 1)
  return {redis.call('LPOP', KEYS[1])}
end
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if not next[2] then
  return -1
end
return math.max(next[2] - math.floor(now / 1000), 0)
