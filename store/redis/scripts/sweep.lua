-- sweep(): deletes some pages of a segment that left the chain, or the emptied segment itself. The work is bounded, so
-- that Redis is never blocked for long. Returns how many such pieces of work may be left (0: none).
-- KEYS  garbage    ARGV  prefix
local WORK = 2000
local id = redis.call('LINDEX', KEYS[1], 0)
if not id then return 0 end
local segment, work = ARGV[1] .. ':s:' .. id .. ':', 0
while work < WORK do
  local page = redis.call('ZRANGE', segment .. 'buckets', 0, 0)[1]
  if not page then
    redis.call('UNLINK', segment .. 'ledger')
    redis.call('LPOP', KEYS[1])
    return redis.call('LLEN', KEYS[1])
  end
  local key = segment .. 'b:' .. page
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if fields[i + 1] == 'hll' then
      redis.call('UNLINK', segment .. 'h:' .. bucket_of(page) .. ':' .. fields[i])
      work = work + 4
    end
  end
  redis.call('UNLINK', key)
  redis.call('ZREM', segment .. 'buckets', page)
  work = work + 4 + #fields / 2
end
return 1
