#!lua
-- Deletes a hash. A key of another type is deleted too.
--
-- KEYS[1]  hash
-- Returns  how many fields it had
-- Retry: no (sent again it would find nothing)

local fields = redis.call('TYPE', KEYS[1]).ok == 'hash' and redis.call('HLEN', KEYS[1]) or 0
redis.call('DEL', KEYS[1])
return fields
