#!lua
-- Appends trades to a list, unless it is full or knows them already, and
-- publishes those it took.
--
-- KEYS[1]  list
-- KEYS[2]  its info       hash
-- KEYS[3]  its seen ids   sorted set
-- KEYS[4]  the exchange's revision   string; only where they are published
-- ARGV[1]  cap
-- ARGV[2]  "drop" to drop the oldest where the list is full, else ""
-- ARGV[3]  for how many milliseconds an id is taken once, or ""
-- ARGV[4]  symbol; "" where the list holds any
-- ARGV[5]  PUBLISH or SPUBLISH
-- ARGV[6]  channel of the trades
-- ARGV[7]  channel that says that revisions began anew
-- ARGV[8…] the trades, at most 1,000; with ARGV[3], each behind its id
-- Returns  {1, dropped, codes}  a letter for each trade: "a" added, "d" known,
--                               "f" refused because the list is full; codes is
--                               "" if all were added
--          {3, symbol}          refused: the list holds another symbol
-- Retry: no (sent again it would append twice)

-- @include clock
-- @include revision
-- @include trades

local list, info, seen = KEYS[1], KEYS[2], KEYS[3]
local symbol, window = ARGV[4], tonumber(ARGV[3])

-- What can fail on a key of another type comes before anything is changed.
local waiting = redis.call('LLEN', list)
local known = redis.call('HMGET', info, 'symbol', 'taken')
redis.call('ZCARD', seen)
if symbol ~= '' and known[1] ~= symbol then
  if known[1] and (waiting > 0 or (tonumber(known[2]) or 0) > 0) then
    return {3, known[1]}
  end
  redis.call('HSET', info, 'symbol', symbol, 'count', 0)
end

local trades, codes, ids, taken = {}, {}, {}, {}
local room = ARGV[2] == '' and tonumber(ARGV[1]) - waiting or math.huge
local step = 1
if window then
  step = 2
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', string.format('%.0f', now - window * 1000))
end
for i = 7 + step, #ARGV, step do
  local id = window and ARGV[i - 1]
  if id and (taken[id] or redis.call('ZSCORE', seen, id)) then
    codes[#codes + 1] = 'd'
  elseif #trades >= room then
    codes[#codes + 1] = 'f'
  else
    codes[#codes + 1] = 'a'
    trades[#trades + 1] = ARGV[i]
    if id then
      taken[id] = true
      ids[#ids + 1] = string.format('%.0f', now)
      ids[#ids + 1] = id
    end
  end
end
if #trades == 0 then
  return {1, 0, table.concat(codes)}
end

local rev = KEYS[4] and string.format('%.0f', next_revision(KEYS[4], 1, ARGV[5], ARGV[7]))
local dropped = redis.call('RPUSH', list, unpack(trades)) - tonumber(ARGV[1])
if dropped > 0 and ARGV[2] ~= '' then
  shorten(info, waiting + #trades, dropped)
  redis.call('LTRIM', list, dropped, -1)
else
  dropped = 0
end
local count = redis.call('HINCRBY', info, 'count', #trades)
if window then
  redis.call('ZADD', seen, unpack(ids))
  redis.call('ZREMRANGEBYRANK', seen, 0, -tonumber(ARGV[1]) - 1)
  redis.call('PEXPIRE', seen, ARGV[3])
end
if rev then
  redis.call('HSET', info, 'rev', rev)
  local head = 'T ' .. rev .. ' ' .. string.format('%.0f', count - #trades + 1) .. '\n'
  redis.call(ARGV[5], ARGV[6], head .. table.concat(trades, '\n'))
end
return {1, dropped, #trades == #codes and '' or table.concat(codes)}
