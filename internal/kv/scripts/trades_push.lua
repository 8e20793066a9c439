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
-- ARGV[8…] the trades, at most 1,000; with ARGV[3], behind the ids of all of them
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

-- The trades are ARGV[first] to ARGV[last], unless some of them are left out.
local trades, first, last, codes, ids = ARGV, 8, #ARGV, '', {}
local room = ARGV[2] == '' and math.max(tonumber(ARGV[1]) - waiting, 0) or math.huge
if window then
  local many = (last - 7) / 2
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', string.format('%.0f', now - window * 1000))
  local known_ids = redis.call('ZMSCORE', seen, unpack(ARGV, 8, 7 + many))
  local stamped, letters, taken = string.format('%.0f', now), {}, {}
  trades, first, last = {}, 1, 0
  for i = 1, many do
    local id = ARGV[7 + i]
    if known_ids[i] or taken[id] then
      letters[i] = 'd'
    elseif last >= room then
      letters[i] = 'f'
    else
      letters[i] = 'a'
      last = last + 1
      trades[last] = ARGV[7 + many + i]
      taken[id] = true
      ids[2 * last - 1] = stamped
      ids[2 * last] = id
    end
  end
  codes = last < many and table.concat(letters) or ''
elseif last - 7 > room then
  codes = string.rep('a', room) .. string.rep('f', last - 7 - room)
  last = 7 + room
end
local many = last - first + 1
if many == 0 then
  return {1, 0, codes}
end

local rev = KEYS[4] and string.format('%.0f', next_revision(KEYS[4], 1, ARGV[5], ARGV[7]))
local dropped = redis.call('RPUSH', list, unpack(trades, first, last)) - tonumber(ARGV[1])
if dropped > 0 and ARGV[2] ~= '' then
  shorten(info, waiting + many, dropped)
  redis.call('LTRIM', list, dropped, -1)
else
  dropped = 0
end
local count = redis.call('HINCRBY', info, 'count', many)
if window then
  redis.call('ZADD', seen, unpack(ids))
  redis.call('ZREMRANGEBYRANK', seen, 0, -tonumber(ARGV[1]) - 1)
  redis.call('PEXPIRE', seen, ARGV[3])
end
if rev then
  redis.call('HSET', info, 'rev', rev)
  local head = 'T ' .. rev .. ' ' .. string.format('%.0f', count - many + 1) .. '\n'
  redis.call(ARGV[5], ARGV[6], head .. table.concat(trades, '\n', first, last))
end
return {1, dropped, codes}
