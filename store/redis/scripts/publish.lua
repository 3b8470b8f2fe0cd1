-- publish(version): moves the pointer, which caches the newest manifest's number and never moves back. Without a chain
-- it does nothing.
-- KEYS  chain    ARGV  version
local pointer = redis.call('HGET', KEYS[1], 'pointer')
even_when_full(KEYS[1])
if pointer and tonumber(pointer) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'pointer', ARGV[1]) end
return redis.call('HGET', KEYS[1], 'pointer')
