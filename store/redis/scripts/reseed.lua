-- reseed(cut, version, nonce): begins a new chain at `cut`. It does so only if there is no usable chain, or the caller
-- saw the present one; and if the caller's version is not older than the chain's, or the caller knows that the data
-- directory does not have the chain's version, as after a restore. `sweep` deletes the old segments' keys.
-- KEYS  chain, applied, mark, fresh, garbage, staging
-- ARGV  cut as JSON, version, nonce the caller saw ('' for none), fresh nonce, topic id ('' when not known), a version
--       that the data directory does not have ('' for none), then for each partition whose last record below the cut is
--       known: partition, mark
local state = redis.call('HMGET', KEYS[1], 'nonce', 'pointer', 'segments')
local pointer, first = tonumber(ARGV[2]), segment_id(ARGV[4], '1')
local seen = state[1] and not is_unusable(KEYS[1]) and state[1] or ''
local newer = state[2] and tonumber(state[2]) > pointer and state[2] ~= ARGV[6]
if seen ~= ARGV[3] or newer then return 'CHANGED' end
even_when_full(KEYS[1])
if state[3] then
  begin(KEYS[1])
  drop_segments(state[3], KEYS[5])
end
drop_staged(KEYS[6], KEYS[5])
local cut = cjson.decode(ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
begin(KEYS[1])
redis.call('HSET', KEYS[1], 'nonce', ARGV[4], 'pointer', tostring(pointer), 'open', first, 'next', '2',
  'cells', '0', 'openCells', '0', 'openWork', '0', 'topic', ARGV[5],
  'segments', cjson.encode({{id = first, from = cut}}))
for partition, from in pairs(cut) do redis.call('HSET', KEYS[2], partition, from) end
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
finish(KEYS[1])
return 'OK'
