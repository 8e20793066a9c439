#!lua
-- Stores an order, or merges what is given of one into what is stored, indexes
-- it and publishes it as it then is. What it may change is decided here, in one
-- step: an older writer changes nothing, the status never goes back, a final
-- order stays final, and the filled volume only grows.
--
-- KEYS[1]   the order                              hash
-- KEYS[2]   its exchange's open orders             sorted set
-- KEYS[3]   its exchange's final orders            sorted set
-- KEYS[4]   its exchange's orders by other ids     hash
-- KEYS[5]   its exchange's revision                string
-- ARGV[1]   "save" or "update"
-- ARGV[2]   id
-- ARGV[3]   time, fixed-width text, or ""
-- ARGV[4]   the same in microseconds since 1970
-- ARGV[5]   how many microseconds it may be ahead of the server's clock
-- ARGV[6]   status, or ""
-- ARGV[7]   filled volume, or ""
-- ARGV[8]   symbol, or ""
-- ARGV[9]   the exchange's id, or ""
-- ARGV[10]  TTL of a cancelled order, milliseconds
-- ARGV[11]  TTL of one that is otherwise final
-- ARGV[12]  PUBLISH or SPUBLISH
-- ARGV[13]  channel of the order
-- ARGV[14]  channel of the exchange's orders
-- ARGV[15]  channel that says that revisions began anew
-- ARGV[16…] name and value of the other fields that are given
-- Returns   {1, fields, expired}  stored; what is stored now, and ids of final
--                                 orders whose time was over
--           {2, time}             refused: a newer one is stored
--           {3, symbol}           refused: the order is of another symbol
--           {4, now}              refused: too far ahead of the server's clock
--           {5, field}            refused: what is stored cannot be merged into
--           {6, status}           refused: the order is final
--           {7, ""}               refused: there is nothing to update
--           {8, id}               refused: the exchange's id is another order's
-- Retry: safe (the same again changes nothing but the revision)

-- @include clock
-- @include stamp
-- @include revision
-- @include times
-- @include decimals

local key, open, final, others = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local saves, id, time, filled, symbol, ex = ARGV[1] == 'save', ARGV[2], ARGV[3], ARGV[7], ARGV[8], ARGV[9]
local ms = math.floor(now / 1000)

-- As the package spells them. Open ones are ranked.
local ranks = {new = 1, pending = 2, open = 3, partially_filled = 4}
local finals = {closed = true, canceled = true, rejected = true, expired = true, error = true}
local synonyms = {cancelled = 'canceled', cancel = 'canceled', filled = 'closed'}
local function canonical(status)
  status = string.lower(status or '')
  return synonyms[status] or status
end

-- What can fail on a key of another type comes before anything is changed.
local stored, flat = {}, redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  stored[flat[i]] = flat[i + 1]
end
redis.call('ZCARD', open)
redis.call('ZCARD', final)
local had_ex = redis.call('HGET', others, 'id:' .. id)

local latest = now + ARGV[5]
if time ~= '' and tonumber(ARGV[4]) > latest then
  return {4, stamp(now)}
end
local exists = #flat > 0
if not exists and not saves then
  return {7, ''}
end
local had = canonical(stored.status)
-- A stored time that no order can have must not block its order for ever.
local timed = exists and stored.time and is_time(stored.time) and stored.time <= stamp(latest)
local readable = timed and (ranks[had] or finals[had])
if not readable and not saves then
  return {5, timed and 'status' or 'time'}
end

if stored.final_volume and not is_plain(stored.final_volume) then
  stored.final_volume = nil
end
local status, whole, only_fills = ARGV[6], saves, false
local grows = filled ~= '' and (not stored.final_volume or less(stored.final_volume, filled))
if readable then
  if symbol ~= '' and stored.symbol and stored.symbol ~= symbol then
    return {3, stored.symbol}
  end
  local older = time ~= '' and time < stored.time
  local given = canonical(status)
  local further = status ~= '' and (
    had == given or
    (had == 'canceled' or had == 'expired') and given == 'closed' or
    ranks[had] and (finals[given] or ranks[given] > ranks[had]))
  if older then
    if not grows then
      return {2, stored.time}
    end
    only_fills = true
  elseif finals[had] and status ~= '' and not further then
    if not grows then
      return {6, stored.status}
    end
    only_fills = true
  end
  if not further then
    status = stored.status
  end
  if only_fills or time <= stored.time then
    whole = false
  end
end
if ex ~= '' and not only_fills then
  local holder = redis.call('HGET', others, 'ex:' .. ex)
  if holder and holder ~= id and
      (redis.call('ZSCORE', open, holder) or (tonumber(redis.call('ZSCORE', final, holder) or 0) >= ms)) then
    return {8, holder}
  end
end

local rev = string.format('%.0f', next_revision(KEYS[5], 1, ARGV[12], ARGV[15]))
local set = {'status', status, 'rev', rev, 'cached', stamp(now)}
local function put(name, value)
  set[#set + 1] = name
  set[#set + 1] = value
end
if grows or filled ~= '' and not readable then
  put('final_volume', filled)
end
if not only_fills then
  for i = 16, #ARGV do
    set[#set + 1] = ARGV[i]
  end
  if time ~= '' then
    put('time', time)
  end
  if ex ~= '' then
    put('ex_order_id', ex)
  end
end
if whole then
  -- Fills and the exchange's id are never forgotten.
  if readable and stored.final_volume and not grows then
    put('final_volume', stored.final_volume)
  end
  if readable and stored.ex_order_id and ex == '' then
    put('ex_order_id', stored.ex_order_id)
  end
  redis.call('DEL', key)
end
redis.call('HSET', key, unpack(set))

if had_ex and (not readable or ex ~= '' and not only_fills and ex ~= had_ex) then
  redis.call('HDEL', others, 'id:' .. id)
  if redis.call('HGET', others, 'ex:' .. had_ex) == id then
    redis.call('HDEL', others, 'ex:' .. had_ex)
  end
end
if ex ~= '' and not only_fills then
  redis.call('HSET', others, 'ex:' .. ex, id, 'id:' .. id, ex)
end

local now_is = canonical(status)
if finals[now_is] then
  local expires = string.format('%.0f', ms + (now_is == 'canceled' and ARGV[10] or ARGV[11]))
  redis.call('PEXPIREAT', key, expires)
  redis.call('ZADD', final, expires, id)
  redis.call('ZREM', open, id)
else
  if time ~= '' and not only_fills then
    redis.call('ZADD', open, ARGV[4], id)
  else
    redis.call('ZADD', open, 'NX', string.format('%.0f', now), id)
  end
  redis.call('ZREM', final, id)
end

local fields = redis.call('HGETALL', key)
local message = {'O ' .. rev .. ' '}
for _, text in ipairs(fields) do
  message[#message + 1] = #text .. ':' .. text
end
message = table.concat(message)
redis.call(ARGV[12], ARGV[13], message)
redis.call(ARGV[12], ARGV[14], message)
return {1, fields, redis.call('ZRANGEBYSCORE', final, '-inf', '(' .. string.format('%.0f', ms), 'LIMIT', 0, 100)}
