#!lua
-- Registers a process, or anew one that the server has forgotten, and tells those
-- who watch. Of two that claim one id, the one that started later has it.
--
-- KEYS[1]   the process                        any type: a corrupt one is replaced
-- KEYS[2]   its type's processes               sorted set
-- KEYS[3]   when they count as dead            sorted set
-- KEYS[4]   their components                   hash
-- KEYS[5]   the type's revision                string
-- KEYS[6]   its component's living processes   sorted set
-- KEYS[7]   its component's history            list
-- ARGV[1]   id
-- ARGV[2]   instance
-- ARGV[3]   after how many microseconds without a heartbeat it counts as dead
-- ARGV[4]   TTL after the last heartbeat, milliseconds
-- ARGV[5]   PUBLISH or SPUBLISH
-- ARGV[6]   channel of the type's processes
-- ARGV[7]   channel that says that revisions began anew
-- ARGV[8]   cap of the history
-- ARGV[9]   its TTL, milliseconds
-- ARGV[10]  component
-- ARGV[11]  microseconds at which the instance started; "" the first time
-- ARGV[12…] name and value of the other fields
-- Returns   {1, started}    registered; its start in microseconds, as text
--           {2, time}       refused: another instance of that id started later
--           {3, component}  refused: the id is that of another component
-- Retry: safe (the same instance again is only numbered anew)

-- @include clock
-- @include stamp
-- @include revision
-- @include process

local key, id, instance = KEYS[1], ARGV[1], ARGV[2]
-- What can fail on a key of another type comes before anything is changed.
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('STRLEN', KEYS[5])
redis.call('ZCARD', KEYS[6])
redis.call('LLEN', KEYS[7])
local component = redis.call('HGET', KEYS[4], id)
if component and component ~= ARGV[10] then
  return {3, component}
end
local stored = {}
if redis.call('TYPE', key).ok == 'hash' then
  stored = redis.call('HMGET', key, 'instance', 'started')
end
local known = stored[1] == instance
local started = tonumber(ARGV[11]) or now
if not known and ARGV[11] ~= '' and stored[1] and stored[2] and stored[2] > stamp(started) then
  return {2, stored[2]}
end

redis.call('DEL', key)
put('instance', instance)
put('component', ARGV[10])
put('started', stamp(started))
put('updated', stamp(now))
put('heartbeat', stamp(now))
for i = 12, #ARGV do
  set_fields[#set_fields + 1] = ARGV[i]
end
redis.call('HSET', key, unpack(set_fields))
redis.call('PEXPIRE', key, ARGV[4])
redis.call('ZADD', KEYS[2], string.format('%.0f', now), id)
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[3]), id)
redis.call('HSET', KEYS[4], id, ARGV[10])
redis.call('ZADD', KEYS[6], string.format('%.0f', started), id)
if not known then
  remember(KEYS[7], 'started', key, ARGV[8], ARGV[9])
end
publish_process(key, KEYS[5], ARGV[5], ARGV[6], ARGV[7])
return {1, string.format('%.0f', started)}
