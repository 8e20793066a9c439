-- now is the server's time in microseconds since 1970, exact in a Lua number.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- stamp writes such a time as the fixed-width text that the cache stores. The
-- server's Lua has no os.date; days become a date after Howard Hinnant.
local function stamp(us)
  local secs = math.floor(us / 1000000)
  local z = math.floor(secs / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d000Z',
    yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(secs / 3600) % 24, math.floor(secs / 60) % 60, secs % 60, us - secs * 1000000)
end
