-- set_fields are name and value of what is set of a process, one after the other.
local set_fields = {}
local function put(name, value)
  set_fields[#set_fields + 1] = name
  set_fields[#set_fields + 1] = value
end

-- publish_process numbers a change of a process and tells those who watch all of
-- it. It returns the fields.
local function publish_process(key, counter, publish, channel, control)
  local rev = string.format('%.0f', next_revision(counter, 1, publish, control))
  redis.call('HSET', key, 'rev', rev)
  local fields = redis.call('HGETALL', key)
  local message = {'P ' .. rev .. ' '}
  for _, text in ipairs(fields) do
    message[#message + 1] = #text .. ':' .. text
  end
  redis.call(publish, channel, table.concat(message))
  return fields
end

-- publish_gone tells those who watch that there is no such process any more.
local function publish_gone(id, counter, publish, channel, control)
  local rev = string.format('%.0f', next_revision(counter, 1, publish, control))
  redis.call(publish, channel, 'D ' .. rev .. ' ' .. id)
end

-- remember adds what happened to a process to its component's history.
local function remember(history, change, key, cap, ttl)
  local p = redis.call('HMGET', key, 'process_id', 'status', 'message', 'host', 'pid')
  local names, record = {'process_id', 'status', 'message', 'host', 'pid'}, {change = change, time = stamp(now)}
  for i, name in ipairs(names) do
    record[name] = p[i] or nil
  end
  record.pid = tonumber(record.pid)
  redis.call('LPUSH', history, cjson.encode(record))
  redis.call('LTRIM', history, 0, cap - 1)
  redis.call('PEXPIRE', history, ttl)
end
