-- What a careful user would write: swap the position if it is as expected, note
-- the fill, publish. KEYS: positions, fills, revision. ARGV: symbol, expected,
-- new, id, microseconds, channel, cap.
if redis.call('ZSCORE', KEYS[2], ARGV[4]) then
  return 2
end
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[7]
if over > 0 then
  redis.call('ZPOPMIN', KEYS[2], over)
end
redis.call('PUBLISH', ARGV[6], ARGV[3])
return 1
