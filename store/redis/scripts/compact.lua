-- compact(segments, id): replaces successive closed segments by a staged segment, which is their merge. Only for
-- segments between two cuts: a token inside would be a boundary that a refresh still needs.
-- KEYS  chain, applied, garbage, staging
-- ARGV  prefix, the segments as JSON, id of their merge, its numbers of pages and cells
-- Returns 'OK', or 'CHANGED' when the chain does not have these segments, or a page or a ledger is missing. Then
-- `sweep` deletes the merge.
local chain, applied, garbage, staging = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
even_when_full(chain)
local encoded = redis.call('HGET', chain, 'segments')
local wanted, id = cjson.decode(ARGV[2]), ARGV[3]
local segments = encoded and segments_of(encoded) or {}
-- After a lost reply the script is sent again. The merge is in the chain then, and must not become garbage.
for _, segment in ipairs(segments) do
  if segment.id == id then return 'OK' end
end
local first = not is_unusable(chain) and place_of(segments, wanted)
local merge = ARGV[1] .. ':s:' .. id .. ':'
local whole = first and redis.call('ZCARD', merge .. 'buckets') == tonumber(ARGV[4])
for offset = 0, #wanted - 2 do
  if whole and segments[first + offset].token then whole = false end
end
for _, segment in ipairs(wanted) do
  if redis.call('EXISTS', ARGV[1] .. ':s:' .. segment.id .. ':ledger') == 0 then whole = false end
end
if not whole then
  if redis.call('HEXISTS', staging, id) == 1 then leave_staged(staging, garbage, id) end
  return 'CHANGED'
end
begin(chain)
local last = segments[first + #wanted - 1]
local merged = {id = id, from = segments[first].from, to = last.to, token = last.token, cells = tonumber(ARGV[5])}
local change = merged.cells
for _ = 1, #wanted do
  local old = table.remove(segments, first)
  local ledger = redis.call('HGETALL', ARGV[1] .. ':s:' .. old.id .. ':ledger')
  for i = 1, #ledger, 2 do redis.call('HINCRBY', merge .. 'ledger', ledger[i], ledger[i + 1]) end
  change = change - old.cells
  redis.call('RPUSH', garbage, old.id)
end
table.insert(segments, first, merged)
redis.call('HSET', chain, 'segments', cjson.encode(segments))
redis.call('HDEL', staging, id)
redis.call('LREM', garbage, 0, id)
drop_stale(staging, chain, applied, garbage)
redis.call('HINCRBY', chain, 'cells', string.format('%d', change))
finish(chain)
return 'OK'
