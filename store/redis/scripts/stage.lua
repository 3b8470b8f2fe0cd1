-- stage(id, pages): writes pages of a segment that the chain does not name yet. Later `commit` or `compact` makes the
-- segment a part of the chain. So state of any size is written in parts that each block Redis only for a moment, and
-- readers see all of it or nothing. A page exists once the sorted set names it. Every part may be sent again, because
-- pages are set, not added to.
--
-- KEYS  chain, applied, staging
-- ARGV  prefix, id, claim (JSON, see common.lua), '1' for the first part, pages, then per page: page, bucket, lines,
--       fields and values alternately, a line each, sketches, (field, hashes)*. As separate arguments, thousands of
--       short texts would cost the client and Redis more than the cells themselves.
--       A field that begins with '[' is a row: the values of a group, with BETWEEN between them, for the components
--       that the field '*' names.
--       For a merge of segments, the hashes are replaced by the number of segments that have the sketch: Redis unites
--       their sketches.
-- Returns 'OK', or 'GONE' when the claim is no longer valid, or Redis has lost earlier parts, or a sketch.
local chain, applied, staging = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, claim = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
if is_unusable(chain) or not holds(claim, chain, applied) then return 'GONE' end
if ARGV[4] ~= '1' and redis.call('HEXISTS', staging, id) == 0 then return 'GONE' end

local function lines(text)
  local found, from = {}, 1
  if text == '' then return found end
  while true do
    local to = string.find(text, '\n', from, true)
    found[#found + 1] = string.sub(text, from, (to or 0) - 1)
    if not to then return found end
    from = to + 1
  end
end

local BETWEEN = '\31'
-- Returns the problem with a value of a row or cell, which may be 'OVERFLOW', or nil.
local function wrong_value(value)
  if #value > 52 then return not is_pick(value) and 'pick' or nil end
  if not is_integer(value) then return 'value' end
  return claim.applied and #value > 18 and math.abs(tonumber(value)) >= LIMIT and 'OVERFLOW' or nil
end
local function wrong_row(row, columns)
  local from, parts = 1, 0
  while true do
    local to = string.find(row, BETWEEN, from, true)
    local value = string.sub(row, from, (to or 0) - 1)
    local wrong = value ~= '' and wrong_value(value)
    if wrong then return wrong end
    parts = parts + 1
    if not to then return parts ~= columns and 'row' or nil end
    from = to + 1
  end
end

local at, pages = 6, {}
for p = 1, tonumber(ARGV[5]) do
  local page, bucket, cells, sketches = ARGV[at], ARGV[at + 1], lines(ARGV[at + 3] or ''), {}
  if not is_integer(bucket or '') or bucket_of(page) ~= bucket then return refuse('bucket') end
  -- A field with a line break would be two lines.
  if #cells ~= tonumber(ARGV[at + 2]) or #cells % 2 ~= 0 then return refuse('field') end
  local columns = 0
  for i = 1, #cells, 2 do
    local first, wrong = string.byte(cells[i]), nil
    if first == 42 then columns = select(2, string.gsub(cells[i + 1], BETWEEN, '')) + 1
    elseif first == 91 then wrong = wrong_row(cells[i + 1], columns)
    else wrong = wrong_value(cells[i + 1]) end
    if wrong then return wrong == 'OVERFLOW' and wrong or refuse(wrong) end
  end
  local count = tonumber(ARGV[at + 4])
  at = at + 5
  for i = 1, count do
    local field, hashes = ARGV[at], ARGV[at + 1]
    if not hashes or not is_line(field) then return refuse('field') end
    if claim.applied and (#hashes == 0 or #hashes % 8 ~= 0) then return refuse('sketch') end
    if claim.segments and not is_position(hashes) then return refuse('sketch') end
    cells[#cells + 1] = field
    cells[#cells + 1] = 'hll'
    sketches[i] = at
    at = at + 2
  end
  pages[p] = {page, bucket, cells, sketches}
end
if at ~= #ARGV + 1 then return refuse('number of arguments') end

-- Whether a page continues a sketch that the page before has begun. The hashes of one sketch are successive, so only
-- the first sketch of a page can be a continued one.
local function is_continued(segment, page, bucket, field)
  local number = tonumber(string.match(page, '/(%d+)$') or '0')
  if number == 0 then return false end
  local before = number == 1 and bucket or bucket .. '/' .. number - 1
  return redis.call('HEXISTS', segment .. 'b:' .. before, field) == 1
end

redis.call('HSET', staging, id, ARGV[3])
local segment = prefix .. ':s:' .. id .. ':'
for _, entry in ipairs(pages) do
  local page, bucket, cells, sketches = entry[1], entry[2], entry[3], entry[4]
  redis.call('HSET', segment .. 'b:' .. page, unpack(cells))
  for n, i in ipairs(sketches) do
    local field = ARGV[i]
    local sketch = 'h:' .. bucket .. ':' .. field
    if claim.applied then
      if n == 1 and is_continued(segment, page, bucket, field) and redis.call('EXISTS', segment .. sketch) == 0 then
        return 'GONE'
      end
      add_hashes(segment .. sketch, ARGV[i + 1])
    else
      local sources = {}
      for _, one in ipairs(claim.segments) do
        local source = prefix .. ':s:' .. one.id .. ':' .. sketch
        if redis.call('EXISTS', source) == 1 then sources[#sources + 1] = source end
      end
      if #sources ~= tonumber(ARGV[i + 1]) then return 'GONE' end
      redis.call('PFMERGE', segment .. sketch, unpack(sources))
    end
  end
  redis.call('ZADD', segment .. 'buckets', bucket, page)
end
return 'OK'
