-- writers_beside lists who else writes, of a guard's text: the writers that are
-- not this one and not past their time, as the guard holds them ("" if none),
-- and for how many milliseconds that must be remembered.
local function writers_beside(guard, token)
  local others, latest = '', 0
  if type(guard) == 'string' and guard:sub(1, 2) == 'W ' then
    for expires, holder in guard:gmatch('(%d+) (%S+)') do
      if holder ~= token and tonumber(expires) > now then
        others = others .. ' ' .. expires .. ' ' .. holder
        latest = math.max(latest, tonumber(expires))
      end
    end
  end
  return others, math.ceil((latest - now) / 1000)
end
