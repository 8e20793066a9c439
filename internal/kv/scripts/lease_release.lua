#!lua
-- Gives back what a request has of a lease, and its place in line; with the last
-- of it the lease ends, and the first in line is told.
--
-- KEYS[1]  the lease                           hash
-- KEYS[2]  its exchange's last token           string
-- KEYS[3]  the exchange's index of leases      sorted set
-- KEYS[4]  who waits for the lease, in order   sorted set
-- KEYS[5]  what is known of who waits          hash
-- ARGV[1]  symbol
-- ARGV[2]  token, or "" if the caller knows of none
-- ARGV[3]  request
-- ARGV[4]  PUBLISH or SPUBLISH
-- Returns  1                          given back; or nobody has it, nor had it since
--          {0, holder, since, until}  somebody else has it
--          2                          nobody has it, but somebody may have had it since
--          {4, symbol}                the key is another symbol's
--          {5, field}                 the lease cannot be read
-- Retry: safe

local key, index, line, waiting = KEYS[1], KEYS[3], KEYS[4], KEYS[5]
local token, request = ARGV[2], ARGV[3]

-- Mostly it is the caller's alone, and nobody waits.
if token ~= '' and redis.call('HGET', key, 'alone') == token .. ' ' .. request then
  redis.call('ZREM', index, ARGV[1])
  redis.call('DEL', key)
  return 1
end

-- @include clock
-- @include stamp
-- @include times
-- @include lease

local lease, unreadable = read_lease(key)
if unreadable then
  return {5, unreadable}
end
redis.call('ZCARD', index)
if token == '' then
  redis.call('ZREM', line, request)
  redis.call('HDEL', waiting, request)
end
if not lease then
  wake(line, waiting, ARGV[4])
  -- The token tells whether this was done before, and only the answer was lost.
  return (token == '' or redis.call('GET', KEYS[2]) == token) and 1 or 2
elseif lease.symbol ~= ARGV[1] then
  return {4, lease.symbol}
elseif token ~= '' and lease.token ~= token or not lease.holds[request] then
  return {0, lease.holder, lease.since, lease.til}
end
lease.holds[request] = nil
if not keep(key, index, lease) then
  redis.call('DEL', key)
  redis.call('ZREM', index, lease.symbol)
  wake(line, waiting, ARGV[4])
end
return 1
