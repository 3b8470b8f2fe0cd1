-- seal(token): closes the open segment at the applied positions, and opens the next one there.
-- Nothing changes if a segment has the token already, or if nothing was applied since the last boundary.
-- The empty token seals for size alone: such a boundary is not a cut, and a second call is not recognised by its
-- token.
-- KEYS  chain, applied    ARGV  token    Returns the boundary as JSON, or false without a chain.
local state = redis.call('HMGET', KEYS[1], 'segments', 'next', 'nonce', 'openCells')
if not state[1] or is_unusable(KEYS[1]) then return false end
even_when_full(KEYS[1])
local token, segments = ARGV[1], segments_of(state[1])
if token ~= '' then
  for _, segment in ipairs(segments) do
    if segment.token == token then return cjson.encode(segment.to) end
  end
end
local boundary, moved = {}, false
local open = segments[#segments]
for partition, from in pairs(open.from) do boundary[partition] = from end
local applied = redis.call('HGETALL', KEYS[2])
for i = 1, #applied, 2 do
  if (boundary[applied[i]] or '0') ~= applied[i + 1] then moved = true end
  boundary[applied[i]] = applied[i + 1]
end
if not moved then
  -- The boundary exists already. Make it a cut, so that no segments are merged across it.
  local closed = segments[#segments - 1]
  if token ~= '' and closed and not closed.token then
    closed.token = token
    begin(KEYS[1])
    redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments))
    finish(KEYS[1])
  end
  return cjson.encode(boundary)
end
open.to, open.cells = boundary, tonumber(state[4])
if token ~= '' then open.token = token end
local id = segment_id(state[3], state[2])
segments[#segments + 1] = {id = id, from = boundary}
begin(KEYS[1])
redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments), 'open', id,
  'next', tostring(tonumber(state[2]) + 1), 'openCells', '0', 'openWork', '0')
finish(KEYS[1])
return cjson.encode(boundary)
