-- What every script begins with.
--
-- A script's writes are one transaction, but Redis does not always keep them as one: of an append-only file that ends inside a transaction it keeps the
-- whole commands, and carries them out at the next start, together with what was written after them. So every script that changes a chain counts
-- itself: `begun` by adding one to what the file says, `ended` by writing down the number that it saw. Where the two differ, writes are there twice or in
-- part. Such a chain is torn: it is as good as none, and made anew.
local function is_torn(chain)
  local state = redis.call('HMGET', chain, 'begun', 'ended')
  return state[1] ~= state[2]
end
local began
local function begin(chain) began = redis.call('HINCRBY', chain, 'begun', '1') end
local function finish(chain) redis.call('HSET', chain, 'ended', tostring(began)) end

-- Merges that no fold has swapped in yet go the way of segments that left the chain: those of a process that was killed, or came second.
local function drop_merges(merging, garbage)
  for _, id in ipairs(redis.call('SMEMBERS', merging)) do redis.call('RPUSH', garbage, id) end
  redis.call('DEL', merging)
end

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

-- Fields and values of a bucket's hash, as HGETALL gives them, in one text: thousands of short ones cost a reader more than all the rest. `apply` lets no
-- line break in.
local function packed(fields) return table.concat(fields, '\n') end

-- The sketches that these fields of a bucket stand for: {field, bytes}*.
local function sketches_of(segment, bucket, fields)
  local sketches = {}
  for i = 1, #fields, 2 do
    if fields[i + 1] == 'hll' then
      sketches[#sketches + 1] = fields[i]
      sketches[#sketches + 1] = redis.call('GET', segment .. 'h:' .. bucket .. ':' .. fields[i])
    end
  end
  return sketches
end
