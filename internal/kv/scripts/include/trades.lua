-- A batch in flight is "number count " and its trades, each behind its length
-- in bytes and a colon, so that they may hold anything.
local function pack_batch(number, trades)
  local parts = {number .. ' ' .. #trades .. ' '}
  for i, trade in ipairs(trades) do
    parts[2 * i], parts[2 * i + 1] = #trade .. ':', trade
  end
  return table.concat(parts)
end

-- What cannot be read of a batch becomes one trade, which its reader reports.
local function unpack_batch(batch)
  local number, count, at = batch:match('^(%d+) (%d+) ()')
  if not number then
    return 0, 0, {batch}
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
  return tonumber(number), tonumber(count), trades
end

-- landed notes that so many trades are not in flight any more.
local function landed(info, due, many)
  if redis.call('HINCRBY', info, 'taken', -many) < 0 or redis.call('ZCARD', due) == 0 then
    redis.call('HSET', info, 'taken', 0)
  end
end

-- give_back puts batches in flight back, in front of their list and in order; of
-- several, the one that was taken first leads.
local function give_back(list, taken, due, info, ids)
  local batches, many = {}, 0
  for _, id in ipairs(ids) do
    local batch = redis.call('HGET', taken, id)
    if batch then
      local number, count, trades = unpack_batch(batch)
      batches[#batches + 1] = {number, trades}
      many = many + count
    end
  end
  table.sort(batches, function(a, b) return a[1] > b[1] end)
  for _, batch in ipairs(batches) do
    local backwards, trades = {}, batch[2]
    for i = #trades, 1, -1 do
      backwards[#backwards + 1] = trades[i]
    end
    -- unpack fails at 8,000 elements.
    for first = 1, #backwards, 4000 do
      redis.call('LPUSH', list, unpack(backwards, first, math.min(first + 3999, #backwards)))
    end
  end
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
