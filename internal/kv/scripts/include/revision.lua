-- next_revision numbers an update. It is at least the time in microseconds, so
-- that it never goes back: not after a restart without data, not after Clear,
-- not on a replica that missed the last updates. A counter that was missing is
-- announced: whoever follows the exchange must read its state anew.
local function next_revision(counter, publish, channel)
  local rev = string.format('%.0f', now)
  local last = redis.call('SET', counter, rev, 'GET')
  if not last then
    redis.call(publish, channel, 'R ' .. rev)
  elseif tonumber(last) and tonumber(last) >= now then
    rev = string.format('%.0f', tonumber(last) + 1)
    redis.call('SET', counter, rev)
  end
  return rev
end
