#!lua
-- Lists processes.
--
-- KEYS[1]  an index of processes   sorted set
-- KEYS[2]  their components        hash
-- ARGV[1]  the least score, microseconds before now, or "" for any
-- ARGV[2]  the highest score, likewise
-- Returns  {now, list}  the time, microseconds, as text; id and component of
--                       each, by score
-- Retry: safe

-- @include clock

local function bound(ago, any)
  return ago == '' and any or string.format('%.0f', now - ago)
end

local list = {}
for i, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], bound(ARGV[1], '-inf'), bound(ARGV[2], '+inf'))) do
  list[2 * i - 1], list[2 * i] = id, redis.call('HGET', KEYS[2], id) or ''
end
return {string.format('%.0f', now), list}
