-- Prepended to scripts that write cells: checks of values, and the function with which a batch advances a partition.
-- Positions and integers are passed as text, because Lua's numbers are doubles. Lua does not roll back, so a script
-- checks every argument before its first write.
local LIMIT = 2305843009213693952 -- 2^61; cells stop at twice that, so that one more delta still fits 64 bits
-- A sketch costs a reader or a script as much as this many plain cells.
local SKETCH_WORK = 16

local function refuse(what) return redis.error_reply('ERR tideline: bad ' .. what) end
local function is_integer(text) return text == '0' or (string.find(text, '^%-?[1-9]%d*$') ~= nil and #text <= 20) end
local function is_position(text) return is_integer(text) and string.sub(text, 1, 1) ~= '-' end
local function less(a, b) -- two integers in canonical text
  local na, nb = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if na ~= nb then return na end
  if #a ~= #b then return (#a < #b) ~= na end
  if na then return a > b end
  return a < b
end
-- Readers get fields and values as lines. Both are JSON, which has no line breaks.
local function is_line(text) return not string.find(text, '\n', 1, true) end

-- A pick begins with 52 digits, the place of its event. No two events have the same place.
local function place(text) return string.sub(text, 1, 52) end
local function is_pick(text) return #text > 52 and is_line(text) and string.find(place(text), '^%d+$') ~= nil end

-- Adds hashes, 8 bytes each, to a sketch. Returns how many calls changed it.
local function add_hashes(sketch, hashes)
  local changed = 0
  for first = 1, #hashes, 8000 do
    local some = {}
    for j = first, math.min(first + 7992, #hashes - 7), 8 do some[#some + 1] = string.sub(hashes, j, j + 7) end
    changed = changed + redis.call('PFADD', sketch, unpack(some))
  end
  return changed
end

-- A span is ten arguments: partition, from, to, mark, records, duplicates, rejects, counted, filtered, fresh ('' when
-- the log continues). Returns the problem with the span at `at`, or nil.
local function bad_span(at)
  if not is_position(ARGV[at] or '') then return 'partition' end
  local from, to = ARGV[at + 1], ARGV[at + 2]
  if not is_position(from) or not is_position(to) or not less(from, to) then return 'span' end
  for i = at + 4, at + 8 do if not is_position(ARGV[i]) then return 'ledger' end end
end

-- Moves a partition's applied position to the end of its span, and adds the span's ledger to the segment's.
local function advance(at, segment, applied, mark, fresh)
  local partition = ARGV[at]
  local names = {'records', 'duplicates', 'rejects', 'counted', 'filtered'}
  for i = 1, 5 do redis.call('HINCRBY', segment .. 'ledger', partition .. ':' .. names[i], ARGV[at + 3 + i]) end
  redis.call('HSET', applied, partition, ARGV[at + 2])
  if ARGV[at + 3] ~= '' then redis.call('HSET', mark, partition, ARGV[at + 3]) end
  -- For people: nothing in the protocol reads it.
  if ARGV[at + 9] ~= '' then redis.call('HSET', fresh, partition, ARGV[at + 9]) end
end
