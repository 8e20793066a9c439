#!lua
-- Deletes a series and its entry in the index, and publishes that.
--
-- KEYS[1]  list                             any type: deleting mends a corrupt one
-- KEYS[2]  the exchange's index of series   hash
-- KEYS[3]  its revision                     string
-- KEYS[4]  the index of exchanges           set; only where it shares the slot
-- ARGV[1]  symbol
-- ARGV[2]  the series' name in the index
-- ARGV[3]  PUBLISH or SPUBLISH
-- ARGV[4]  channel of the series
-- ARGV[5]  channel that says that revisions began anew
-- ARGV[6]  exchange
-- ARGV[7]  how messages end: timeframe and names
-- Returns  {1, left}    deleted; left is how many series the exchange still has, as text
--          {2, left}    there was none
--          {3, symbol}  refused: the list holds another symbol
-- Retry: no (sent again it would report that there was none)

-- @include clock
-- @include revision
-- @include bars

local exists = redis.call('EXISTS', KEYS[1]) == 1
local holder = read_series(redis.call('HGET', KEYS[2], ARGV[2]))
if exists and holder and holder ~= ARGV[1] then
  return {3, holder}
end

-- What can fail on a key of another type comes before anything is changed.
redis.call('STRLEN', KEYS[3])
if KEYS[4] then
  redis.call('SCARD', KEYS[4])
end
if exists then
  redis.call('DEL', KEYS[1])
  local rev = string.format('%.0f', next_revision(KEYS[3], 1, ARGV[3], ARGV[5]))
  redis.call(ARGV[3], ARGV[4], 'D ' .. rev .. ' ' .. ARGV[7])
end
redis.call('HDEL', KEYS[2], ARGV[2])
local left = redis.call('HLEN', KEYS[2])
if left == 0 and KEYS[4] then
  redis.call('SREM', KEYS[4], ARGV[6])
end
return {exists and 1 or 2, tostring(left)}
