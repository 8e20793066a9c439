#!lua flags=allow-oom
-- Takes the oldest trades of a list as a batch in flight, once the batches whose
-- time is over are back.
--
-- KEYS[1]  list
-- KEYS[2]  its batches in flight         hash
-- KEYS[3]  when they come back           sorted set
-- KEYS[4]  its info                      hash
-- ARGV[1]  how many trades
-- ARGV[2]  symbol; "" where the list holds any
-- ARGV[3]  the batch's id
-- ARGV[4]  after how many milliseconds it comes back
-- ARGV[5]  how many trades may be in flight
-- Returns  {1, trades}  taken
--          {2, taken}   refused: so many are in flight
-- Retry: safe (the batch of that id is returned again)

-- @include clock
-- @include trades

local list, taken, due, info = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
reclaim(list, taken, due, info)
local batch = redis.call('HGET', taken, ARGV[3])
if batch then
  local _, _, trades = unpack_batch(batch)
  return {1, trades}
end
local known = redis.call('HMGET', info, 'symbol', 'taken')
local waiting = redis.call('LLEN', list)
if waiting == 0 or ARGV[2] ~= '' and known[1] ~= ARGV[2] then
  return {1, {}}
end
local flying = tonumber(known[2]) or 0
local many = math.min(waiting, tonumber(ARGV[1]), tonumber(ARGV[5]) - flying)
if many <= 0 then
  return {2, flying}
end
local trades = redis.call('LRANGE', list, 0, many - 1)
redis.call('HSET', taken, ARGV[3], pack_batch(shorten(info, waiting, many), trades))
redis.call('ZADD', due, string.format('%.0f', math.floor(now / 1000) + ARGV[4]), ARGV[3])
redis.call('HINCRBY', info, 'taken', many)
redis.call('LTRIM', list, many, -1)
return {1, trades}
