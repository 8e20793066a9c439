#!lua
-- Tells which processes of a type are silent for too long, and which are over.
--
-- KEYS[1]  when the processes count as dead   sorted set
-- KEYS[2]  the processes                      sorted set
-- KEYS[3]  their components                   hash
-- ARGV[1]  after how many microseconds without a heartbeat a process is over
-- ARGV[2]  how many of each kind at most
-- Returns  {next, silent, over}  in how many microseconds the next one counts as
--                                dead, as text, "" if there is none; id and
--                                component of each
-- Retry: safe

-- @include clock

local function named(ids)
  local list = {}
  for i, id in ipairs(ids) do
    list[2 * i - 1], list[2 * i] = id, redis.call('HGET', KEYS[3], id) or ''
  end
  return list
end

local at = string.format('%.0f', now)
local after = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. at, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local over = string.format('%.0f', now - ARGV[1])
return {
  after[2] and string.format('%.0f', after[2] - now) or '',
  named(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'LIMIT', 0, ARGV[2])),
  named(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', over, 'LIMIT', 0, ARGV[2])),
}
