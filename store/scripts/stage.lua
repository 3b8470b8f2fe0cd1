-- stage(id, pages): writes pages of a segment that the chain does not name yet; `commit` or `fold` makes it part of the chain. So state of any size is
-- written in parts that each block Redis for a moment only, and is seen as a whole or not at all. A page is there once the sorted set names it. Every
-- part may be sent again: pages are set, not added to.
--
-- KEYS  chain, applied, staging
-- ARGV  prefix, id, claim (JSON, see common.lua), '1' for the first part, pages, then per page: page, bucket, values, (field, value)*, sketches, (field, hashes)*
--       Empty hashes: the sketch is the union of those that the claim's segments hold for the field.
-- Answers 'OK', or 'GONE' when the claim does not hold any more, or Redis has lost the parts before.
local chain, applied, staging = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, claim = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
if is_unusable(chain) or not holds(claim, chain, applied) then return 'GONE' end
if ARGV[4] ~= '1' and redis.call('HEXISTS', staging, id) == 0 then return 'GONE' end

local at, pages = 6, {}
for p = 1, tonumber(ARGV[5]) do
  local page, bucket, cells, sketches = ARGV[at], ARGV[at + 1], {}, {}
  if not is_integer(bucket or '') or bucket_of(page) ~= bucket then return refuse('bucket') end
  local count = tonumber(ARGV[at + 2])
  at = at + 3
  for _ = 1, count do
    local field, value = ARGV[at], ARGV[at + 1]
    if not value or not is_line(field) then return refuse('field') end
    if #value > 52 then
      if not is_pick(value) then return refuse('pick') end
    elseif not is_integer(value) then return refuse('value')
    elseif claim.applied and math.abs(tonumber(value)) >= LIMIT then return 'OVERFLOW' end
    cells[#cells + 1] = field
    cells[#cells + 1] = value
    at = at + 2
  end
  count = tonumber(ARGV[at])
  at = at + 1
  for i = 1, count do
    local field, hashes = ARGV[at], ARGV[at + 1]
    if not hashes or not is_line(field) then return refuse('field') end
    if #hashes % 8 ~= 0 or (claim.applied and #hashes == 0) then return refuse('sketch') end
    cells[#cells + 1] = field
    cells[#cells + 1] = 'hll'
    sketches[i] = at
    at = at + 2
  end
  pages[p] = {page, bucket, cells, sketches}
end
if at ~= #ARGV + 1 then return refuse('number of arguments') end

redis.call('HSET', staging, id, ARGV[3])
local segment = prefix .. ':s:' .. id .. ':'
for _, entry in ipairs(pages) do
  local page, bucket, cells, sketches = entry[1], entry[2], entry[3], entry[4]
  redis.call('HSET', segment .. 'b:' .. page, unpack(cells))
  for _, i in ipairs(sketches) do
    local sketch = 'h:' .. bucket .. ':' .. ARGV[i]
    if ARGV[i + 1] ~= '' then add_hashes(segment .. sketch, ARGV[i + 1])
    else
      local sources = {}
      for _, one in ipairs(claim.segments) do sources[#sources + 1] = prefix .. ':s:' .. one.id .. ':' .. sketch end
      redis.call('PFMERGE', segment .. sketch, unpack(sources))
    end
  end
  redis.call('ZADD', segment .. 'buckets', bucket, page)
end
return 'OK'
