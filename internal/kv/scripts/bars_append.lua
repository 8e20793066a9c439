#!lua
-- Merges bars into a series by their times, and publishes those that are new or
-- have changed: a bar of the same time gives way, a late one goes to its place. If
-- the list holds more than its cap then, the oldest go.
--
-- KEYS[1]   list
-- KEYS[2]   the exchange's index of series   hash
-- KEYS[3]   its revision                     string
-- KEYS[4]   the index of exchanges           set; only where it shares the slot
-- ARGV[1]   cap, unless the series has one of its own
-- ARGV[2]   its own cap from now on; "" leaves it, "all" makes it as large as it takes
-- ARGV[3]   symbol
-- ARGV[4]   the series' name in the index
-- ARGV[5]   PUBLISH or SPUBLISH
-- ARGV[6]   channel of the series
-- ARGV[7]   channel that says that revisions began anew
-- ARGV[8]   exchange
-- ARGV[9]   how messages end: timeframe and names
-- ARGV[10…] the bars, in order, no two of a time
-- Returns   {1, added, replaced, dropped, created}  created is 1 if the series is new
--           {3, symbol}  refused: the list holds another symbol
-- Retry: safe (what is there already is not added again)

-- @include clock
-- @include revision
-- @include bars

local FIRST = 10
-- unpack fails at 8,000 elements, that of the in-process server sooner.
local AT_ONCE = 1000
-- A message carries no more bars; of more it says where they begin.
local CARRIED = 100

local list, index = KEYS[1], KEYS[2]
local symbol, name = ARGV[3], ARGV[4]
local earliest, latest = ARGV[FIRST]:sub(1, 10), ARGV[#ARGV]:sub(1, 10)

-- What can fail on a key of another type comes before anything is changed.
local length = redis.call('LLEN', list)
local holder, cap = read_series(redis.call('HGET', index, name))
redis.call('STRLEN', KEYS[3])
if holder ~= symbol then
  if holder and length > 0 then
    return {3, holder}
  end
  cap = nil
end
if tonumber(ARGV[2]) then
  cap = tonumber(ARGV[2])
end

-- The elements from first up to last, without it, give way to merged; bars that
-- come behind all others need no merging.
local first, last, merged = length, length
if length > 0 then
  local tail = time_of(redis.call('LINDEX', list, -1))
  if tail == earliest then
    first = length - 1
  elseif not tail or tail > earliest then
    first = position(list, length, earliest)
    last = position(list, length, latest, true)
  end
  if not tail or tail >= earliest then
    merged = {}
  end
end

local added, replaced, changed, old = 0, 0, {}, {}
if merged then
  if first < last then
    old = redis.call('LRANGE', list, first, last - 1)
  end
  local n = FIRST
  local function add(upto)
    while n <= #ARGV and (not upto or ARGV[n]:sub(1, 10) < upto) do
      merged[#merged + 1] = ARGV[n]
      changed[#changed + 1] = ARGV[n]
      added, n = added + 1, n + 1
    end
  end
  for _, bar in ipairs(old) do
    local time = time_of(bar)
    if time then
      add(time)
    end
    if n <= #ARGV and time == ARGV[n]:sub(1, 10) then
      if bar ~= ARGV[n] then
        changed[#changed + 1] = ARGV[n]
        replaced = replaced + 1
      end
      bar, n = ARGV[n], n + 1
    end
    merged[#merged + 1] = bar
  end
  add()
else
  added = #ARGV - FIRST + 1
end

if KEYS[4] then
  redis.call('SADD', KEYS[4], ARGV[8])
end
if added + replaced == 0 and holder == symbol and not tonumber(ARGV[2]) then
  return {1, 0, 0, 0, 0}
end

-- push appends a part of a table to the list.
local function push(from, upto, bars)
  for at = from, upto, AT_ONCE do
    redis.call('RPUSH', list, unpack(bars, at, math.min(at + AT_ONCE - 1, upto)))
  end
end

-- unshift puts a table in front of the list.
local function unshift(bars)
  local backwards = {}
  for at = #bars, 1, -1 do
    backwards[#backwards + 1] = bars[at]
  end
  for at = 1, #backwards, AT_ONCE do
    redis.call('LPUSH', list, unpack(backwards, at, math.min(at + AT_ONCE - 1, #backwards)))
  end
end

if not merged then
  push(FIRST, #ARGV, ARGV)
elseif #merged == last - first then
  for i, bar in ipairs(merged) do
    if bar ~= old[i] then
      redis.call('LSET', list, first + i - 1, bar)
    end
  end
elseif length - last <= first then
  -- Of what stands before and behind, the shorter part is moved.
  local behind = last < length and redis.call('LRANGE', list, last, -1) or {}
  if first > 0 then
    redis.call('LTRIM', list, 0, first - 1)
  else
    redis.call('DEL', list)
  end
  push(1, #merged, merged)
  push(1, #behind, behind)
else
  local before = first > 0 and redis.call('LRANGE', list, 0, first - 1) or {}
  redis.call('LTRIM', list, last, -1)
  unshift(merged)
  unshift(before)
end

length = length + added
if ARGV[2] == 'all' and length > (cap or tonumber(ARGV[1])) then
  cap = length
end
local dropped = math.max(length - (cap or tonumber(ARGV[1])), 0)
if dropped > 0 then
  redis.call('LTRIM', list, dropped, -1)
end

local rev = string.format('%.0f', next_revision(KEYS[3], 1, ARGV[5], ARGV[7]))
redis.call('HSET', index, name, rev .. ' ' .. (cap and string.format('%.0f', cap) or '-') .. ' ' .. symbol)

-- A bar that was dropped at once is no news.
local oldest = dropped > 0 and time_of(redis.call('LINDEX', list, 0)) or ''
local news, from, upto = ARGV, FIRST, #ARGV
if merged then
  news, from, upto = changed, 1, #changed
end
while from <= upto and news[from]:sub(1, 10) < oldest do
  from = from + 1
end
if from <= upto then
  local carried = upto - from + 1 <= CARRIED and upto - from + 1 or 0
  local newest = redis.call('LINDEX', list, -1)
  if newest:find('[^%d.,]') then
    newest = '-' -- it is no bar
  end
  local message = {'C', rev, news[from]:sub(1, 10), carried}
  for i = 1, carried do
    message[#message + 1] = news[from + i - 1]
  end
  message[#message + 1] = newest
  message[#message + 1] = ARGV[9]
  redis.call(ARGV[5], ARGV[6], table.concat(message, ' '))
end
return {1, added, replaced, dropped, holder == symbol and 0 or 1}
