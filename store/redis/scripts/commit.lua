-- commit(id, spans): invariant 2 for a staged batch. In one step its segment becomes a part of the chain and the
-- applied positions of its partitions change, but only if every stored position is exactly where the batch begins. The
-- open segment before it is closed, and a new one is opened after it.
--
-- KEYS  chain, applied, mark, fresh, garbage, staging
-- ARGV  prefix, topic id ('' when not known), maxCells, id, pages, cells, spans, then the spans (ten arguments each,
--       see values.lua)
-- Returns one of
--       {"OK", "0", pointer, cells}
--       {"POSITION", (partition, stored)*}
--       {"NOCHAIN"}, also when Redis has evicted a key of the open segment
--       {"OVERFLOW"}
--       {"TOO_LARGE", cells}
--       {"TOPIC", topic id}
--       {"GONE"} when Redis has lost a part of the staged segment
local chain, applied, mark, fresh, garbage, staging = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, topic, id, spans = ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[7])
local function at(span) return 8 + 10 * (span - 1) end
local function leave(reply)
  if redis.call('HEXISTS', staging, id) == 1 then leave_staged(staging, garbage, id) end
  return reply
end
-- Run even when Redis is full: the batch is in Redis already, and the memory that this script frees may be needed.
even_when_full(chain)

local state = redis.call('HMGET', chain,
  'segments', 'open', 'next', 'nonce', 'cells', 'openCells', 'pointer', 'overflow', 'topic')
if not state[1] or is_unusable(chain) then return leave({'NOCHAIN'}) end
if topic ~= '' and state[9] ~= '' and state[9] ~= topic then return leave({'TOPIC', state[9]}) end
local open_segment = prefix .. ':s:' .. state[2] .. ':'
local function lost()
  void(chain)
  return leave({'NOCHAIN'})
end
if state[6] ~= '0' and has_lost_keys(open_segment, applied) then return lost() end
local stored, moved = {'POSITION'}, false
for span = 1, spans do
  local position = redis.call('HGET', applied, ARGV[at(span)])
  if not position and has_lost_position(chain, open_segment, ARGV[at(span)]) then return lost() end
  position = position or '0'
  if position ~= ARGV[at(span) + 1] then moved = true end
  stored[#stored + 1] = ARGV[at(span)]
  stored[#stored + 1] = position
end
if moved then return leave(stored) end
if state[8] then return leave({'OVERFLOW'}) end
for span = 1, spans do
  local wrong = bad_span(at(span))
  if wrong then return refuse(wrong) end
end
local segment = prefix .. ':s:' .. id .. ':'
if redis.call('HEXISTS', staging, id) == 0 or redis.call('ZCARD', segment .. 'buckets') ~= tonumber(ARGV[5]) then
  return leave({'GONE'})
end
local staged = tonumber(ARGV[6])
if tonumber(state[5]) + staged > tonumber(ARGV[3]) then return leave({'TOO_LARGE', state[5]}) end

local segments, open_id, next_id = segments_of(state[1]), state[2], tonumber(state[3])
local open = segments[#segments]
local below, filled = {}, false
for partition, from in pairs(open.from) do below[partition] = from end
local positions = redis.call('HGETALL', applied)
for i = 1, #positions, 2 do
  if (below[positions[i]] or '0') ~= positions[i + 1] then filled = true end
  below[positions[i]] = positions[i + 1]
end
if filled then
  open.to, open.cells = below, tonumber(state[6])
  open_id = segment_id(state[4], state[3])
  next_id = next_id + 1
else
  segments[#segments] = nil
end
local above = {}
for partition, position in pairs(below) do above[partition] = position end
for span = 1, spans do above[ARGV[at(span)]] = ARGV[at(span) + 2] end
segments[#segments + 1] = {id = id, from = below, to = above, cells = staged}
segments[#segments + 1] = {id = open_id, from = above}

begin(chain)
for span = 1, spans do advance(at(span), segment, applied, mark, fresh) end
redis.call('HSET', chain, 'segments', cjson.encode(segments), 'open', open_id, 'next', tostring(next_id),
  'openCells', '0', 'openWork', '0')
redis.call('HDEL', staging, id)
redis.call('LREM', garbage, 0, id) -- a first part that was sent again after a reseed was on its way there
drop_stale(staging, chain, applied, garbage)
local cells = redis.call('HINCRBY', chain, 'cells', staged)
finish(chain)
return {'OK', '0', state[7], tostring(cells)}
