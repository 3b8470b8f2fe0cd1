-- read(keys): returns the chain and cells of its open segment in one atomic step. Read in several steps, an answer
-- would not belong to any position.
-- KEYS  chain, applied, fresh
-- ARGV  prefix, the digest that the reader knows ('' for none), and for each wanted part of the open segment:
--       from bucket, to bucket (exclusive), '1' when sketches are wanted, '1' when the reader has the part for that
--       digest, the number of fields that follow (-1: all fields of a bucket), fields
-- Returns false without a chain, else {digest, chain, applied, fresh, last bucket of the open segment or false, part*}.
-- Chain, applied and last bucket are false when the digest is the known one, because it identifies all of them, and
-- the cells. A part is false when the reader has it, else {{bucket, fields, sketches}*}, with fields as `packed`
-- returns them.
local chain = redis.call('HGETALL', KEYS[1])
if #chain == 0 or is_unusable(KEYS[1]) then return false end
-- Whether Redis has evicted a bucket that the chain still counts. A reader's parts of a known digest were complete
-- when they were read, so cells are counted only when the reader needs a part.
local function has_lost_cells(segment)
  local counted, cells = tonumber(redis.call('HGET', KEYS[1], 'openCells')), 0
  if counted > 0 and has_lost_keys(segment, KEYS[2]) then return true end
  for _, page in ipairs(redis.call('ZRANGE', segment .. 'buckets', 0, -1)) do
    cells = cells + redis.call('HLEN', segment .. 'b:' .. page)
  end
  return cells ~= counted
end
local applied = redis.call('HGETALL', KEYS[2])
local digest = redis.sha1hex(table.concat(chain, '\n') .. '\n\n' .. table.concat(applied, '\n'))
local known = digest == ARGV[2]
local parts, at, has_all = {}, 3, known
while at <= #ARGV do
  local part = {from = ARGV[at], to = ARGV[at + 1], sketched = ARGV[at + 2] == '1', names = {}}
  part.held = known and ARGV[at + 3] == '1'
  part.count = tonumber(ARGV[at + 4])
  has_all = has_all and part.held
  at = at + 5
  for i = 1, part.count do part.names[i] = ARGV[at + i - 1] end
  if part.count > 0 then at = at + part.count end
  parts[#parts + 1] = part
end

local segment = ARGV[1] .. ':s:' .. redis.call('HGET', KEYS[1], 'open') .. ':'
local function lost()
  void(KEYS[1])
  return false
end
if not has_all and has_lost_cells(segment) then return lost() end
local answer = {digest, false, false, redis.call('HGETALL', KEYS[3]), false}
if not known then
  answer[2], answer[3] = chain, applied
  answer[5] = redis.call('ZREVRANGE', segment .. 'buckets', 0, 0)[1] or false
end
for _, wanted in ipairs(parts) do
  local part = false
  if not wanted.held then
    part = {}
    for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', segment .. 'buckets', wanted.from, '(' .. wanted.to)) do
      local hash = segment .. 'b:' .. bucket
      local fields = wanted.count < 0 and redis.call('HGETALL', hash) or values_of(hash, wanted.names)
      if #fields > 0 then
        local sketches = {}
        if wanted.sketched then sketches = sketches_of(segment, bucket, fields) end
        if not sketches then return lost() end
        part[#part + 1] = {bucket, packed(fields), sketches}
      end
    end
  end
  answer[#answer + 1] = part
end
return answer
