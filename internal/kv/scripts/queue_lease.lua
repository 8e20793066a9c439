#!lua
-- Renews a consumer's leases of partitions, gives some back, and takes free ones
-- up to its fair share.
--
-- KEYS[1]  the leases   hash: partition → "token until kind consumer"; kind is
--                       "clean" if the holder before gave it back, "crashed" if not;
--                       "token" → the last token; "consumer:<name>" → until
-- ARGV[1]  the consumer
-- ARGV[2]  how long a lease lasts, microseconds
-- ARGV[3]  how many partitions there are
-- ARGV[4]  "stay", or "leave": give everything back and take nothing
-- ARGV[5…] three for each one to give back: partition, token, kind
-- Returns  {how many more than its share it holds, for each it holds {partition,
--          token, kind}}
-- Retry: safe

-- @include clock

local me, leave = ARGV[1], ARGV[4] == 'leave'
local ends = string.format('%.0f', now + tonumber(ARGV[2]))
local partitions = tonumber(ARGV[3])
local leases, live, last = {}, 0, 0

if leave then
  redis.call('HDEL', KEYS[1], 'consumer:' .. me)
else
  redis.call('HSET', KEYS[1], 'consumer:' .. me, ends)
end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if field == 'token' then
    -- Beyond 2^53 the next would be the same.
    last = value:match('^%d+$') and tonumber(value) or 0
    if last >= 9007199254740991 then
      last = 0
    end
  elseif field:sub(1, 9) == 'consumer:' then
    if (tonumber(value) or 0) > now then
      live = live + 1
    else
      redis.call('HDEL', KEYS[1], field)
    end
  else
    local token, til, kind, holder = value:match('^(%d+) (%d+) (%a+) (.*)$')
    if token then
      leases[field] = {token = token, til = tonumber(til) or 0, kind = kind, holder = holder}
    end
  end
end

local function write(p, token, til, kind, holder)
  redis.call('HSET', KEYS[1], p, table.concat({token, til, kind, holder}, ' '))
end

for i = 5, #ARGV, 3 do
  local lease = leases[ARGV[i]]
  if lease and lease.token == ARGV[i + 1] and lease.holder == me then
    lease.til, lease.kind, lease.holder = 0, ARGV[i + 2], ''
    write(ARGV[i], lease.token, 0, lease.kind, '')
  end
end

local held, free = {}, {}
for i = 0, partitions - 1 do
  local p = tostring(i)
  local lease = leases[p]
  if lease and lease.holder == me and leave then
    write(p, lease.token, 0, 'crashed', '')
  elseif lease and lease.holder == me then
    write(p, lease.token, ends, lease.kind, me)
    held[#held + 1] = {p, lease.token, lease.kind}
  elseif not lease or lease.til <= now then
    free[#free + 1] = p
  end
end
if leave then
  return {0}
end

local share = math.ceil(partitions / live)
for _, p in ipairs(free) do
  if #held >= share then
    break
  end
  last = math.max(last + 1, now)
  local token = string.format('%.0f', last)
  local lease = leases[p]
  -- Who held it and did not give it back may have begun what it was given.
  local kind = (not lease or lease.holder == '' and lease.kind == 'clean') and 'clean' or 'crashed'
  redis.call('HSET', KEYS[1], 'token', token)
  write(p, token, ends, kind, me)
  held[#held + 1] = {p, token, kind}
end
return {#held - share, unpack(held)}
