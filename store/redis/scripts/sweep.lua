-- sweep(): deletes some pages of a segment that left the chain, or the emptied segment itself: a bounded piece of work, so that
-- Redis is never blocked for long. Answers how many pieces may be left (0: nothing more to do).
-- KEYS  garbage    ARGV  prefix
local WORK = 2000
local id = redis.call('LINDEX', KEYS[1], 0)
if not id then return 0 end
local segment, work = ARGV[1] .. ':s:' .. id .. ':', 0
local function unlink_sketches(page, fields)
  for i = 1, #fields, 2 do
    if fields[i + 1] == 'hll' then
      redis.call('UNLINK', segment .. 'h:' .. bucket_of(page) .. ':' .. fields[i])
      work = work + 4
    end
  end
end
while work < WORK do
  local page = redis.call('ZRANGE', segment .. 'buckets', 0, 0)[1]
  if not page then
    redis.call('UNLINK', segment .. 'ledger')
    redis.call('LPOP', KEYS[1])
    return redis.call('LLEN', KEYS[1])
  end
  local key = segment .. 'b:' .. page
  local count = redis.call('HLEN', key)
  if count > 10 * WORK then
    -- Of a chain of the release before, whose buckets had no pages.
    local fields, names = redis.call('HRANDFIELD', key, WORK, 'WITHVALUES'), {}
    unlink_sketches(page, fields)
    for i = 1, #fields, 2 do names[#names + 1] = fields[i] end
    redis.call('HDEL', key, unpack(names))
    return 1
  end
  unlink_sketches(page, redis.call('HGETALL', key))
  redis.call('UNLINK', key)
  redis.call('ZREM', segment .. 'buckets', page)
  work = work + 4 + count
end
return 1
