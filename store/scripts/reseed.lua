-- reseed(cut, version, nonce): a fresh chain from `cut`, when there is none or the caller saw this very one and knows a manifest
-- that is no older than it. The old segments' keys are left to `sweep`.
-- KEYS  chain, applied, mark, fresh, garbage    ARGV  cut as JSON, version, nonce the caller saw ('' for none), fresh nonce
local state = redis.call('HMGET', KEYS[1], 'nonce', 'pointer', 'segments', 'next')
local pointer, following = tonumber(ARGV[2]), state[4] or '1'
if state[1] then
  if state[1] ~= ARGV[3] or tonumber(state[2]) > pointer then return 'CHANGED' end
  for _, segment in ipairs(cjson.decode(state[3])) do redis.call('RPUSH', KEYS[5], segment.id) end
elseif ARGV[3] ~= '' then
  return 'CHANGED'
end
local cut = cjson.decode(ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'nonce', ARGV[4], 'pointer', tostring(pointer), 'open', following, 'next', tostring(tonumber(following) + 1),
  'cells', '0', 'openCells', '0', 'segments', cjson.encode({{id = following, from = cut}}))
for partition, from in pairs(cut) do redis.call('HSET', KEYS[2], partition, from) end
return 'OK'
