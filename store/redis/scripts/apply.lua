-- apply(span, deltas): invariant 2. The deltas of a small batch and the partition's applied position change together,
-- and only if the stored position is exactly where the batch begins. A batch with more cells than one script may touch
-- is applied by `stage` and `commit`.
--
-- KEYS  chain, applied, mark, fresh
-- ARGV  prefix, topic id ('' when not known), maxCells, a span (ten arguments, see values.lua), buckets,
--       then per bucket: bucket, values, (merge, field, value)*, sketches, (field, 8-byte hashes)*
-- Returns one of
--       {"OK", work of reading the open segment, pointer, cells}
--       {"POSITION", stored}
--       {"NOCHAIN"}, also when Redis has evicted a key that the batch needs
--       {"OVERFLOW"}
--       {"TOO_LARGE", cells}
--       {"TOPIC", topic id of the chain}
local chain, applied, mark, fresh = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, topic, partition, from = ARGV[1], ARGV[2], ARGV[4], ARGV[5]
local SPAN = 4

local function lost()
  void(chain)
  return {'NOCHAIN'}
end
local function is_picked(merge) return merge == 'first' or merge == 'last' end

local state = redis.call('HMGET', chain, 'open', 'cells', 'pointer', 'overflow', 'topic', 'openCells')
local open, cells, pointer = state[1], tonumber(state[2]), state[3]
if not open or is_unusable(chain) then return {'NOCHAIN'} end
if topic ~= '' and state[5] ~= '' and state[5] ~= topic then return {'TOPIC', state[5]} end
local segment = prefix .. ':s:' .. open .. ':'
local stored = redis.call('HGET', applied, partition)
if (not stored and has_lost_position(chain, segment, partition))
  or (state[6] ~= '0' and has_lost_keys(segment, applied)) then
  return lost()
end
stored = stored or '0'
if stored ~= from then return {'POSITION', stored} end
if state[4] then return {'OVERFLOW'} end

local wrong = bad_span(SPAN)
if wrong then return refuse(wrong) end
local at, incoming, buckets = SPAN + 11, 0, {}
for b = 1, tonumber(ARGV[SPAN + 10]) do
  local bucket, values, sketches = ARGV[at], {}, {}
  if not is_integer(bucket or '') then return refuse('bucket') end
  local count = tonumber(ARGV[at + 1])
  at = at + 2
  for i = 1, count do
    local merge, field, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if not is_line(field or '') then return refuse('field') end
    if is_picked(merge) then
      if not value or not is_pick(value) then return refuse('pick') end
    elseif merge ~= 'sum' and merge ~= 'min' and merge ~= 'max' then return refuse('merge')
    elseif not value or not is_integer(value) then return refuse('value')
    elseif math.abs(tonumber(value)) >= LIMIT then return {'OVERFLOW'} end
    values[i] = at
    at = at + 3
  end
  incoming = incoming + count
  count = tonumber(ARGV[at])
  at = at + 1
  for i = 1, count do
    local field, hashes = ARGV[at], ARGV[at + 1]
    if not is_line(field or '') then return refuse('field') end
    if not hashes or #hashes == 0 or #hashes % 8 ~= 0 then return refuse('sketch') end
    sketches[i] = at
    at = at + 2
  end
  incoming = incoming + count
  buckets[b] = {bucket, values, sketches}
end
if at ~= #ARGV + 1 then return refuse('number of arguments') end
if cells + incoming > tonumber(ARGV[3]) then return {'TOO_LARGE', tostring(cells)} end

begin(chain)
local grown, work, overflow = 0, 0, false
for _, entry in ipairs(buckets) do
  local bucket, values, sketches = entry[1], entry[2], entry[3]
  local key = segment .. 'b:' .. bucket
  local before = redis.call('HLEN', key)
  -- A bucket that is listed has cells.
  if before == 0 and #values + #sketches > 0 and redis.call('ZADD', segment .. 'buckets', bucket, bucket) == 0 then
    return lost()
  end
  for _, i in ipairs(values) do
    local merge, field, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if merge == 'sum' then
      if math.abs(redis.call('HINCRBY', key, field, value)) >= 2 * LIMIT then overflow = true end
    elseif is_picked(merge) then
      local held = redis.call('HGET', key, field)
      if not held or (merge == 'first' and place(value) < place(held))
        or (merge == 'last' and place(held) < place(value)) then
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
    local field, sketch = ARGV[i], segment .. 'h:' .. bucket .. ':' .. ARGV[i]
    if redis.call('EXISTS', sketch) == 0 and redis.call('HEXISTS', key, field) == 1 then return lost() end
    if add_hashes(sketch, ARGV[i + 1]) > 0 then
      work = work + SKETCH_WORK * redis.call('HSET', key, field, 'hll')
    end
  end
  grown = grown + redis.call('HLEN', key) - before
end
advance(SPAN, segment, applied, mark, fresh)
cells = redis.call('HINCRBY', chain, 'cells', grown)
redis.call('HINCRBY', chain, 'openCells', grown)
if overflow then redis.call('HSET', chain, 'overflow', '1') end
work = redis.call('HINCRBY', chain, 'openWork', grown + work)
finish(chain)
return {'OK', tostring(work), pointer, tostring(cells)}
