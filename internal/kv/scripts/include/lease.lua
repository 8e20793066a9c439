-- A lease is a hash: symbol, holder, token, since, until, and holds, which are
-- what the holder has it for: "request end", one behind the other, the ends in
-- microseconds. It is over when until is, whether Redis has seen to it or not.
-- Without holds, which other programs do not write, until alone counts. Most leases
-- have one hold and nobody who waits: "alone" is then token and request, which
-- spares a release from looking.

-- read_lease returns nil if nobody has it; beside it the name of a field that
-- makes it unreadable: such a lease must look neither free nor held.
local function read_lease(key)
  local f = redis.call('HMGET', key, 'symbol', 'holder', 'token', 'since', 'until', 'holds')
  if not (f[1] or f[2] or f[3] or f[4] or f[5]) then
    return nil, redis.call('EXISTS', key) == 1 and 'holder' or nil
  end
  if not f[5] or not is_time(f[5]) then
    return nil, 'until'
  elseif f[5] <= stamp(now) then
    return nil
  elseif not f[1] then
    return nil, 'symbol'
  elseif not f[2] or f[2] == '' then
    return nil, 'holder'
  elseif not f[3] or not f[3]:match('^%d+$') or #f[3] > 16 then
    return nil, 'token'
  elseif not f[4] or not is_time(f[4]) then
    return nil, 'since'
  end
  local lease = {symbol = f[1], holder = f[2], token = f[3], since = f[4], til = f[5], holds = {}, latest = 0}
  for request, ends in (f[6] or ''):gmatch('(%S+) (%d+)') do
    if tonumber(ends) > now then
      lease.holds[request] = tonumber(ends)
      lease.latest = math.max(lease.latest, tonumber(ends))
    end
  end
  return lease
end

-- keep writes the holds of a lease, and with them when it ends. It returns false,
-- and writes nothing, if there is none.
local function keep(key, index, lease)
  local latest, parts = 0, {}
  for request, ends in pairs(lease.holds) do
    latest = math.max(latest, ends)
    parts[#parts + 1] = request .. string.format(' %.0f', ends)
  end
  if latest == 0 then
    return false
  end
  lease.til = stamp(latest)
  -- It is this that can fail, on a key of another type.
  redis.call('ZADD', index, string.format('%.0f', latest), lease.symbol)
  redis.call('HSET', key, 'symbol', lease.symbol, 'holder', lease.holder, 'token', lease.token,
    'since', lease.since, 'until', lease.til, 'holds', table.concat(parts, ' '))
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil((latest - now) / 1000)))
  return true
end

-- first_in_line returns who is to have the lease next, and how many before it
-- were dropped because they gave no sign of life.
local function first_in_line(line, waiting)
  local dropped = 0
  while true do
    local request = redis.call('ZRANGE', line, 0, 0)[1]
    if not request then
      return nil, dropped
    end
    local alive, since, channel, length, rest = (redis.call('HGET', waiting, request) or '')
      :match('^(%d+) (%S+) (%d+) (%d+) (.*)$')
    if alive and tonumber(alive) > now then
      channel, length = tonumber(channel), tonumber(length)
      return {
        request = request, alive = tonumber(alive), since = since, channel = rest:sub(1, channel),
        symbol = rest:sub(channel + 1, channel + length), holder = rest:sub(channel + length + 1),
      }, dropped
    end
    redis.call('ZREM', line, request)
    redis.call('HDEL', waiting, request)
    dropped = dropped + 1
  end
end

-- wake tells the first in line, and nobody else, that the lease is free.
local function wake(line, waiting, publish)
  local first = first_in_line(line, waiting)
  if first then
    redis.call(publish, first.channel, first.request)
  end
end
