-- next_revision numbers updates: it returns the first of so many numbers, as a
-- Lua number. They are at least the time in microseconds, so that they never go
-- back: not after a restart without data, not after Clear, not on a replica that
-- missed the last updates. A counter that was missing is announced: whoever
-- follows the exchange must read its state anew.
local function next_revision(counter, many, publish, channel)
  local first = now
  local last = redis.call('SET', counter, string.format('%.0f', now + many - 1), 'GET')
  if not last then
    redis.call(publish, channel, 'R ' .. string.format('%.0f', now))
  elseif tonumber(last) and tonumber(last) >= now then
    first = tonumber(last) + 1
    redis.call('SET', counter, string.format('%.0f', first + many - 1))
  end
  return first
end
