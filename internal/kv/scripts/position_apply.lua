#!lua
-- Counts fills in the position of an account in a symbol: stores the position
-- that the caller has computed, if that which it was computed from is the one
-- that is stored, and none of the fills counts already. Else it stores nothing,
-- and tells what there is to compute from and which fills are to count.
--
-- KEYS[1]   the account's positions             hash
-- KEYS[2]   the fills that count in this one    sorted set
-- KEYS[3]   the user's revision                 string
-- KEYS[4]   index of accounts with positions    set; only where it shares the slot
-- ARGV[1]   symbol
-- ARGV[2]   the position it was computed from, as it was stored; "" if there was none
-- ARGV[3]   the position to store, without the first member, its revision
-- ARGV[4]   how many fills are remembered
-- ARGV[5]   how many microseconds a fill may be ahead of the server's clock
-- ARGV[6]   PUBLISH or SPUBLISH
-- ARGV[7]   channel of the account's positions
-- ARGV[8]   channel that says that revisions began anew
-- ARGV[9]   the account, as the index names it
-- ARGV[10…] three for each fill, at most 500: what it is known by; its time,
--           fixed-width text; the same in microseconds since 1970
-- Returns   {1, rev, created}                 stored; 1 if the account had none, and
--                                             the index is elsewhere
--           {2, position, codes, until, now}  nothing stored; what is, or "", and a
--             letter for each fill: "n" it is new, "d" it counts already, "o" it
--             is of a time up to which no other counts, which is told, "f" it is
--             too far ahead of the server's clock, which is told
--           {3, field}                        refused: it cannot be read; "" is as
--                                             of when all positions were told
-- Retry: safe (a fill counts once)

-- @include clock
-- @include stamp
-- @include revision
-- @include times

local key, fills, symbol = KEYS[1], KEYS[2], ARGV[1]
local latest = now + ARGV[5]

-- What can fail on a key of another type comes before anything is changed.
local values = redis.call('HMGET', key, symbol, '')
local stored, told = values[1] or '', ''
redis.call('ZCARD', fills)
if values[1] == '' then
  return {3, symbol}
end
if values[2] then
  told = time_of(values[2])
  if told == '' or told > stamp(latest) then
    return {3, ''}
  end
end

-- Fills count in a position: where there is none, none does.
local floor = stored ~= '' and tonumber(redis.call('ZSCORE', fills, '') or '')
local codes, known, add, all_new = {}, {}, {}, true
for i = 10, #ARGV, 3 do
  local id, us, code = ARGV[i], tonumber(ARGV[i + 2]), 'n'
  if known[id] or stored ~= '' and redis.call('ZSCORE', fills, id) then
    code = 'd'
  elseif us > latest then
    code = 'f'
  elseif ARGV[i + 1] <= told or floor and us <= floor then
    code = 'o'
  else
    known[id] = true
    add[#add + 1] = ARGV[i + 2]
    add[#add + 1] = id
  end
  codes[#codes + 1] = code
  all_new = all_new and code == 'n'
end
if not all_new or stored ~= ARGV[2] then
  local til = told
  if floor and stamp(floor) > til then
    til = stamp(floor)
  end
  return {2, stored, table.concat(codes), til, stamp(now)}
end

local created = not KEYS[4] and redis.call('EXISTS', key) == 0
if KEYS[4] then
  redis.call('SADD', KEYS[4], ARGV[9])
end
local rev = string.format('%.0f', next_revision(KEYS[3], 1, ARGV[6], ARGV[8]))
local value = '{"rev":' .. rev .. ARGV[3]
if stored == '' then
  redis.call('DEL', fills)
elseif floor then
  redis.call('ZREM', fills, '')
end
redis.call('ZADD', fills, unpack(add))
local over = redis.call('ZCARD', fills) - ARGV[4]
if over > 0 then
  local gone = redis.call('ZPOPMIN', fills, string.format('%.0f', over))
  floor = math.max(floor or 0, tonumber(gone[#gone]))
end
if floor then
  redis.call('ZADD', fills, string.format('%.0f', floor), '')
end
redis.call('HSET', key, symbol, value)
redis.call(ARGV[6], ARGV[7], 'P ' .. value)
return {1, rev, created and 1 or 0}
