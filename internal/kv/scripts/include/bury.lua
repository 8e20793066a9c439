-- bury adds an entry to the dead letters: why it is there, how often it was
-- delivered, the partition it is of ("" if none), its id there, then its own
-- fields. It returns how many of the oldest dead letters gave way to it. Of a
-- foreign entry it keeps what Lua's stack holds.
local function bury(dead, cap, reason, deliveries, partition, id, fields)
  local dropped = 0
  local over = redis.call('XLEN', dead) + 1 - cap
  if over > 0 then
    for _, old in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', math.min(over, 100))) do
      dropped = dropped + redis.call('XDEL', dead, old[1])
    end
  end
  redis.call('XADD', dead, '*', 'reason', reason, 'deliveries', deliveries, 'partition', partition, 'entry', id,
    unpack(fields, 1, math.min(#fields, 4000)))
  return dropped
end
