import type { TidelineRedis } from "../store/redis/redis.ts";

/** Names and dumps of all keys in one step, as a snapshot of Redis holds them: keys of one moment. */
const DUMP_ALL = `
local found = {}
for _, name in ipairs(redis.call('KEYS', ARGV[1])) do
  found[#found + 1] = name
  found[#found + 1] = redis.call('DUMP', name)
end
return found`;

/**
 * Takes a copy of everything that a Redis holds under a namespace; what it answers brings that back, as a Redis that
 * was restored from a copy.
 */
export async function copyOf(redis: TidelineRedis, namespace: string): Promise<() => Promise<void>> {
  const pattern = `*${namespace}*`;
  const held = (await redis.callBuffer("EVAL", DUMP_ALL, 0, pattern)) as Buffer[];
  return async () => {
    const names = await redis.keys(pattern);
    if (names.length > 0) await redis.del(...names);
    for (let index = 0; index < held.length; index += 2)
      await redis.restore(held[index] as Buffer, 0, held[index + 1] as Buffer);
  };
}
