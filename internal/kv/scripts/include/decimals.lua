-- A number in plain notation that is not negative.
local function is_plain(text)
  return text:find('^%d+%.?%d*$') ~= nil
end

-- less compares two of them exactly: as texts, since a Lua number would round
-- them.
local function less(a, b)
  local whole, rest = a:match('^0*(%d*)%.?(%d*)$')
  local other, remainder = b:match('^0*(%d*)%.?(%d*)$')
  if #whole ~= #other then
    return #whole < #other
  end
  if whole ~= other then
    return whole < other
  end
  return rest:gsub('0+$', '') < remainder:gsub('0+$', '')
end
