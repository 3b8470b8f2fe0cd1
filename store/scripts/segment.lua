-- segment(id, from, to): the names of the buckets of a closed segment, or one of its buckets. A segment is read piece by piece, each only while the
-- chain has it with this very span: so the pieces belong together, whatever Redis went through in between.
-- KEYS  chain    ARGV  prefix, {id, from, to} as JSON, bucket ('' for the names)
-- Answers {bucket*} or {fields, sketches} as `packed` gives them; false when the chain does not have the segment.
local encoded = redis.call('HGET', KEYS[1], 'segments')
local wanted = cjson.decode(ARGV[2])
if not encoded or is_torn(KEYS[1]) or not place_of(cjson.decode(encoded), {wanted}) then return false end
local segment = ARGV[1] .. ':s:' .. wanted.id .. ':'
if ARGV[3] == '' then return redis.call('ZRANGE', segment .. 'buckets', 0, -1) end
local fields = redis.call('HGETALL', segment .. 'b:' .. ARGV[3])
return {packed(fields), sketches_of(segment, ARGV[3], fields)}
