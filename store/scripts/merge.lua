-- merge(bucket): writes one bucket of a segment that is to take the place of successive closed ones, while the chain still has those. It is there as
-- a whole or not at all, so `fold` sees by the number of buckets whether any was lost.
-- KEYS  chain, merging    ARGV  prefix, the segments as JSON, id of their merge, bucket, values, (field, value)*, fields of sketches to be united*
-- Answers 'OK' or 'CHANGED'.
local encoded = redis.call('HGET', KEYS[1], 'segments')
local wanted, bucket, values = cjson.decode(ARGV[2]), ARGV[4], tonumber(ARGV[5])
if not encoded or is_torn(KEYS[1]) or not place_of(cjson.decode(encoded), wanted) then return 'CHANGED' end
redis.call('SADD', KEYS[2], ARGV[3])
local segment = ARGV[1] .. ':s:' .. ARGV[3] .. ':'
local hash, at = segment .. 'b:' .. bucket, 6
for _ = 1, values do
  redis.call('HSET', hash, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = at, #ARGV do
  local sources = {}
  for _, one in ipairs(wanted) do sources[#sources + 1] = ARGV[1] .. ':s:' .. one.id .. ':h:' .. bucket .. ':' .. ARGV[i] end
  redis.call('PFMERGE', segment .. 'h:' .. bucket .. ':' .. ARGV[i], unpack(sources))
  redis.call('HSET', hash, ARGV[i], 'hll')
end
redis.call('ZADD', segment .. 'buckets', bucket, bucket)
return 'OK'
