#!lua
-- Appends to a list what it has not had of late, all of it or, if there is no
-- room, nothing.
--
-- KEYS[1]  list
-- KEYS[2]  what it has had   sorted set; only with ARGV[2]
-- ARGV[1]  cap
-- ARGV[2]  for how many milliseconds an element is appended once, or ""
-- ARGV[3…] the elements, at most 1,000
-- Returns  how many were appended, or -1 if there is no room
-- Retry: no (sent again it would append twice)

local list, seen, window = KEYS[1], KEYS[2], tonumber(ARGV[2])
local waiting = redis.call('LLEN', list)
local added, stamps, taken = {}, {}, {}
if window then
  -- @include clock
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', string.format('%.0f', now - window * 1000))
  local known, stamp = redis.call('ZMSCORE', seen, unpack(ARGV, 3)), string.format('%.0f', now)
  for i = 3, #ARGV do
    local element = ARGV[i]
    if not known[i - 2] and not taken[element] then
      taken[element] = true
      added[#added + 1] = element
      stamps[#stamps + 1] = stamp
      stamps[#stamps + 1] = element
    end
  end
else
  added = {unpack(ARGV, 3)}
end
if waiting + #added > tonumber(ARGV[1]) then
  return -1
elseif #added == 0 then
  return 0
end
redis.call('RPUSH', list, unpack(added))
if window then
  redis.call('ZADD', seen, unpack(stamps))
  redis.call('ZREMRANGEBYRANK', seen, 0, -tonumber(ARGV[1]) - 1)
  redis.call('PEXPIRE', seen, ARGV[2])
end
return #added
