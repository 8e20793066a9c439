#!lua flags=allow-oom
-- Reads the oldest trades of a list and leaves them, once the batches whose time
-- is over are back.
--
-- KEYS[1]  list
-- KEYS[2]  its batches in flight         hash
-- KEYS[3]  when they come back           sorted set
-- KEYS[4]  its info                      hash
-- ARGV[1]  how many trades
-- ARGV[2]  symbol; "" where the list holds any
-- Returns  {waiting, taken, trades}; nothing if the list holds another symbol
-- Retry: safe

-- @include clock
-- @include trades

reclaim(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local known = redis.call('HMGET', KEYS[4], 'symbol', 'taken')
if ARGV[2] ~= '' and known[1] ~= ARGV[2] then
  return {0, 0, {}}
end
local trades = {}
if tonumber(ARGV[1]) > 0 then
  trades = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
end
return {redis.call('LLEN', KEYS[1]), tonumber(known[2]) or 0, trades}
