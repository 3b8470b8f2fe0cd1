-- sweep(): deletes one bucket of a segment that left the chain, or the emptied segment itself: a bounded piece of work, so that
-- Redis is never blocked for long. Answers how many pieces may be left (0: nothing more to do).
-- KEYS  garbage    ARGV  prefix
local id = redis.call('LINDEX', KEYS[1], 0)
if not id then return 0 end
local segment = ARGV[1] .. ':s:' .. id .. ':'
local bucket = redis.call('ZRANGE', segment .. 'buckets', 0, 0)[1]
if not bucket then
  redis.call('UNLINK', segment .. 'ledger')
  redis.call('LPOP', KEYS[1])
  return redis.call('LLEN', KEYS[1])
end
local fields = redis.call('HGETALL', segment .. 'b:' .. bucket)
for i = 1, #fields, 2 do
  if fields[i + 1] == 'hll' then redis.call('UNLINK', segment .. 'h:' .. bucket .. ':' .. fields[i]) end
end
redis.call('UNLINK', segment .. 'b:' .. bucket)
redis.call('ZREM', segment .. 'buckets', bucket)
return 1
