-- fold(first, last, id, nonce): puts one segment, whose keys have been written before, in the place of successive closed ones that it is the
-- merge of. Only for segments between two cuts: a token inside would be a boundary that a refresh still needs.
-- KEYS  chain, garbage    ARGV  prefix, nonce, ids of the segments as JSON, id of their merge
-- Answers 'OK', or 'CHANGED' when the chain is another one by now; then the merge is left to `sweep` instead.
local state = redis.call('HMGET', KEYS[1], 'nonce', 'segments')
local ids, id, first = cjson.decode(ARGV[3]), ARGV[4], nil
local segments = state[2] and cjson.decode(state[2]) or {}
for at, segment in ipairs(segments) do
  if segment.id == ids[1] then first = at end
end
local same = state[1] == ARGV[2] and first ~= nil
for offset = 0, #ids - 1 do
  local segment = same and segments[first + offset]
  if not segment or segment.id ~= ids[offset + 1] or not segment.to or (segment.token and offset < #ids - 1) then same = false end
end
if not same then
  redis.call('RPUSH', KEYS[2], id)
  return 'CHANGED'
end
local function cells(of)
  local count = 0
  for _, bucket in ipairs(redis.call('ZRANGE', ARGV[1] .. ':s:' .. of .. ':buckets', 0, -1)) do
    count = count + redis.call('HLEN', ARGV[1] .. ':s:' .. of .. ':b:' .. bucket)
  end
  return count
end
local last = segments[first + #ids - 1]
local merged = {id = id, from = segments[first].from, to = last.to, token = last.token}
local change = cells(id)
for _ = 1, #ids do
  local old = table.remove(segments, first).id
  change = change - cells(old)
  redis.call('RPUSH', KEYS[2], old)
end
table.insert(segments, first, merged)
redis.call('HSET', KEYS[1], 'segments', cjson.encode(segments))
redis.call('HINCRBY', KEYS[1], 'cells', change)
return 'OK'
