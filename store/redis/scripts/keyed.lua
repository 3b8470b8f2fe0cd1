-- keyed(segments, first, last, fields): returns these fields of the buckets in [first, last) of closed segments, in
-- one step. The chain has to have each segment with exactly this span. Redis evicts whole keys, so a segment without
-- its list of pages has lost cells, and so has a segment with a listed page that does not exist.
-- KEYS  chain
-- ARGV  prefix, {{id, from, to}*} as JSON, first bucket, last bucket (exclusive), fields (those of rows last)
-- Returns for each segment {{page, fields}*}, with fields as `packed` returns them; false when the chain does not have
-- one of the segments, or one has lost cells.
local encoded = redis.call('HGET', KEYS[1], 'segments')
if not encoded or is_unusable(KEYS[1]) then return false end
local segments, names, answer = segments_of(encoded), {}, {}
for i = 5, #ARGV do names[#names + 1] = ARGV[i] end
for _, wanted in ipairs(cjson.decode(ARGV[2])) do
  local place = place_of(segments, {wanted})
  if not place then return false end
  local segment, part = ARGV[1] .. ':s:' .. wanted.id .. ':', {}
  if segments[place].cells > 0 and redis.call('EXISTS', segment .. 'buckets') == 0 then return false end
  for _, page in ipairs(redis.call('ZRANGEBYSCORE', segment .. 'buckets', ARGV[3], '(' .. ARGV[4])) do
    local hash = segment .. 'b:' .. page
    local fields = values_of(hash, names)
    -- A row needs the names of its values.
    if #fields > 0 and string.byte(fields[#fields - 1]) == 91 then
      fields[#fields + 1] = '*'
      fields[#fields + 1] = redis.call('HGET', hash, '*')
    end
    if #fields > 0 then part[#part + 1] = {page, packed(fields)}
    elseif redis.call('EXISTS', hash) == 0 then return false end
  end
  answer[#answer + 1] = part
end
return answer
