#!lua
-- Stores a position of an account as it was told, or all of its positions, unless
-- something newer is stored: a fill that such a position lacks, or one told later.
--
-- KEYS[1]    the account's positions             hash
-- KEYS[2]    the user's revision                 string
-- KEYS[3…]   the fills that count, per symbol    sorted set
-- KEYS[last] index of accounts with positions    set; only where it shares the slot
-- ARGV[1]    as of when it was told, fixed-width text
-- ARGV[2]    the same in microseconds since 1970
-- ARGV[3]    how many microseconds it may be ahead of the server's clock
-- ARGV[4]    PUBLISH or SPUBLISH
-- ARGV[5]    channel of the account's positions
-- ARGV[6]    channel that says that revisions began anew
-- ARGV[7]    the account, as the index names it
-- ARGV[8]    user and, behind its length in bytes and a new line, exchange
-- ARGV[9]    if all are told: that they are, without its first member, the revision;
--            else ""
-- ARGV[10…]  symbol and position, without its first member, the revision; "" for a
--            symbol that is to go, if all are told
-- Returns    {1, created}  stored; 1 if the account had none, and the index is elsewhere
--            {2, time}     refused: something newer is stored
--            {4, now}      refused: too far ahead of the server's clock
--            {5, symbols}  refused: all are told, and these stored ones not named
-- Retry: safe (the same again only gets a new revision)

-- @include clock
-- @include stamp
-- @include revision
-- @include times

local key, told, all = KEYS[1], ARGV[1], ARGV[9] ~= ''
local latest = stamp(now + ARGV[3])
if tonumber(ARGV[2]) > now + ARGV[3] then
  return {4, stamp(now)}
end
local named = {}
for i = 10, #ARGV, 2 do
  named[ARGV[i]] = 2 + (i - 8) / 2
end

-- What can fail on a key of another type comes before anything is changed.
local stored, flat = {}, nil
if all then
  flat = redis.call('HGETALL', key)
else
  local values = redis.call('HMGET', key, ARGV[10], '')
  flat = {ARGV[10], values[1] or '', '', values[2] or ''}
end
local newest, missing = '', {}
for i = 1, #flat, 2 do
  local symbol, value = flat[i], flat[i + 1]
  stored[symbol] = value ~= '' and value or nil
  -- A time that nothing stored can have must not block its account for ever.
  local time = time_of(value)
  if time <= latest and time > newest then
    newest = time
  end
  if symbol ~= '' and not named[symbol] then
    missing[#missing + 1] = symbol
  end
end
for _, at in pairs(named) do
  redis.call('ZCARD', KEYS[at])
end
if newest > told then
  return {2, newest}
end
if #missing > 0 then
  return {5, missing}
end

local index = KEYS[3 + (#ARGV - 9) / 2]
local created = not index and redis.call('EXISTS', key) == 0
if index then
  redis.call('SADD', index, ARGV[7])
end
local rev = next_revision(KEYS[2], 1 + (#ARGV - 9) / 2, ARGV[4], ARGV[6])
local function next_rev()
  rev = rev + 1
  return string.format('%.0f', rev - 1)
end
local messages = {}
for i = 10, #ARGV, 2 do
  local symbol, fills = ARGV[i], KEYS[named[ARGV[i]]]
  -- Fills count in a position: where there is none, none does.
  if not stored[symbol] or ARGV[i + 1] == '' then
    redis.call('DEL', fills)
  end
  if ARGV[i + 1] ~= '' then
    local value = '{"rev":' .. next_rev() .. ARGV[i + 1]
    redis.call('HSET', key, symbol, value)
    if not all then
      -- Of fills up to then, it knows.
      redis.call('ZADD', fills, 'GT', ARGV[2], '')
    end
    messages[#messages + 1] = 'P ' .. value
  elseif stored[symbol] then
    redis.call('HDEL', key, symbol)
    messages[#messages + 1] = 'D ' .. next_rev() .. ' ' .. ARGV[8] .. symbol
  end
end
if all then
  local value = '{"rev":' .. next_rev() .. ARGV[9]
  redis.call('HSET', key, '', value)
  messages[#messages + 1] = 'S ' .. value
end
for _, message in ipairs(messages) do
  redis.call(ARGV[4], ARGV[5], message)
end
return {1, created and 1 or 0}
