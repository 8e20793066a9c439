#!lua
-- Deletes a ticker and its entry in the index, and publishes that.
--
-- KEYS[1]  the ticker                        any type: deleting mends a corrupt one
-- KEYS[2]  its exchange's index of symbols   set
-- KEYS[3]  its exchange's revision           string
-- KEYS[4]  the index of exchanges            set; only where it shares the slot
-- ARGV[1]  PUBLISH or SPUBLISH
-- ARGV[2]  channel of the ticker
-- ARGV[3]  channel of the exchange
-- ARGV[4]  channel of the feed's signs of life
-- ARGV[5]  exchange
-- ARGV[6]  symbol
-- Returns  {1, left}    deleted; left is how many tickers the exchange still has, as text
--          {2, left}    there was none
--          {3, symbol}  refused: the key holds another symbol
-- Retry: no (sent again it would report that there was none)

-- @include clock
-- @include stamp
-- @include revision

local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then
  local symbol = redis.call('HGET', KEYS[1], 'symbol')
  if symbol and symbol ~= ARGV[6] then
    return {3, symbol}
  end
end

-- What can fail on a key of another type comes before anything is changed.
redis.call('SCARD', KEYS[2])
if KEYS[4] then
  redis.call('SCARD', KEYS[4])
end
local rev = kind ~= 'none' and string.format('%.0f', next_revision(KEYS[3], 1, ARGV[1], ARGV[4]))

redis.call('SREM', KEYS[2], ARGV[6])
local left = redis.call('SCARD', KEYS[2])
if left == 0 and KEYS[4] then
  redis.call('SREM', KEYS[4], ARGV[5])
end
if kind == 'none' then
  return {2, left}
end

redis.call('DEL', KEYS[1])
local message = table.concat({'D', rev, stamp(now), #ARGV[5], ARGV[5] .. ARGV[6]}, ' ')
redis.call(ARGV[1], ARGV[2], message)
redis.call(ARGV[1], ARGV[3], message)
return {1, tostring(left)}
