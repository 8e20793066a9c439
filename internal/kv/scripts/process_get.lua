#!lua
-- Reads a process.
--
-- KEYS[1]  the process   hash
-- Returns  {now, fields}  the time, microseconds, as text
-- Retry: safe

-- @include clock

return {string.format('%.0f', now), redis.call('HGETALL', KEYS[1])}
