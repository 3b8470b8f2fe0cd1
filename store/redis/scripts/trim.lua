-- trim(cut): drops the leading closed segments that end at or below `cut`. `sweep` deletes their keys.
-- KEYS  chain, garbage, applied, staging    ARGV  cut as JSON
local encoded = redis.call('HGET', KEYS[1], 'segments')
if not encoded or is_unusable(KEYS[1]) then return 0 end
local cut, segments, dropped = cjson.decode(ARGV[1]), segments_of(encoded), 0
local function reached(to)
  for partition, position in pairs(to) do
    local have = cut[partition] or '0'
    if #have < #position or (#have == #position and have < position) then return false end
  end
  return true
end
even_when_full(KEYS[1])
begin(KEYS[1])
while #segments > 1 and segments[1].to and reached(segments[1].to) do
  local segment = table.remove(segments, 1)
  redis.call('RPUSH', KEYS[2], segment.id)
  redis.call('HINCRBY', KEYS[1], 'cells', string.format('%d', -segment.cells))
  dropped = dropped + 1
end
if dropped > 0 then redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments)) end
drop_stale(KEYS[4], KEYS[1], KEYS[3], KEYS[2])
finish(KEYS[1])
return dropped
