#!lua
-- Stores the balances of an account, all of them, unless later ones are stored;
-- or says only that they are still the same.
--
-- KEYS[1]  the account's balances              hash
-- KEYS[2]  index of accounts with balances     set; only where it shares the slot
-- ARGV[1]  as of when they are, fixed-width text
-- ARGV[2]  the same in microseconds since 1970
-- ARGV[3]  how many microseconds it may be ahead of the server's clock
-- ARGV[4]  "touch" if they are still the same, else ""
-- ARGV[5]  the account, as the index names it
-- ARGV[6…] currency and balance
-- Returns  {1, created}  stored; 1 if there were none, and the index is elsewhere
--          {2, time}     refused: later ones are stored
--          {3}           refused: as of when the stored ones are cannot be read
--          {4, now}      refused: too far ahead of the server's clock
--          {7}           refused: there are none that could still be the same
-- Retry: safe

-- @include clock
-- @include stamp
-- @include times

local key, time, touches = KEYS[1], ARGV[1], ARGV[4] ~= ''
local latest = now + ARGV[3]
if tonumber(ARGV[2]) > latest then
  return {4, stamp(now)}
end
local stored = redis.call('HGET', key, '')
-- A stored time that no snapshot can have must not block its account for ever.
local readable = stored and is_time(stored) and stored <= stamp(latest)
if readable and stored > time then
  return {2, stored}
elseif touches and not readable then
  return {redis.call('EXISTS', key) == 1 and 3 or 7}
end
local created = not KEYS[2] and redis.call('EXISTS', key) == 0
-- First what can fail, on an index of another type.
if KEYS[2] then
  redis.call('SADD', KEYS[2], ARGV[5])
end
if not touches then
  redis.call('DEL', key)
  for i = 6, #ARGV, 2 do
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', key, '', time)
return {1, created and 1 or 0}
