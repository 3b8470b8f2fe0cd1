-- segment(id, from, to, first): returns pages of a closed segment from this rank on, as many as one script may read. A
-- segment is read piece by piece, and each piece only while the chain has the segment with exactly this span. So the
-- pieces belong together, whatever happened to Redis in between.
-- KEYS  chain    ARGV  prefix, {id, from, to} as JSON, first
-- Returns {number of all pages, cells of the segment, {page, fields, sketches}*}, with fields as `packed` returns
-- them; false when the chain does not have the segment, or Redis has lost a sketch of it.
local WORK = 2000
local encoded = redis.call('HGET', KEYS[1], 'segments')
local wanted = cjson.decode(ARGV[2])
local segments = encoded and segments_of(encoded) or {}
local place = not is_unusable(KEYS[1]) and place_of(segments, {wanted})
if not place then return false end
local segment, first = ARGV[1] .. ':s:' .. wanted.id .. ':', tonumber(ARGV[3])
local answer, work = {redis.call('ZCARD', segment .. 'buckets'), segments[place].cells}, 0
for _, page in ipairs(redis.call('ZRANGE', segment .. 'buckets', first, first + WORK / 4 - 1)) do
  local fields = redis.call('HGETALL', segment .. 'b:' .. page)
  local sketches = sketches_of(segment, bucket_of(page), fields)
  if not sketches then return false end
  answer[#answer + 1] = {page, packed(fields), sketches}
  work = work + 4 + #fields / 2 + 8 * #sketches
  if work >= WORK then break end
end
return answer
