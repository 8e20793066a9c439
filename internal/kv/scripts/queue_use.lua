#!lua
-- Says how the caller uses a queue, and keeps that for a while. It may differ from
-- how others did, once they are gone and have left no message.
--
-- KEYS[1]  how the queue is used   string
-- KEYS[2…] the streams of a queue that is used otherwise
-- ARGV[1]  how the caller uses the queue
-- ARGV[2]  for how long to keep it, milliseconds
-- Returns  {1, 0}      so it is
--          {0, count}  refused: others use it, or left so many messages
-- Retry: safe

local use, length = redis.call('GET', KEYS[1]), 0
for i = 2, #KEYS do
  length = length + redis.call('XLEN', KEYS[i])
end
if length > 0 or use and use ~= ARGV[1] then
  return {0, length}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, 0}
