-- unstage(id): moves a staged segment that no process needs any more to the garbage. If the segment has become a part
-- of the chain, it stays.
-- KEYS  chain, garbage, staging    ARGV  id
even_when_full(KEYS[1])
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then leave_staged(KEYS[3], KEYS[2], ARGV[1]) end
return 'OK'
