-- fold(segments, id): puts one segment, whose buckets have been written by `merge`, in the place of successive closed ones that it is the merge
-- of. Only for segments between two cuts: a token inside would be a boundary that a refresh still needs.
-- KEYS  chain, garbage, merging    ARGV  prefix, the segments as JSON, id of their merge, how many buckets it has
-- Answers 'OK', or 'CHANGED' when the chain does not have these segments or a bucket is missing; then the merge is left to `sweep` instead.
local encoded = redis.call('HGET', KEYS[1], 'segments')
local wanted, id = cjson.decode(ARGV[2]), ARGV[3]
local segments = encoded and cjson.decode(encoded) or {}
-- Sent again after a lost reply: the merge is in the chain already, and must not go to the garbage.
for _, segment in ipairs(segments) do
  if segment.id == id then return 'OK' end
end
local first = not is_torn(KEYS[1]) and place_of(segments, wanted)
local merge = ARGV[1] .. ':s:' .. id .. ':'
local whole = first and redis.call('ZCARD', merge .. 'buckets') == tonumber(ARGV[4])
for offset = 0, #wanted - 2 do
  if whole and segments[first + offset].token then whole = false end
end
if not whole then
  drop_merges(KEYS[3], KEYS[2])
  return 'CHANGED'
end
begin(KEYS[1])
local function cells(of)
  local count = 0
  for _, bucket in ipairs(redis.call('ZRANGE', ARGV[1] .. ':s:' .. of .. ':buckets', 0, -1)) do
    count = count + redis.call('HLEN', ARGV[1] .. ':s:' .. of .. ':b:' .. bucket)
  end
  return count
end
local last = segments[first + #wanted - 1]
local merged = {id = id, from = segments[first].from, to = last.to, token = last.token}
local change = cells(id)
for _ = 1, #wanted do
  local old = table.remove(segments, first).id
  local ledger = redis.call('HGETALL', ARGV[1] .. ':s:' .. old .. ':ledger')
  for i = 1, #ledger, 2 do redis.call('HINCRBY', merge .. 'ledger', ledger[i], ledger[i + 1]) end
  change = change - cells(old)
  redis.call('RPUSH', KEYS[2], old)
end
table.insert(segments, first, merged)
redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments))
-- Another fold may have taken this merge for a leftover.
redis.call('LREM', KEYS[2], 0, id)
redis.call('SREM', KEYS[3], id)
drop_merges(KEYS[3], KEYS[2])
redis.call('HINCRBY', KEYS[1], 'cells', change)
finish(KEYS[1])
return 'OK'
