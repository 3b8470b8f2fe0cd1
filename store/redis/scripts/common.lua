-- Prepended to every script.
--
-- A script's writes are one transaction, but Redis does not always keep them as one: of an append-only file that ends
-- inside a transaction it keeps the whole commands, and carries them out at the next start, together with what was
-- written after them. So every script that changes a chain counts itself: `begun` by adding one to what the file says,
-- `ended` by writing down the number that it saw, behind the number of the chain's format. Where the two differ, writes
-- are there twice or in part, or another release laid out the keys. Such a chain is not used: it is as good as none,
-- and reseeded. FORMAT goes up with every change of the keys that a process of the release before would misread. Every
-- key of format READ_TOO is one of this format. A chain has it until a script changes the chain, which of a topic
-- without new records may be releases later.
local FORMAT, READ_TOO = '3', '2'
local function is_unusable(chain)
  local state = redis.call('HMGET', chain, 'begun', 'ended')
  if state[2] == READ_TOO .. ':' .. (state[1] or '') then return false end
  return state[2] ~= FORMAT .. ':' .. (state[1] or '')
end
-- The segments of a chain, oldest first; the last one is open. A text that Tideline did not write ends the script with
-- an error that `unreadable-state.ts` knows.
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

-- A Redis with an eviction policy deletes whole keys. Once a script sees that one of a chain is gone, the chain is void
-- for everybody.
local function void(chain) redis.call('HDEL', chain, 'ended') end
-- Whether one of the keys is gone that every batch writes which adds cells to the open segment.
local function has_lost_keys(segment, applied)
  return redis.call('EXISTS', segment .. 'buckets', segment .. 'ledger', applied) < 3
end
-- Whether a partition without an applied position had one: the open segment begins at it, or counts records behind it.
local function has_lost_position(chain, segment, partition)
  local segments = segments_of(redis.call('HGET', chain, 'segments'))
  if segments[#segments].from[partition] then return true end
  return redis.call('HEXISTS', segment .. 'ledger', partition .. ':records') == 1
end

-- A Redis at its memory limit refuses commands that may add to it, unless the script has written before. What frees
-- memory has to work then, too.
local function even_when_full(chain) redis.call('HDEL', chain, 'full') end

-- Ids of segments are never given twice: keys of a chain that is gone may still be there.
local function segment_id(nonce, number) return string.sub(nonce, 1, 13) .. '.' .. number end

-- A segment is named by its id and its span. An id alone names nothing for long: a Redis that comes back as it was some
-- time ago gives it to another span. What a closed segment holds follows from its span and the log.
local function same_cut(a, b)
  for partition, position in pairs(a) do
    if (b[partition] or '0') ~= position then return false end
  end
  for partition, position in pairs(b) do
    if (a[partition] or '0') ~= position then return false end
  end
  return true
end

-- Where in `segments` these ones, {id, from, to} each, stand closed and one after the other; nil when they do not.
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

-- A staged segment is written in parts before the chain names it. Its claim says what it may become: the deltas of a
-- batch that begins at these applied positions ({applied = {partition = from}}), or the merge of these closed segments
-- ({segments = {{id, from, to}}}).
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

-- Gives a staged segment to the garbage: first it is there, then it is no longer here, so that none is forgotten in
-- between.
local function leave_staged(staging, garbage, id)
  redis.call('RPUSH', garbage, id)
  redis.call('HDEL', staging, id)
end

-- Staged segments whose claim can never hold again go to the garbage: those of a process that was killed, or was not
-- the first.
local function drop_stale(staging, chain, applied, garbage)
  local staged = redis.call('HGETALL', staging)
  for i = 1, #staged, 2 do
    if not holds(cjson.decode(staged[i + 1]), chain, applied) then leave_staged(staging, garbage, staged[i]) end
  end
end

-- The segments of this list go to the garbage; of one that cannot be read nobody knows which they are.
local function drop_segments(encoded, garbage)
  pcall(function()
    for _, segment in ipairs(cjson.decode(encoded)) do redis.call('RPUSH', garbage, segment.id) end
  end)
end

-- All staged segments go to the garbage.
local function drop_staged(staging, garbage)
  for _, id in ipairs(redis.call('HKEYS', staging)) do redis.call('RPUSH', garbage, id) end
  redis.call('DEL', staging)
end

-- A bucket's hash, or one page of it where a bucket has more cells than a script may touch at once: `<bucket>` or
-- `<bucket>/<page>`.
local function bucket_of(page) return string.match(page, '^(%-?%d+)') end

-- Fields and values of a page, as HGETALL gives them, in one text: thousands of short ones cost a reader more than all
-- the rest. No field and no value has a line break in it: `is_line` is checked before anything is written.
local function packed(fields) return table.concat(fields, '\n') end

-- The values of these fields that the hash has, as HGETALL gives them.
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

-- The sketches that these fields of a bucket stand for: {field, bytes}*; nil when one of them is gone.
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
