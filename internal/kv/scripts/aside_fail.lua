#!lua
-- Tells those who wait for a load that it has failed, and lets others claim.
--
-- KEYS[1]  the entry's guard   string
-- ARGV[1]  the claim's token
-- ARGV[2]  message
-- ARGV[3]  TTL of the message, milliseconds
-- Returns  nothing
-- Retry: safe

local guard = redis.pcall('GET', KEYS[1])
if type(guard) == 'string' and guard:match('^L (%S+) ') == ARGV[1] then
  redis.call('SET', KEYS[1], 'F - ' .. ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
end
return ''
