-- read(keys): the chain and the open segment's cells in one atomic step, or the answer belongs to no position at all.
-- KEYS  chain, applied, fresh    ARGV  prefix, from bucket, to bucket (exclusive), '1' when sketches are wanted
-- Answers false without a chain, else {chain, applied, fresh, last bucket of the open segment or false, {bucket, fields, sketches}*}
local chain = redis.call('HGETALL', KEYS[1])
if #chain == 0 then return false end
local open = redis.call('HGET', KEYS[1], 'open')
local segment = ARGV[1] .. ':s:' .. open .. ':'
local last = redis.call('ZREVRANGE', segment .. 'buckets', 0, 0)[1] or false
local answer = {chain, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3]), last}
for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', segment .. 'buckets', ARGV[2], '(' .. ARGV[3])) do
  local fields, sketches = redis.call('HGETALL', segment .. 'b:' .. bucket), {}
  if ARGV[4] == '1' then
    for i = 1, #fields, 2 do
      if fields[i + 1] == 'hll' then
        sketches[#sketches + 1] = fields[i]
        sketches[#sketches + 1] = redis.call('GET', segment .. 'h:' .. bucket .. ':' .. fields[i])
      end
    end
  end
  answer[#answer + 1] = {bucket, fields, sketches}
end
return answer
