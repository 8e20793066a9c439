#!lua
-- Stores what a bot says of some of its feeds, beside what is stored of others,
-- indexes the bot and publishes its status as it then is.
--
-- KEYS[1]  the bot's status    hash: feed → JSON of time and status, "" → revision and bot
-- KEYS[2]  the index of bots   sorted set
-- KEYS[3]  the revision        string
-- ARGV[1]  bot
-- ARGV[2]  TTL, milliseconds, or "" for none
-- ARGV[3]  PUBLISH or SPUBLISH
-- ARGV[4]  channel of the bot
-- ARGV[5]  channel of all bots
-- ARGV[6]  channel that says that revisions began anew
-- ARGV[7…] feed and status of each
-- Returns  bots of the index whose time was over
-- Retry: safe (the same again changes nothing but the times and the revision)

-- @include clock
-- @include stamp
-- @include revision

local key, index, bot = KEYS[1], KEYS[2], ARGV[1]
redis.call('HLEN', key)
local over = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)

local number = string.format('%.0f', next_revision(KEYS[3], 1, ARGV[3], ARGV[6]))
redis.call('HSET', key, '', number .. ' ' .. bot)
local head = '{"time":"' .. stamp(now) .. '","status":'
for i = 7, #ARGV, 2 do
  redis.call('HSET', key, ARGV[i], head .. ARGV[i + 1] .. '}')
end
if ARGV[2] ~= '' then
  redis.call('PEXPIRE', key, ARGV[2])
  redis.call('ZADD', index, string.format('%.0f', now + tonumber(ARGV[2]) * 1000), bot)
else
  redis.call('PERSIST', key)
  redis.call('ZADD', index, '+inf', bot)
end

local parts = {'S ' .. number .. ' '}
for _, text in ipairs(redis.call('HGETALL', key)) do
  parts[#parts + 1] = #text .. ':' .. text
end
local message = table.concat(parts)
redis.call(ARGV[3], ARGV[4], message)
redis.call(ARGV[3], ARGV[5], message)
return over
