#!lua
-- Tells who has a lease.
--
-- KEYS[1]  the lease   hash
-- ARGV[1]  symbol
-- Returns  {1, holder, since, until, token}
--          {2, ""}      nobody has it
--          {4, symbol}  the key is another symbol's
--          {5, field}   the lease cannot be read
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
end
return {1, lease.holder, lease.since, lease.til, lease.token}
