#!lua
-- Reads the generation of a kind of entries, or begins a new one, which makes
-- all entries of the old one void. One that is missing or unreadable is begun
-- anew. Generations never go back: they are at least the server's time in
-- microseconds when they began.
--
-- KEYS[1]  the generation   string; another type is overwritten
-- ARGV[1]  "keep" or "new"
-- Returns  {generation, now, what was found unreadable or ""}
-- Retry: safe (a new generation is only followed by another)

-- @include clock
-- @include stamp

local stored = redis.pcall('GET', KEYS[1])
local corrupt = ''
local current = 0
if type(stored) == 'table' then
  corrupt = stored.err
elseif stored then
  -- Beyond 2^53 the next number would be the same.
  if stored:match('^%d+$') and #stored <= 16 and tonumber(stored) < 9007199254740991 then
    current = tonumber(stored)
  else
    corrupt = 'not a generation: ' .. stored
  end
end
if ARGV[1] == 'new' or current == 0 then
  current = math.max(current + 1, now)
  redis.call('SET', KEYS[1], string.format('%.0f', current))
end
return {string.format('%.0f', current), stamp(now), corrupt}
