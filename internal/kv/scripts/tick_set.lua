#!lua
-- Stores a tick, indexes its symbol, numbers the update and publishes it.
--
-- KEYS[1]  the ticker         hash
-- KEYS[2]  its exchange's index of symbols   set
-- KEYS[3]  its exchange's revision           string
-- KEYS[4]  its feed's sign of life           string
-- KEYS[5]  the index of exchanges            set; only where it shares the slot and is due
-- ARGV[1]  time of the tick, fixed-width text
-- ARGV[2]  the same in microseconds since 1970
-- ARGV[3]  how many microseconds it may be ahead of the server's clock
-- ARGV[4]  "1" if the feed's sign of life is due
-- ARGV[5]  TTL of the sign of life, milliseconds
-- ARGV[6]  PUBLISH or SPUBLISH
-- ARGV[7]  channel of the ticker
-- ARGV[8]  channel of the exchange
-- ARGV[9]  channel of the feed's signs of life
-- ARGV[10] exchange
-- ARGV[11] symbol
-- ARGV[12] price, bid, ask, last, volume as the message carries them
-- ARGV[13] how many of the following arguments are field, value pairs for the
--          hash; behind them stand the names of the fields that are absent
-- Returns  {1, rev, created}  stored; created is 1 if there was no such ticker
--          {2, time}          refused: the stored tick is newer
--          {3, symbol}        refused: the key holds another symbol
--          {4, now}           refused: too far ahead of the server's clock
-- Retry: safe (the same tick again is only numbered anew)

-- @include clock
-- @include revision

local latest = now + tonumber(ARGV[3])
if tonumber(ARGV[2]) > latest then
  return {4, stamp(now)}
end

local stored = redis.call('HMGET', KEYS[1], 'symbol', 'time')
local symbol, time = stored[1], stored[2]
if symbol and symbol ~= ARGV[11] then
  return {3, symbol}
end

local received = stamp(now)
if ARGV[4] == '1' then
  redis.call('SET', KEYS[4], received, 'PX', ARGV[5])
end

-- A stored time that no tick can have is corrupt and must not block its pair for
-- ever: the new tick mends it.
if time and time > ARGV[1] and time <= stamp(latest) then
  return {2, time}
end

-- What can fail on a key of another type comes before the ticker is touched.
local rev = next_revision(KEYS[3], ARGV[6], ARGV[9])
redis.call('SADD', KEYS[2], ARGV[11])
if KEYS[5] then
  redis.call('SADD', KEYS[5], ARGV[10])
end

local last_pair = 13 + tonumber(ARGV[13])
redis.call('HSET', KEYS[1], 'exchange', ARGV[10], 'symbol', ARGV[11], 'time', ARGV[1],
  'rev', rev, 'received', received, unpack(ARGV, 14, last_pair))
if last_pair < #ARGV then
  redis.call('HDEL', KEYS[1], unpack(ARGV, last_pair + 1))
end

local message = table.concat({'T', rev, received, ARGV[1], ARGV[12], #ARGV[10], ARGV[10] .. ARGV[11]}, ' ')
redis.call(ARGV[6], ARGV[7], message)
redis.call(ARGV[6], ARGV[8], message)
return {1, rev, (symbol or time) and 0 or 1}
