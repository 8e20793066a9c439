#!lua
-- Ends a lease, whatever its holder has it for, and tells the first in line. Only
-- its holder's name allows it, or force.
--
-- KEYS[1]  the lease                           hash; by force any type: it mends a corrupt one
-- KEYS[2]  the exchange's index of leases      sorted set
-- KEYS[3]  who waits for the lease, in order   sorted set
-- KEYS[4]  what is known of who waits          hash
-- ARGV[1]  symbol
-- ARGV[2]  holder
-- ARGV[3]  "force", or ""
-- ARGV[4]  PUBLISH or SPUBLISH
-- Returns  {1, ""}
--          {0, holder, since, until}  refused: somebody else has it
--          {2, ""}                    nobody has it
--          {4, symbol}                refused: the key is another symbol's
--          {5, field}                 refused: the lease cannot be read
-- Retry: no (sent again it would report that nobody has it)

-- @include clock
-- @include stamp
-- @include times
-- @include lease

local force, symbol = ARGV[3] ~= '', ARGV[1]
local kind = redis.call('TYPE', KEYS[1]).ok
local lease, unreadable
if not force or kind == 'hash' or kind == 'none' then
  lease, unreadable = read_lease(KEYS[1])
else
  unreadable = kind
end
redis.call('ZCARD', KEYS[2])
if lease and lease.symbol ~= symbol then
  return {4, lease.symbol}
elseif unreadable and not force then
  return {5, unreadable}
elseif not lease and not unreadable then
  return {2, ''}
elseif not force and lease.holder ~= ARGV[2] then
  return {0, lease.holder, lease.since, lease.til}
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], symbol)
wake(KEYS[3], KEYS[4], ARGV[4])
return {1, ''}
