-- Trades that are taken off a list have positions: runs "first:length", numbers
-- that grow with each trade that is taken for the first time. With them, what
-- comes back is put where it was, whenever it comes. The runs at the head of the
-- list, which are those that came back, are kept in its info; what stands behind
-- them has no position yet.

local function read_runs(text)
  local runs, many = {}, 0
  for first, length in text:gmatch('(%d+):(%d+)') do
    runs[#runs + 1] = {tonumber(first), tonumber(length)}
    many = many + length
  end
  return runs, many
end

local function write_runs(runs)
  local parts = {}
  for i, run in ipairs(runs) do
    parts[i] = string.format('%.0f:%.0f', run[1], run[2])
  end
  return table.concat(parts, ',')
end

local function read_front(info, waiting)
  local front, many = read_runs(redis.call('HGET', info, 'front') or '')
  if many > waiting then
    redis.call('HDEL', info, 'front') -- somebody else took from the list
    return {}, 0
  end
  return front, many
end

local function write_front(info, front)
  if #front > 0 then
    redis.call('HSET', info, 'front', write_runs(front))
  else
    redis.call('HDEL', info, 'front')
  end
end

-- shorten notes that so many trades were taken off the head of a list, which was
-- so long, and returns their runs.
local function shorten(info, waiting, many)
  local runs, front = {}, read_front(info, waiting)
  local came_back = #front > 0
  while many > 0 and #front > 0 do
    local run = front[1]
    local length = math.min(many, run[2])
    runs[#runs + 1] = {run[1], length}
    many, run[1], run[2] = many - length, run[1] + length, run[2] - length
    if run[2] == 0 then
      table.remove(front, 1)
    end
  end
  if came_back then
    write_front(info, front)
  end
  if many > 0 then
    runs[#runs + 1] = {redis.call('HINCRBY', info, 'next', many) - many, many}
  end
  return runs
end

-- A batch in flight is its runs, "count " and its trades, each behind its length
-- in bytes and a colon, so that they may hold anything.
local function pack_batch(runs, trades)
  local parts = {write_runs(runs) .. ' ' .. #trades .. ' '}
  -- The in-process server joins no more than some thousand texts at once.
  for from = 1, #trades, 500 do
    local some = {}
    for i = from, math.min(from + 499, #trades) do
      some[#some + 1] = #trades[i] .. ':'
      some[#some + 1] = trades[i]
    end
    parts[#parts + 1] = table.concat(some)
  end
  return table.concat(parts)
end

-- What cannot be read of a batch becomes one trade, which its reader reports.
local function unpack_batch(batch)
  local text, count, at = batch:match('^([%d:,]+) (%d+) ()')
  local runs = read_runs(text or '')
  if #runs == 0 then
    return {{0, 1}}, 0, {batch}
  end
  local trades = {}
  while at <= #batch do
    local length, first = batch:match('^(%d+):()', at)
    if not length then
      trades[#trades + 1] = batch:sub(at)
      break
    end
    at = first + length
    trades[#trades + 1] = batch:sub(first, at - 1)
  end
  return runs, tonumber(count), trades
end

-- cut_runs adds each run with its trades to a list; the last one has the rest.
local function cut_runs(into, runs, trades)
  local at = 1
  for i, run in ipairs(runs) do
    local last = i < #runs and at + run[2] - 1 or #trades
    local some = {}
    for n = at, math.min(last, #trades) do
      some[#some + 1] = trades[n]
    end
    at = last + 1
    if #some > 0 then
      into[#into + 1] = {run[1], #some, some}
    end
  end
end

-- landed notes that so many trades are not in flight any more.
local function landed(info, due, many)
  if redis.call('HINCRBY', info, 'taken', 0 - many) < 0 or redis.call('ZCARD', due) == 0 then
    redis.call('HSET', info, 'taken', 0)
  end
end

-- give_back puts batches in flight back to where they were: in front of the
-- list, and behind what came back before them and stood before them.
local function give_back(list, taken, due, info, ids)
  local runs, many = {}, 0
  for _, id in ipairs(ids) do
    local batch = redis.call('HGET', taken, id)
    if batch then
      local its, count, trades = unpack_batch(batch)
      cut_runs(runs, its, trades)
      many = many + count
    end
  end
  local latest = 0
  for _, run in ipairs(runs) do
    latest = math.max(latest, run[1])
  end
  local front, ahead = read_front(info, redis.call('LLEN', list))
  if #front > 0 and latest > front[1][1] then
    cut_runs(runs, front, redis.call('LRANGE', list, 0, ahead - 1))
    redis.call('LTRIM', list, ahead, -1)
    front = {}
  end
  table.sort(runs, function(a, b) return a[1] < b[1] end)
  local backwards = {}
  for i = #runs, 1, -1 do
    local run = runs[i]
    for n = run[2], 1, -1 do
      backwards[#backwards + 1] = run[3][n]
    end
    if #front > 0 and run[1] + run[2] == front[1][1] then
      front[1] = {run[1], run[2] + front[1][2]}
    else
      table.insert(front, 1, run)
    end
  end
  -- unpack fails at 8,000 elements, that of the in-process server sooner.
  for first = 1, #backwards, 1000 do
    redis.call('LPUSH', list, unpack(backwards, first, math.min(first + 999, #backwards)))
  end
  write_front(info, front)
  for _, id in ipairs(ids) do
    redis.call('ZREM', due, id)
    redis.call('HDEL', taken, id)
  end
  landed(info, due, many)
end

-- reclaim gives back the batches whose time is over. What can fail on a key of
-- another type comes before anything is changed.
local function reclaim(list, taken, due, info)
  redis.call('LLEN', list)
  redis.call('HLEN', taken)
  redis.call('HLEN', info)
  local over = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', math.floor(now / 1000)))
  if #over > 0 then
    give_back(list, taken, due, info, over)
  end
end
