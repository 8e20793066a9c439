#!lua
-- Moves dead letters back to the end of the queue they came from.
--
-- KEYS[1]  the dead letters       stream
-- KEYS[2…] the queue's streams    one, or one per partition
-- ARGV[1]  how many messages they may hold together
-- ARGV[2…] ids of dead letters
-- Returns  for each 1 moved, 0 not there, 3 refused: full, 4 refused: of a queue
--          that was ordered and is not, or the reverse
-- Retry: no (what was moved would be reported as not there)

local streams, length, results = #KEYS - 1, 0, {}
for i = 1, streams do
  length = length + redis.call('XLEN', KEYS[1 + i])
end
for i = 2, #ARGV do
  local letter = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  local result = 0
  if letter then
    local fields = letter[2]
    local partition = fields[5] == 'partition' and fields[6] or ''
    local number = partition == '' and streams == 1 and 1 or streams > 1 and (tonumber(partition) or -1) + 1 or 0
    if number < 1 or number > streams or #fields < 10 then
      result = 4
    elseif length >= tonumber(ARGV[1]) then
      result = 3
    else
      redis.call('XADD', KEYS[1 + number], '*', unpack(fields, 9))
      redis.call('XDEL', KEYS[1], ARGV[i])
      length = length + 1
      result = 1
    end
  end
  results[#results + 1] = result
end
return results
