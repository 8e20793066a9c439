#!lua
-- Deletes a position of an account, or all of them, with the fills that count in
-- it: nothing is known of it then.
--
-- KEYS[1]   the account's positions            hash; if all go, any type: that mends it
-- KEYS[2]   the user's revision                string
-- KEYS[3…]  the fills that count, per symbol   any type
-- ARGV[1]   "all", or ""
-- ARGV[2]   PUBLISH or SPUBLISH
-- ARGV[3]   channel of the account's positions
-- ARGV[4]   channel that says that revisions began anew
-- ARGV[5]   user and, behind its length in bytes and a new line, exchange
-- ARGV[6…]  the symbols
-- Returns   {1, deleted, left}  how many went, and how many fields are left
--           {5, symbols}        refused: all are to go, and these not named
-- Retry: no (sent again it would find nothing)

-- @include clock
-- @include revision

local key, all = KEYS[1], ARGV[1] == 'all'
local named, stored, deleted = {}, {}, 0
for i = 6, #ARGV do
  named[ARGV[i]] = true
end
if not all then
  stored[ARGV[6]] = redis.call('HEXISTS', key, ARGV[6]) == 1
elseif redis.call('TYPE', key).ok == 'hash' then
  local missing = {}
  for _, symbol in ipairs(redis.call('HKEYS', key)) do
    stored[symbol] = true
    if symbol ~= '' and not named[symbol] then
      missing[#missing + 1] = symbol
    end
  end
  if #missing > 0 then
    return {5, missing}
  end
end

local rev = next_revision(KEYS[2], math.max(#ARGV - 5, 1), ARGV[2], ARGV[4])
local messages = {}
for i = 6, #ARGV do
  redis.call('DEL', KEYS[i - 3])
  if stored[ARGV[i]] then
    redis.call('HDEL', key, ARGV[i])
    deleted = deleted + 1
    messages[deleted] = 'D ' .. string.format('%.0f', rev) .. ' ' .. ARGV[5] .. ARGV[i]
    rev = rev + 1
  end
end
if all then
  redis.call('DEL', key)
elseif deleted > 0 then
  -- What is not stored is not flat any more, but unknown.
  local told = redis.call('HGET', key, '')
  if told then
    redis.call('HSET', key, '', (told:gsub('"whole":true', '"whole":false')))
  end
end
for _, message in ipairs(messages) do
  redis.call(ARGV[2], ARGV[3], message)
end
return {1, deleted, redis.call('EXISTS', key)}
