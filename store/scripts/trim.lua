-- trim(cut): drops the leading closed segments that end at or below `cut`. Their keys are left to `sweep`.
-- KEYS  chain, garbage    ARGV  prefix, cut as JSON
local encoded = redis.call('HGET', KEYS[1], 'segments')
if not encoded or is_torn(KEYS[1]) then return 0 end
local cut, segments, dropped = cjson.decode(ARGV[2]), cjson.decode(encoded), 0
local function reached(to)
  for partition, position in pairs(to) do
    local have = cut[partition] or '0'
    if #have < #position or (#have == #position and have < position) then return false end
  end
  return true
end
begin(KEYS[1])
while #segments > 1 and segments[1].to and reached(segments[1].to) do
  local id = table.remove(segments, 1).id
  redis.call('RPUSH', KEYS[2], id)
  for _, bucket in ipairs(redis.call('ZRANGE', ARGV[1] .. ':s:' .. id .. ':buckets', 0, -1)) do
    redis.call('HINCRBY', KEYS[1], 'cells', -redis.call('HLEN', ARGV[1] .. ':s:' .. id .. ':b:' .. bucket))
  end
  dropped = dropped + 1
end
if dropped > 0 then redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments)) end
finish(KEYS[1])
return dropped
