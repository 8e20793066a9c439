#!lua
-- Deletes an order and what finds it, and publishes that.
--
-- KEYS[1]  the order                            any type: deleting mends a corrupt one
-- KEYS[2]  its exchange's open orders           sorted set
-- KEYS[3]  its exchange's final orders          sorted set
-- KEYS[4]  its exchange's orders by other ids   hash
-- KEYS[5]  its exchange's revision              string
-- ARGV[1]  "absent" to delete only what finds it, if the order is gone, else ""
-- ARGV[2]  id
-- ARGV[3]  exchange
-- ARGV[4]  PUBLISH or SPUBLISH
-- ARGV[5]  channel of the order
-- ARGV[6]  channel of the exchange's orders
-- ARGV[7]  channel that says that revisions began anew
-- Returns  1, or 0 if there was no order
-- Retry: no (sent again it would report that there was none)

-- @include clock
-- @include revision

local exists, id = redis.call('EXISTS', KEYS[1]), ARGV[2]
if ARGV[1] ~= '' and exists == 1 then
  return 1
end
-- What can fail on a key of another type comes before anything is changed.
local indexed = redis.call('ZSCORE', KEYS[2], id)
indexed = redis.call('ZSCORE', KEYS[3], id) or indexed
local ex = redis.call('HGET', KEYS[4], 'id:' .. id)
if exists == 0 and not indexed then
  return 0
end

local rev = string.format('%.0f', next_revision(KEYS[5], 1, ARGV[4], ARGV[7]))
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], id)
redis.call('ZREM', KEYS[3], id)
if ex then
  redis.call('HDEL', KEYS[4], 'id:' .. id)
  if redis.call('HGET', KEYS[4], 'ex:' .. ex) == id then
    redis.call('HDEL', KEYS[4], 'ex:' .. ex)
  end
end
local message = 'D ' .. rev .. ' ' .. #ARGV[3] .. ' ' .. ARGV[3] .. id
redis.call(ARGV[4], ARGV[5], message)
redis.call(ARGV[4], ARGV[6], message)
return exists
