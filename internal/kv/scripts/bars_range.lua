#!lua
-- Reads the bars of a series that open in a span of time.
--
-- KEYS[1]  list
-- KEYS[2]  the exchange's index of series   hash
-- ARGV[1]  symbol
-- ARGV[2]  the series' name in the index
-- ARGV[3]  the first time, ten digits; "" if the span has no beginning
-- ARGV[4]  the time at which the span ends, without it; "" if it has no end
-- Returns  {1, first, bars}  first is the index of the first bar in the list
--          {2}               there is no such series
--          {3, symbol}       the list holds another symbol
-- Retry: safe

-- @include bars

local length = redis.call('LLEN', KEYS[1])
local holder = read_series(redis.call('HGET', KEYS[2], ARGV[2]))
if length == 0 then
  return {2}
elseif holder and holder ~= ARGV[1] then
  return {3, holder}
end
local first, last = 0, length
if ARGV[3] ~= '' then
  first = position(KEYS[1], length, ARGV[3])
end
if ARGV[4] ~= '' then
  last = position(KEYS[1], length, ARGV[4])
end
if first >= last then
  return {1, first, {}}
end
return {1, first, redis.call('LRANGE', KEYS[1], first, last - 1)}
