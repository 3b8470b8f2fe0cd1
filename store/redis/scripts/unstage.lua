-- unstage(id): gives a staged segment that nobody continues with to the garbage. A segment that is part of the chain by
-- now stays.
-- KEYS  chain, garbage, staging    ARGV  id
even_when_full(KEYS[1])
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then leave_staged(KEYS[3], KEYS[2], ARGV[1]) end
return 'OK'
