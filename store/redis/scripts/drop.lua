-- drop(): deletes the whole chain. `sweep` deletes the segments' keys.
-- KEYS  chain, applied, mark, fresh, garbage, staging
local segments = redis.call('HGET', KEYS[1], 'segments')
even_when_full(KEYS[1])
if segments then
  begin(KEYS[1])
  drop_segments(segments, KEYS[5])
end
drop_staged(KEYS[6], KEYS[5])
return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
