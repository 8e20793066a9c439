#!lua
-- Stores ticks of one exchange: indexes their symbols, numbers the updates and
-- publishes them. Each tick is stored or refused by itself, in the order given.
--
-- KEYS[1]    the exchange's index of symbols   set
-- KEYS[2]    its revision                      string
-- KEYS[3]    its feed's sign of life           string
-- KEYS[4…]   the tickers, one per tick         hash
-- KEYS[last] the index of exchanges            set; only where it shares the slot and is due
-- ARGV[1]    how many microseconds a tick may be ahead of the server's clock
-- ARGV[2]    TTL of the sign of life in milliseconds, if one is due
-- ARGV[3]    PUBLISH or SPUBLISH
-- ARGV[4]    channel of the exchange
-- ARGV[5]    channel of the feed's signs of life
-- ARGV[6]    exchange
-- ARGV[7…]   ten for each tick: its time, fixed-width text; the same in
--            microseconds since 1970; its channel; its symbol; price, bid, ask,
--            last, volume as the message carries them; the same one by one, ""
--            for what is absent
-- Returns    for each tick, in order
--              0 or 1       stored; 1 if there was no such ticker
--              {2, time}    refused: a newer tick is stored
--              {3, symbol}  refused: the key holds another symbol
--              {4, now}     refused: too far ahead of the server's clock
--              {5, error}   refused: the key cannot be read
-- Retry: safe (the same tick again is only numbered anew)

-- @include clock
-- @include stamp
-- @include revision

local TICK, FIRST = 10, 7
local count = (#ARGV - FIRST + 1) / TICK
local latest = now + tonumber(ARGV[1])
local exchange = ARGV[6]
local received = stamp(now)

if ARGV[2] ~= '' then
  redis.call('SET', KEYS[3], received, 'PX', ARGV[2])
end

-- What is refused, and what cannot be done, shows before a ticker is touched.
local results, symbols = {}, {}
local holder, newest = {}, {} -- of the keys that earlier ticks of this call take
for i = 1, count do
  local at = FIRST + (i - 1) * TICK
  local key, time, symbol = KEYS[3 + i], ARGV[at], ARGV[at + 3]
  local had_symbol, had_time = holder[key], newest[key]
  if not had_symbol then
    local stored = redis.pcall('HMGET', key, 'symbol', 'time')
    if stored.err then
      results[i] = {5, stored.err}
    else
      had_symbol, had_time = stored[1], stored[2]
    end
  end
  if results[i] then
    -- it cannot be read
  elseif tonumber(ARGV[at + 1]) > latest then
    results[i] = {4, received}
  elseif had_symbol and had_symbol ~= symbol then
    results[i] = {3, had_symbol}
  -- A stored time that no tick can have is corrupt and must not block its pair
  -- for ever: the new tick mends it.
  elseif had_time and had_time > time and had_time <= stamp(latest) then
    results[i] = {2, had_time}
  else
    results[i] = (had_symbol or had_time) and 0 or 1
    holder[key], newest[key] = symbol, time
    symbols[#symbols + 1] = symbol
  end
end
if #symbols == 0 then
  return results
end

if KEYS[4 + count] then
  redis.call('SCARD', KEYS[4 + count])
end
local rev = next_revision(KEYS[2], #symbols, ARGV[3], ARGV[5])
redis.call('SADD', KEYS[1], unpack(symbols))
if KEYS[4 + count] then
  redis.call('SADD', KEYS[4 + count], exchange)
end

local head, tail = ' ' .. received .. ' ', ' ' .. #exchange .. ' ' .. exchange
for i = 1, count do
  if results[i] == 0 or results[i] == 1 then
    local at = FIRST + (i - 1) * TICK
    local number = string.format('%.0f', rev)
    rev = rev + 1
    local bid, ask, last, volume = ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9]
    redis.call('HSET', KEYS[3 + i], 'exchange', exchange, 'symbol', ARGV[at + 3], 'time', ARGV[at],
      'rev', number, 'received', received, 'price', ARGV[at + 5],
      'bid', bid, 'ask', ask, 'last', last, 'volume', volume)
    if bid == '' or ask == '' or last == '' or volume == '' then
      local absent = {}
      if bid == '' then absent[#absent + 1] = 'bid' end
      if ask == '' then absent[#absent + 1] = 'ask' end
      if last == '' then absent[#absent + 1] = 'last' end
      if volume == '' then absent[#absent + 1] = 'volume' end
      redis.call('HDEL', KEYS[3 + i], unpack(absent))
    end
    local message = 'T ' .. number .. head .. ARGV[at] .. ' ' .. ARGV[at + 4] .. tail .. ARGV[at + 3]
    redis.call(ARGV[3], ARGV[at + 2], message)
    redis.call(ARGV[3], ARGV[4], message)
  end
end
return results
