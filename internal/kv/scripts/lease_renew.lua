#!lua
-- Prolongs a lease, if it is still the caller's.
--
-- KEYS[1]  the lease                        hash
-- KEYS[2]  the exchange's index of leases   sorted set
-- KEYS[3]  the index of exchanges           set; only where it shares the slot and is due
-- ARGV[1]  symbol
-- ARGV[2]  token
-- ARGV[3]  request
-- ARGV[4]  how long it lasts from now, microseconds
-- ARGV[5]  exchange
-- Returns  {1, until}
--          {0, holder, since, until}  somebody else has it
--          {2, ""}                    nobody has it
--          {4, symbol}                the key is another symbol's
--          {5, field}                 the lease cannot be read
-- Retry: safe

-- @include clock
-- @include stamp
-- @include times
-- @include lease

local lease, unreadable = read_lease(KEYS[1])
if unreadable then
  return {5, unreadable}
elseif not lease then
  return {2, ''}
elseif lease.symbol ~= ARGV[1] then
  return {4, lease.symbol}
elseif lease.token ~= ARGV[2] or not lease.holds[ARGV[3]] then
  return {0, lease.holder, lease.since, lease.til}
end
if KEYS[3] then
  redis.call('SADD', KEYS[3], ARGV[5])
end
lease.holds[ARGV[3]] = math.max(now + tonumber(ARGV[4]), lease.holds[ARGV[3]])
keep(KEYS[1], KEYS[2], lease)
return {1, lease.til}
