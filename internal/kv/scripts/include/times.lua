-- is_time reports whether a text has the form of the times that the cache stores.
local function is_time(text)
  return text:find('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d%d%d%dZ$') ~= nil
end
