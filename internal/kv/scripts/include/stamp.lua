-- stamp writes such a time as the fixed-width text that the cache stores. The
-- server's Lua has no os.date; days become a date after Howard Hinnant.
local dated, date -- the day of the last one: most are of one
local function stamp(us)
  local floor = math.floor
  local secs = floor(us / 1000000)
  local day = floor(secs / 86400)
  if day ~= dated then
    local z = day + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    dated = day
    date = string.format('%04d-%02d-%02d', yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - floor((153 * mp + 2) / 5) + 1)
  end
  return string.format('%sT%02d:%02d:%02d.%06d000Z', date,
    floor(secs / 3600) % 24, floor(secs / 60) % 60, secs % 60, us - secs * 1000000)
end
