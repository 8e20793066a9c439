#!lua
-- What a careful user would write by hand: acknowledges entries and deletes them.
--
-- KEYS[1]  the stream
-- ARGV     the entries
-- Returns  how many were deleted

redis.call('XACK', KEYS[1], 'consumers', unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(ARGV))
