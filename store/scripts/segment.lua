-- segment(id, from, to): the names of the buckets of a closed segment, or one of its buckets. A segment is read piece by piece, each only while the
-- chain has it with this very span: so the pieces belong together, whatever Redis went through in between.
-- KEYS  chain    ARGV  prefix, {id, from, to} as JSON, bucket ('' for the names)
-- Answers {bucket*} or {fields, sketches}; false when the chain does not have the segment.
local encoded = redis.call('HGET', KEYS[1], 'segments')
local wanted = cjson.decode(ARGV[2])
if not encoded or is_torn(KEYS[1]) or not place_of(cjson.decode(encoded), {wanted}) then return false end
local segment = ARGV[1] .. ':s:' .. wanted.id .. ':'
if ARGV[3] == '' then return redis.call('ZRANGE', segment .. 'buckets', 0, -1) end
local fields, sketches = redis.call('HGETALL', segment .. 'b:' .. ARGV[3]), {}
for i = 1, #fields, 2 do
  if fields[i + 1] == 'hll' then
    sketches[#sketches + 1] = fields[i]
    sketches[#sketches + 1] = redis.call('GET', segment .. 'h:' .. ARGV[3] .. ':' .. fields[i])
  end
end
return {fields, sketches}
