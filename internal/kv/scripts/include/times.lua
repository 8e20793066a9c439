-- is_time reports whether a text has the form of the times that the cache stores.
local function is_time(text)
  return text:find('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d%d%d%dZ$') ~= nil
end

-- time_of returns the time of a JSON object; "" if it has none that can be read.
local function time_of(object)
  local time = object:match('"time"%s*:%s*"([^"]*)"')
  return time and is_time(time) and time or ''
end
