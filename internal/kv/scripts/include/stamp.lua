-- stamp writes such a time as the fixed-width text that the cache stores. The
-- server's Lua has no os.date; days become a date after Howard Hinnant.
local dated, date -- the day of the last one: most are of one
local function stamp(us)
  local secs = (us - us % 1000000) / 1000000
  local time = secs % 86400
  local day = (secs - time) / 86400
  if day ~= dated then
    local floor = math.floor
    local z = day + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    dated = day
    date = string.format('%04d-%02d-%02dT', yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - floor((153 * mp + 2) / 5) + 1)
  end
  return date .. string.format('%02d:%02d:%02d.%06d000Z', time / 3600, time / 60 % 60, time % 60, us % 1000000)
end
