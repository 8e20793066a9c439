#!lua
-- Deletes a bot's status and publishes that.
--
-- KEYS[1]  the bot's status    any type: deleting mends a corrupt one
-- KEYS[2]  the index of bots   sorted set
-- KEYS[3]  the revision        string
-- ARGV[1]  bot
-- ARGV[2]  "absent" to delete only what finds it, if the status is gone, else ""
-- ARGV[3]  PUBLISH or SPUBLISH
-- ARGV[4]  channel of the bot
-- ARGV[5]  channel of all bots
-- ARGV[6]  channel that says that revisions began anew
-- Returns  1, or 0 if there was none
-- Retry: no (sent again it would report that there was none)

-- @include clock
-- @include revision

local exists = redis.call('EXISTS', KEYS[1])
if ARGV[2] ~= '' and exists == 1 then
  return 1
end
local indexed = redis.call('ZSCORE', KEYS[2], ARGV[1])
if exists == 0 and not indexed then
  return 0
end
local rev = next_revision(KEYS[3], 1, ARGV[3], ARGV[6])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local message = 'D ' .. string.format('%.0f', rev) .. ' ' .. ARGV[1]
redis.call(ARGV[3], ARGV[4], message)
redis.call(ARGV[3], ARGV[5], message)
return exists
