-- Prepended to every script.
--
-- A script's writes are one transaction, but Redis does not always keep all of them. If its append-only file ends
-- inside a transaction, Redis keeps the complete commands, and runs them at the next start, together with later ones.
-- So every script that changes a chain counts its runs. It first adds one to the stored number `begun`. At its end it
-- sets `ended` to the number that it saw, with the number of the chain's format before it. If the two differ, some
-- writes are there twice or only in part, or another release made the keys. Such a chain is not used, and a new one is
-- begun. FORMAT is raised with every change of the keys that a process of the release before would misread. A chain of
-- format READ_TOO can be used as one of this format. It keeps that number until a script changes it, which may be
-- releases later for a topic without new records.
local FORMAT, READ_TOO = '3', '2'
local function is_unusable(chain)
  local state = redis.call('HMGET', chain, 'begun', 'ended')
  if state[2] == READ_TOO .. ':' .. (state[1] or '') then return false end
  return state[2] ~= FORMAT .. ':' .. (state[1] or '')
end
-- Returns the segments of a chain, oldest first; the last one is open. Throws the error that `unreadable-state.ts`
-- recognises if Tideline did not write the text.
local function segments_of(text)
  local is_json, segments = pcall(cjson.decode, text)
  local is_known = is_json and type(segments) == 'table' and #segments > 0
  for _, segment in ipairs(is_known and segments or {}) do
    is_known = is_known and type(segment) == 'table' and segment.id and type(segment.from) == 'table'
  end
  if not is_known then error('tideline: unreadable segments', 0) end
  return segments
end

local began
local function begin(chain) began = redis.call('HINCRBY', chain, 'begun', '1') end
local function finish(chain) redis.call('HSET', chain, 'ended', FORMAT .. ':' .. began) end

-- Makes a chain unusable for all processes. A script calls it when Redis has evicted a key of the chain: a Redis with
-- an eviction policy deletes whole keys.
local function void(chain) redis.call('HDEL', chain, 'ended') end
-- Whether one of these keys is lost. Every batch that adds cells to the open segment writes all of them.
local function has_lost_keys(segment, applied)
  return redis.call('EXISTS', segment .. 'buckets', segment .. 'ledger', applied) < 3
end
-- Whether a partition without an applied position had one: the open segment begins there, or counts records after it.
local function has_lost_position(chain, segment, partition)
  local segments = segments_of(redis.call('HGET', chain, 'segments'))
  if segments[#segments].from[partition] then return true end
  return redis.call('HEXISTS', segment .. 'ledger', partition .. ':records') == 1
end

-- Lets a script write when Redis is at its memory limit. Redis refuses commands that may need memory, unless the
-- script has written before. Scripts that free memory have to work then, too.
local function even_when_full(chain) redis.call('HDEL', chain, 'full') end

-- Returns the id of a segment. No id is used twice, because keys of a deleted chain may still exist.
local function segment_id(nonce, number) return string.sub(nonce, 1, 13) .. '.' .. number end

-- Whether two cuts are equal. A segment is identified by its id and its span. The id alone is not enough: a Redis that
-- was restored to an earlier moment gives the same id to another span. Span and log determine a closed segment's
-- cells.
local function same_cut(a, b)
  for partition, position in pairs(a) do
    if (b[partition] or '0') ~= position then return false end
  end
  for partition, position in pairs(b) do
    if (a[partition] or '0') ~= position then return false end
  end
  return true
end

-- Returns the index in `segments` at which the wanted ones, {id, from, to} each, are closed and successive, or nil.
local function place_of(segments, wanted)
  local first
  for at, segment in ipairs(segments) do
    if segment.id == wanted[1].id then first = at end
  end
  for at, want in ipairs(wanted) do
    local segment = first and segments[first + at - 1]
    if not segment or segment.id ~= want.id or not segment.to then return nil end
    if not same_cut(segment.from, want.from) or not same_cut(segment.to, want.to) then return nil end
  end
  return first
end

-- Whether the claim of a staged segment is still valid. Such a segment is written in parts before the chain names it.
-- Its claim is either the applied positions at which its batch begins ({applied = {partition = from}}), or the closed
-- segments that it merges ({segments = {{id, from, to}}}).
local function holds(claim, chain, applied)
  if claim.applied then
    for partition, from in pairs(claim.applied) do
      if (redis.call('HGET', applied, partition) or '0') ~= from then return false end
    end
    return true
  end
  local encoded = redis.call('HGET', chain, 'segments')
  return encoded and place_of(segments_of(encoded), claim.segments) ~= nil
end

-- Moves a staged segment to the garbage. It is added there before it is removed here, so that it is never lost.
local function leave_staged(staging, garbage, id)
  redis.call('RPUSH', garbage, id)
  redis.call('HDEL', staging, id)
end

-- Moves staged segments whose claim can never be valid again to the garbage: the process that staged them was killed,
-- or another one was first.
local function drop_stale(staging, chain, applied, garbage)
  local staged = redis.call('HGETALL', staging)
  for i = 1, #staged, 2 do
    if not holds(cjson.decode(staged[i + 1]), chain, applied) then leave_staged(staging, garbage, staged[i]) end
  end
end

-- Moves the segments of a list to the garbage. The segments of a list that cannot be read are unknown, so they stay.
local function drop_segments(encoded, garbage)
  pcall(function()
    for _, segment in ipairs(cjson.decode(encoded)) do redis.call('RPUSH', garbage, segment.id) end
  end)
end

-- Moves all staged segments to the garbage.
local function drop_staged(staging, garbage)
  for _, id in ipairs(redis.call('HKEYS', staging)) do redis.call('RPUSH', garbage, id) end
  redis.call('DEL', staging)
end

-- Returns the bucket of a page. A page is a bucket's hash, `<bucket>`, or one of several, `<bucket>/<page>`, if the
-- bucket has more cells than a script may touch at once.
local function bucket_of(page) return string.match(page, '^(%-?%d+)') end

-- Returns the fields and values of a page, in the order of HGETALL, as one text: thousands of short texts would be
-- most of a reader's work. No field or value contains a line break: `is_line` is checked before anything is written.
local function packed(fields) return table.concat(fields, '\n') end

-- Returns these fields and their values, as far as the hash has them, in the order of HGETALL.
local function values_of(hash, names)
  local found, values = {}, redis.call('HMGET', hash, unpack(names))
  for i, name in ipairs(names) do
    if values[i] then
      found[#found + 1] = name
      found[#found + 1] = values[i]
    end
  end
  return found
end

-- Returns the sketches among these fields of a bucket: {field, bytes}*, or nil when one of them is lost.
local function sketches_of(segment, bucket, fields)
  local sketches = {}
  for i = 1, #fields, 2 do
    if fields[i + 1] == 'hll' then
      local bytes = redis.call('GET', segment .. 'h:' .. bucket .. ':' .. fields[i])
      if not bytes then return nil end
      sketches[#sketches + 1] = fields[i]
      sketches[#sketches + 1] = bytes
    end
  end
  return sketches
end
