#!lua
-- Claims the load of an entry, so that one loader asks the database for all.
--
-- The guard's text is one of
--   L token failed message         a loader's claim; failed is the token of the load
--                                  before it, if that failed, or "-"
--   F - failed message             a load has failed
--   W expires token expires token  writers, each until a time in microseconds
--
-- KEYS[1]  the entry    hash; of another type it counts as none
-- KEYS[2]  its guard    string; of another type it counts as none
-- ARGV[1]  the claim's token
-- ARGV[2]  TTL of the claim, milliseconds
-- ARGV[3]  generation in force
-- ARGV[4]  meta text of an entry that is unusable all the same, or ""
-- ARGV[5]  a time that a usable entry was loaded after; "" is before, "~" after all
-- ARGV[6]  token that the caller has been waiting for, or ""
-- Returns  {"claimed", now, what was found unreadable or ""}
--          {"filled", now, ""}       there is a usable entry
--          {"busy", now, token}      another loader is at it
--          {"failed", now, message}  the load that the caller waited for has failed
--          {"writing", now, ""}      somebody writes: what is loaded may be old soon
-- Retry: safe (the same token claims again)

-- @include clock
-- @include stamp

local time = stamp(now)
local meta = redis.pcall('HGET', KEYS[1], '')
if type(meta) == 'string' and meta ~= ARGV[4] then
  local loaded, fresh, generation = meta:match('^(%S+) (%S+) (%d+) %a+$')
  if generation == ARGV[3] and fresh > time and loaded > ARGV[5] then
    return {'filled', time, ''}
  end
end

local guard = redis.pcall('GET', KEYS[2])
local corrupt, failed, message = '', '-', ''
if type(guard) == 'table' then
  corrupt = guard.err
elseif guard then
  local kind, holder
  kind, holder, failed, message = guard:match('^([LFW]) (%S+) (%S+) ?(.*)$')
  if not kind or redis.call('PTTL', KEYS[2]) < 0 then
    -- Without a TTL it would be waited for for ever.
    corrupt, failed, message = 'not a guard: ' .. guard, '-', ''
  elseif kind == 'W' then
    return {'writing', time, ''}
  elseif holder ~= ARGV[1] then
    if failed == ARGV[6] then
      return {'failed', time, message}
    end
    if kind == 'L' then
      return {'busy', time, holder}
    end
  end
end
redis.call('SET', KEYS[2], table.concat({'L', ARGV[1], failed, message}, ' '), 'PX', ARGV[2])
return {'claimed', time, corrupt}
