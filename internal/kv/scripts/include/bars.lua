-- A bar is a line that begins with ten digits, its time, and a comma. time_of
-- returns that time as text; nothing of what is no bar.
local function time_of(line)
  return line:match('^(%d%d%d%d%d%d%d%d%d%d),')
end

-- position finds where a time belongs in a list of bars, which is so long: how many
-- are before it, or before and of it. What is no bar stays where it is, and belongs
-- to the bar before it.
local function position(list, length, time, of_it_too)
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at, found = middle
    while at >= low and not found do
      found = time_of(redis.call('LINDEX', list, at))
      at = at - 1
    end
    if not found or found < time or (of_it_too and found == time) then
      low = middle + 1
    else
      high = at + 1
    end
  end
  return low
end

-- read_series takes an entry of the index of series apart: the symbol as given and,
-- if it has one of its own, its cap; nothing of what is no entry.
local function read_series(entry)
  if not entry then
    return nil
  end
  local cap, symbol = entry:match('^%d+ (%S+) (.+)$')
  return symbol, tonumber(cap)
end
