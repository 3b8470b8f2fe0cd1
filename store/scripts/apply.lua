-- apply(p, from, to, mark, ledger, deltas): invariant 2. The deltas of one micro-batch and the partition's applied position change
-- together, and only if the stored position is exactly where the batch begins. Lua does not roll back, so every argument is
-- checked before the first write. Positions and integers travel as text: Lua's numbers are doubles.
--
-- KEYS  chain, applied, mark, fresh
-- ARGV  prefix, partition, from, to, mark, records, duplicates, rejects, counted, filtered, maxCells, fresh ('' when the log goes on), buckets,
--       then per bucket: bucket, values, (merge, field, value)*, sketches, (field, 8-byte hashes)*
-- Answers {"OK", cells of the open segment, pointer} | {"POSITION", stored} | {"NOCHAIN"} | {"OVERFLOW"} | {"TOO_LARGE", cells}
local chain, applied, mark, fresh = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, partition, from, to = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local LIMIT = 2305843009213693952 -- 2^61; cells stop at twice that, so that one more delta still fits 64 bits

local function refuse(what) return redis.error_reply('ERR tideline apply: bad ' .. what) end
local function isInteger(text) return text == '0' or (string.find(text, '^%-?[1-9]%d*$') ~= nil and #text <= 20) end
local function isPosition(text) return isInteger(text) and string.sub(text, 1, 1) ~= '-' end
local function less(a, b) -- two integers in canonical text
  local na, nb = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if na ~= nb then return na end
  if #a ~= #b then return (#a < #b) ~= na end
  if na then return a > b end
  return a < b
end

-- Readers get fields and values as lines. Both are made of JSON, which has no line breaks.
local function isLine(text) return not string.find(text, '\n', 1, true) end

-- A pick begins with 52 digits that say where its event lies; no two events lie at the same place.
local function place(text) return string.sub(text, 1, 52) end
local function isPick(text) return isLine(text) and #text > 52 and #text <= 70000 and string.find(place(text), '^%d+$') ~= nil end
local function isPicked(merge) return merge == 'first' or merge == 'last' end

local state = redis.call('HMGET', chain, 'open', 'cells', 'pointer', 'overflow')
local open, cells, pointer = state[1], tonumber(state[2]), state[3]
if not open or is_torn(chain) then return {'NOCHAIN'} end
local stored = redis.call('HGET', applied, partition) or '0'
if stored ~= from then return {'POSITION', stored} end
if state[4] then return {'OVERFLOW'} end

if not isPosition(partition) then return refuse('partition') end
if not isPosition(from) or not isPosition(to) or not less(from, to) then return refuse('span') end
for i = 6, 10 do if not isPosition(ARGV[i]) then return refuse('ledger') end end
local at, incoming, buckets = 14, 0, {}
for b = 1, tonumber(ARGV[13]) do
  local bucket, values, sketches = ARGV[at], {}, {}
  if not isInteger(bucket or '') then return refuse('bucket') end
  local count = tonumber(ARGV[at + 1])
  at = at + 2
  for i = 1, count do
    local merge, field, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if not isLine(field or '') then return refuse('field') end
    if isPicked(merge) then
      if not value or not isPick(value) then return refuse('pick') end
    elseif merge ~= 'sum' and merge ~= 'min' and merge ~= 'max' then return refuse('merge')
    elseif not value or not isInteger(value) then return refuse('value')
    elseif math.abs(tonumber(value)) >= LIMIT then return {'OVERFLOW'} end
    values[i] = at
    at = at + 3
  end
  incoming = incoming + count
  count = tonumber(ARGV[at])
  at = at + 1
  for i = 1, count do
    local field, hashes = ARGV[at], ARGV[at + 1]
    if not isLine(field or '') then return refuse('field') end
    if not hashes or #hashes == 0 or #hashes % 8 ~= 0 then return refuse('sketch') end
    sketches[i] = at
    at = at + 2
  end
  incoming = incoming + count
  buckets[b] = {bucket, values, sketches}
end
if at ~= #ARGV + 1 then return refuse('number of arguments') end
if cells + incoming > tonumber(ARGV[11]) then return {'TOO_LARGE', tostring(cells)} end

begin(chain)
local segment = prefix .. ':s:' .. open .. ':'
local grown, overflow = 0, false
for _, entry in ipairs(buckets) do
  local bucket, values, sketches = entry[1], entry[2], entry[3]
  local key = segment .. 'b:' .. bucket
  local before = redis.call('HLEN', key)
  if before == 0 then redis.call('ZADD', segment .. 'buckets', bucket, bucket) end
  for _, i in ipairs(values) do
    local merge, field, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if merge == 'sum' then
      if math.abs(redis.call('HINCRBY', key, field, value)) >= 2 * LIMIT then overflow = true end
    elseif isPicked(merge) then
      local held = redis.call('HGET', key, field)
      if not held or (merge == 'first' and place(value) < place(held)) or (merge == 'last' and place(held) < place(value)) then
        redis.call('HSET', key, field, value)
      end
    else
      local held = redis.call('HGET', key, field)
      if not held or (merge == 'min' and less(value, held)) or (merge == 'max' and less(held, value)) then
        redis.call('HSET', key, field, value)
      end
    end
  end
  for _, i in ipairs(sketches) do
    local field, hashes = ARGV[i], ARGV[i + 1]
    local sketch, changed = segment .. 'h:' .. bucket .. ':' .. field, 0
    for first = 1, #hashes, 8000 do
      local some = {}
      for j = first, math.min(first + 7992, #hashes - 7), 8 do some[#some + 1] = string.sub(hashes, j, j + 7) end
      changed = changed + redis.call('PFADD', sketch, unpack(some))
    end
    if changed > 0 then redis.call('HSET', key, field, 'hll') end
  end
  grown = grown + redis.call('HLEN', key) - before
end
local names = {'records', 'duplicates', 'rejects', 'counted', 'filtered'}
for i = 1, 5 do redis.call('HINCRBY', segment .. 'ledger', partition .. ':' .. names[i], ARGV[5 + i]) end
redis.call('HSET', applied, partition, to)
if ARGV[5] ~= '' then redis.call('HSET', mark, partition, ARGV[5]) end
redis.call('HINCRBY', chain, 'cells', grown)
if ARGV[12] ~= '' then redis.call('HSET', fresh, partition, ARGV[12]) end -- for people: nothing in the protocol reads it
if overflow then redis.call('HSET', chain, 'overflow', '1') end
local openCells = redis.call('HINCRBY', chain, 'openCells', grown)
finish(chain)
return {'OK', tostring(openCells), pointer}
