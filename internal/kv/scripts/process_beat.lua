#!lua
-- Records that a process is alive, with what has changed of it, and puts right what
-- is missing. One that counted as dead lives again, and those who watch are told, as
-- they are when it stops. See process_alive for what nothing has changed of.
--
-- KEYS, ARGV[1…11]  as of process_register
-- ARGV[12]  number of this write among those of the instance
-- ARGV[13]  "stop" if it stops, else ""
-- ARGV[14…] name and value of the fields that have changed
-- Returns   {1, overdue}  recorded, or a later one was; overdue is 1 if another
--                         process of the type needs to be looked after
--           {0, 0}        the server does not know it: register it anew
--           {2, time}     refused: another instance has the id, which started then
-- Retry: safe (the same again changes nothing but times)

-- @include clock
-- @include stamp

local key, processes, due, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local stored = redis.pcall('HMGET', key, 'instance', 'seq', 'status', 'died', 'started')
if stored.err or not stored[1] or not tonumber(stored[2]) then
  return {0, 0}
end
if stored[1] ~= ARGV[2] then
  return {2, stored[5] or ''}
end
if tonumber(stored[2]) > tonumber(ARGV[12]) then
  return {1, 0}
end
local ends = redis.call('ZSCORE', due, id)
local dead = not ends or tonumber(ends) <= now
local heartbeat, until_then = string.format('%.0f', now), string.format('%.0f', now + ARGV[3])

-- @include revision
-- @include process

-- What can fail on a key of another type comes before anything is changed.
redis.call('ZCARD', processes)
redis.call('HLEN', KEYS[4])
redis.call('STRLEN', KEYS[5])
redis.call('ZCARD', KEYS[6])

local status = stored[3]
put('seq', ARGV[12])
put('heartbeat', stamp(now))
for i = 14, #ARGV, 2 do
  put(ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'status' then
    status = ARGV[i + 1]
  end
end
local changes = status ~= stored[3]
local revived = stored[4] and ARGV[13] == ''
if changes or revived then
  redis.call('LLEN', KEYS[7])
end
if #ARGV > 13 then
  put('updated', stamp(now))
end
redis.call('HSET', key, unpack(set_fields))
redis.call('HDEL', key, 'died')
redis.call('PEXPIRE', key, ARGV[4])
redis.call('ZADD', processes, heartbeat, id)
redis.call('HSET', KEYS[4], id, ARGV[10])
if ARGV[13] == 'stop' then
  redis.call('ZREM', due, id)
  redis.call('ZREM', KEYS[6], id)
  if changes then
    remember(KEYS[7], 'stopped', key, ARGV[8], ARGV[9])
  end
  publish_process(key, KEYS[5], ARGV[5], ARGV[6], ARGV[7])
else
  redis.call('ZADD', due, until_then, id)
  redis.call('ZADD', KEYS[6], ARGV[11], id)
  if revived then
    remember(KEYS[7], 'started', key, ARGV[8], ARGV[9])
  elseif changes then
    remember(KEYS[7], 'changed', key, ARGV[8], ARGV[9])
  end
  if dead then
    publish_process(key, KEYS[5], ARGV[5], ARGV[6], ARGV[7])
  end
end

local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
local oldest = redis.call('ZRANGE', processes, 0, 0, 'WITHSCORES')
local overdue = first[2] and first[2] + ARGV[3] <= now or oldest[2] + 1000 * ARGV[4] <= now
return {1, overdue and 1 or 0}
