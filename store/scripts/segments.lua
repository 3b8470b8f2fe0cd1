-- What several scripts share. A segment is named by its id and its span. An id alone names nothing for long: a Redis that comes back as it was some
-- time ago gives it to another span. What a closed segment holds follows from its span and the log.
local function same_cut(a, b)
  for partition, position in pairs(a) do
    if (b[partition] or '0') ~= position then return false end
  end
  for partition, position in pairs(b) do
    if (a[partition] or '0') ~= position then return false end
  end
  return true
end

-- Where in `segments` these ones, {id, from, to} each, stand closed and one after the other; nil when they do not.
local function place_of(segments, wanted)
  local first
  for at, segment in ipairs(segments) do
    if segment.id == wanted[1].id then first = at end
  end
  for at, want in ipairs(wanted) do
    local segment = first and segments[first + at - 1]
    if not segment or segment.id ~= want.id or not segment.to then return nil end
    if not same_cut(segment.from, want.from) or not same_cut(segment.to, want.to) then return nil end
  end
  return first
end

